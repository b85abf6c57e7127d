//! A message or one event of its stream: usage, text and tool calls.
//!
//! In: one JSON document. Out: [`Answer`]. A document that is not JSON, or not of this shape, gives
//! an empty answer. Not here: citations, signatures and results of Anthropic's own tools, which the
//! model has not written.
//!
//! Source: Anthropic's API reference, "Create a Message"; guide "Streaming messages".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::UsageMember;
use crate::api::Answer;
use crate::api::answer::Called;
use crate::api::raw::Text;

/// Reads one document.
pub(in crate::api) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return Answer::default() };
    let mut answer = Answer { text: event.texts(), tools: event.calls(), ..Answer::default() };
    if let Some(message) = event.message.and_then(|raw| serde_json::from_str::<Started<'_>>(raw.get()).ok()) {
        answer.tell(message.usage, UsageMember::told_at_start);
    }
    if event.kind.as_ref().is_none_or(|Text(kind)| kind != "message_delta") {
        answer.tell(event.usage, UsageMember::told);
        return answer;
    }
    answer.tell(event.usage, UsageMember::told_so_far);
    let usage = event.usage.and_then(|raw| serde_json::from_str::<UsageMember>(raw.get()).ok());
    let written = usage.map(UsageMember::written_in_all).filter(|told| !told.is_incredible());
    answer.otherwise = written.unwrap_or_default();
    answer
}

/// The members of a message and of events of any type.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    /// The message of `message_start`.
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Started<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Returns calls of the client's tools, of Anthropic's own and of remote servers' (`tool_use`,
    /// `server_tool_use`, `mcp_tool_use`). The beginning of a block names its tool.
    fn calls(&self) -> Vec<Called<'a>> {
        let content = self.content.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        let blocks = content.into_iter().flatten().chain(self.content_block);
        let written = blocks.filter_map(|raw| serde_json::from_str::<Written<'_>>(raw.get()).ok());
        let calls =
            written.filter(|block| block.kind.as_ref().is_some_and(|Text(kind)| kind.ends_with("tool_use")));
        calls.filter_map(|block| block.name).map(|Text(name)| Called::once(name)).collect()
    }

    fn texts(&self) -> Vec<Cow<'a, str>> {
        let content = self.content.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        let blocks = content.into_iter().flatten().chain(self.content_block).chain(self.delta);
        let written = blocks.filter_map(|raw| serde_json::from_str::<Written<'_>>(raw.get()).ok());
        written.flat_map(Written::texts).collect()
    }
}

/// A block or a piece of one.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
}

impl<'a> Written<'a> {
    fn texts(self) -> impl Iterator<Item = Cow<'a, str>> {
        // A stream's tool call starts with an empty object that the pieces then replace.
        let input = self.input.map(RawValue::get).filter(|input| *input != "{}").map(Cow::Borrowed);
        let texts = [self.thinking, self.text, self.name].into_iter().flatten().map(|Text(text)| text);
        texts.chain(input).chain(self.partial_json.map(|Text(text)| text))
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
