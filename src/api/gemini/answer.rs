//! An answer with content, or one chunk of it: usage, text and calls of functions. Chunks that
//! continue a call do not repeat its name.
//!
//! In: one JSON document: a whole answer, the data of one event, one element of the list. Out:
//! [`Answer`]. A document that is not JSON, or has another shape, reports nothing. Not here:
//! embeddings (`embed`), and the framing of answers (`answer`).
//!
//! Source: Google's "Gemini API reference", "GenerateContentResponse".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageMetadata;
use crate::api::Answer;
use crate::api::answer::Called;
use crate::api::raw::{as_text, entries, items, string};

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    for candidate in items(chunk.candidates.map_or("null", RawValue::get)) {
        let content = members(candidate, |name| name == "content");
        let parts = content.into_iter().flat_map(|content| members(content, |name| name == "parts"));
        for part in parts.flat_map(items) {
            answer.tools.extend(call(part));
            push_texts(part, &mut answer.text);
        }
    }
    let feedback = chunk.prompt_feedback.map_or("null", RawValue::get);
    let blocked = !members(feedback, |name| name == "blockReason").is_empty();
    answer.tell(chunk.usage_metadata, |usage: UsageMetadata<'_>| usage.told(blocked));
    answer
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_feedback: Option<&'a RawValue>,
    #[serde(borrow)]
    usage_metadata: Option<&'a RawValue>,
}

/// Returns the function call in a part. Only newer models give calls an id.
fn call(part: &str) -> Option<Called<'_>> {
    let call = members(part, |name| name == "functionCall").pop()?;
    let text = |wanted: &str| members(call, |name| name == wanted).pop().and_then(string);
    let id = text("id").filter(|id| !id.is_empty());
    Some(Called { id, ..Called::once(text("name")?) })
}

/// Adds the model's text in one part. The output of code is not the model's.
fn push_texts<'a>(part: &'a str, texts: &mut Vec<Cow<'a, str>>) {
    for (name, value) in entries(part).unwrap_or_default() {
        let written = match &*name {
            "text" => vec![value],
            "functionCall" => members(value, |name| matches!(name, "name" | "args")),
            "executableCode" => members(value, |name| name == "code"),
            _ => continue,
        };
        texts.extend(written.into_iter().map(as_text));
    }
}

/// Returns the values of the selected members of an object.
fn members(raw: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<&str> {
    let members = entries(raw).unwrap_or_default().into_iter();
    members.filter(|(name, _)| is_wanted(name)).map(|(_, value)| value).collect()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
