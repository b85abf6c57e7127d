//! The messages of a model's turn: what it wrote and said, its calls, its usage; and the messages
//! that end a turn early.
//!
//! In: one message. Out: [`Answer`]; an ending. Not here: which messages make a turn (`socket`).

use serde_json::json;
use serde_json::value::RawValue;

use super::{Members, member, sound};
use crate::api::answer::Called;
use crate::api::ending::{Cut, Document, Ending, totals};
use crate::api::gemini::usage::UsageMetadata;
use crate::api::raw::{items, string};
use crate::api::{Answer, ReportedUsage};

/// The samples of a second of spoken sound.
const RATE: u64 = 24_000;

/// Reads one message.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let mut answer = Answer::default();
    let Ok(message) = core::str::from_utf8(json) else { return answer };
    let message = Members::of(message);
    let content = message.get(&["serverContent", "server_content"]);
    let turn = member(content, &["modelTurn", "model_turn"]);
    for part in items(member(turn, &["parts"])).into_iter().map(Members::of) {
        answer.text.extend(string(part.get(&["text"])));
        let (ms, tokens) = sound(&Members::of(part.get(&["inlineData", "inline_data"])), RATE);
        answer.spoken.ms = answer.spoken.ms.saturating_add(ms);
        answer.spoken.tokens = answer.spoken.tokens.saturating_add(tokens);
    }
    let calls = message.get(&["toolCall", "tool_call"]);
    for call in items(member(calls, &["functionCalls", "function_calls"])).into_iter().map(Members::of) {
        let id = string(call.get(&["id"]));
        answer.tools.extend(string(call.get(&["name"])).map(|name| Called { id, ..Called::once(name) }));
    }
    let usage = serde_json::from_str::<&RawValue>(message.get(&["usageMetadata", "usage_metadata"])).ok();
    answer.tell(usage, told);
    answer
}

/// Returns a usage with the length of what was said.
pub(super) fn told(usage: UsageMetadata<'_>) -> Option<ReportedUsage> {
    let told = usage.told(false)?;
    let ms = told.audio_output.map(|tokens| tokens.saturating_mul(1_000) / super::TOKENS_PER_SECOND);
    Some(ReportedUsage { audio_ms: ms, ..told })
}

/// A turn of the model.
#[derive(Debug, Default)]
pub(super) struct Turn {
    has_begun: bool,
    has_ended: bool,
}

impl Turn {
    pub(super) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Turn {
    fn read(&mut self, json: &[u8]) {
        let message = core::str::from_utf8(json).unwrap_or_default();
        let content = member(message, &["serverContent", "server_content"]);
        self.has_begun |= content != "null";
        self.has_ended |= member(content, &["turnComplete", "turn_complete"]) == "true";
    }

    fn is_possible(&self) -> bool {
        self.has_begun && !self.has_ended
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if !self.is_possible() {
            return None;
        }
        let [input, output, total] = totals(&cut.used);
        let message = json!({
            "serverContent": { "turnComplete": true },
            "usageMetadata": {
                "promptTokenCount": input, "responseTokenCount": output, "totalTokenCount": total,
            },
        });
        Some(vec![Document::new("", &message)])
    }
}
