//! A line of an answer, or a whole one: usage, text and calls of tools.
//!
//! In: one JSON document. Out: [`Answer`]. A document that is not JSON, or has another shape,
//! reports nothing. Not here: the framing of lines (`answer`).
//!
//! Source: Ollama's API reference, "Response". Ollama omits `prompt_eval_count` if the whole prompt
//! was still in memory, which does not mean an empty prompt: then the count before the call stands.
//! Thinking is part of `eval_count`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::answer::Written;
use crate::api::number::Whole;
use crate::api::raw::{as_text, entries};
use crate::api::{Answer, ReportedUsage, tools};

/// The members that are read.
pub(super) const MEMBERS: &[&str] = &[
    "message",
    "response",
    "thinking",
    "done_reason",
    "prompt_eval_count",
    "eval_count",
    "created_at",
    "error",
];

/// The members with text and calls of tools.
pub(super) const WRITTEN: Option<Written> =
    Some(Written { members: &["message", "response", "thinking"], call: b"_call" });

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(line) = serde_json::from_slice::<Line<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    answer.text.extend([line.thinking, line.response].into_iter().flatten().map(|raw| as_text(raw.get())));
    push_message(line.message, &mut answer);
    answer.tell(serde_json::from_slice(json).ok(), Counts::told);
    answer
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
}

/// The counts of the last line; other lines have none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts<'a> {
    prompt_eval_count: Whole,
    eval_count: Whole,
    #[serde(borrow)]
    done_reason: Option<&'a RawValue>,
}

impl Counts<'_> {
    /// Returns the usage; none if a count is nonsense.
    fn told(self) -> Option<ReportedUsage> {
        let counts = [self.prompt_eval_count, self.eval_count];
        if counts.contains(&Whole::Invalid) {
            return None;
        }
        // A call without a prompt only loads or unloads the model.
        let nothing = matches!(self.done_reason.map(RawValue::get), Some("\"load\"" | "\"unload\""));
        let [input, output] = counts.map(|count| count.count().or_else(|| nothing.then_some(0)));
        Some(ReportedUsage { input, output, ..ReportedUsage::default() })
    }
}

fn push_message<'a>(message: Option<&'a RawValue>, answer: &mut Answer<'a>) {
    let texts = &mut answer.text;
    for (name, value) in message.and_then(|message| entries(message.get())).unwrap_or_default() {
        match &*name {
            "content" | "thinking" => texts.push(as_text(value)),
            "tool_calls" => {
                tools::push_written(value, texts);
                tools::push_calls(value, &mut answer.tools);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
