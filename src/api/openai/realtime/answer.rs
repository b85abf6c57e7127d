//! The events of a response: what it wrote and said, the tools that it called, its usage.
//!
//! In: one event. Out: [`Answer`]. Not here: which response it belongs to (`socket`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::PCM_BYTES_PER_MS;
use crate::api::answer::Called;
use crate::api::media::decoded_len;
use crate::api::openai::usage::UsageMember;
use crate::api::raw::{Text, string, values};
use crate::api::{Answer, ReportedUsage, Spoken};

/// The length of one token of spoken sound in milliseconds (OpenAI's guide "Managing costs").
const MS_PER_TOKEN: u64 = 50;

/// Reads one event.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let mut answer = Answer::default();
    let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return answer };
    let kind = event.kind.as_str();
    match kind {
        "response.output_audio.delta" | "response.audio.delta" => {
            let bytes = event.delta.map(RawValue::get).and_then(string).map(|sound| decoded_len(&sound));
            let ms = bytes.unwrap_or(0) / PCM_BYTES_PER_MS;
            answer.spoken = Spoken { ms, tokens: ms / MS_PER_TOKEN };
        }
        // What was said is in the transcript, too, and the sound is what counts.
        "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {}
        _ if kind.ends_with(".delta") => answer.text.extend(event.delta.map(RawValue::get).and_then(string)),
        "response.output_item.done" => answer.tools.extend(event.item.and_then(|item| call(item.get()))),
        "response.done" => {
            let usage = event.response.map(RawValue::get).unwrap_or_default();
            let usage = values(usage, "usage").pop();
            let usage = usage.and_then(|usage| serde_json::from_str::<&RawValue>(usage).ok());
            answer.tell(usage, told);
        }
        _ => {}
    }
    answer
}

/// Returns a usage with the length of what was said.
fn told(usage: UsageMember) -> Option<ReportedUsage> {
    let told = usage.told()?;
    Some(ReportedUsage {
        audio_ms: told.audio_output.map(|tokens| tokens.saturating_mul(MS_PER_TOKEN)),
        ..told
    })
}

fn call(item: &str) -> Option<Called<'_>> {
    let text = |name| values(item, name).pop().and_then(string);
    let is_call = text("type").is_some_and(|kind| kind.ends_with("_call"));
    let id = text("call_id").or_else(|| text("id"));
    Some(Called { id, ..Called::once(text("name").filter(|_| is_call)?) })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}
