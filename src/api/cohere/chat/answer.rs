//! A chat answer, or one event of a streamed one: usage, text and calls of tools.
//!
//! In: one JSON document. Out: [`Answer`]. A document that is not JSON, or has another shape,
//! reports nothing. Not here: citations, which are not the model's output.
//!
//! Source: Cohere's API reference, "Chat API (v2)" and "Chat with Streaming (v2)": `content-delta`,
//! `tool-plan-delta`, `tool-call-start`, `tool-call-delta`, and `message-end`, whose delta has the
//! usage.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::cohere::usage::UsageMember;
use crate::api::raw::{as_text, entries, items};
use crate::api::{Answer, tools};

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(document) = serde_json::from_slice::<Document<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    push_message(document.message, &mut answer);
    answer.tell(document.usage, UsageMember::told);
    let delta = document.delta.and_then(|delta| serde_json::from_str::<Delta<'_>>(delta.get()).ok());
    if let Some(delta) = delta {
        push_message(delta.message, &mut answer);
        answer.tell(delta.usage, UsageMember::told);
    }
    answer
}

/// A whole answer, or an event with its `delta`.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Adds the model's text in a message. In an error, the message is a string that is not the
/// model's.
fn push_message<'a>(message: Option<&'a RawValue>, answer: &mut Answer<'a>) {
    let texts = &mut answer.text;
    for (name, value) in message.and_then(|message| entries(message.get())).unwrap_or_default() {
        match &*name {
            "content" => items(value).into_iter().for_each(|part| push_part(part, texts)),
            "tool_plan" => texts.push(as_text(value)),
            "tool_calls" => {
                tools::push_written(value, texts);
                tools::push_calls(value, &mut answer.tools);
            }
            _ => {}
        }
    }
}

/// Adds the texts of a part of the content.
fn push_part<'a>(raw: &'a str, texts: &mut Vec<Cow<'a, str>>) {
    let members = entries(raw).unwrap_or_default().into_iter();
    let written = members.filter(|(name, _)| matches!(&**name, "text" | "thinking"));
    texts.extend(written.map(|(_, value)| as_text(value)));
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
