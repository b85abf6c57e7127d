//! A Converse answer or one event of its stream: usage, text and tool calls.
//!
//! In: one JSON document: a whole answer, or the payload of a frame. Nova's own stream wraps each
//! payload in an object with the frame's name, so this module reads both. Out: [`Answer`]. A
//! document that is not JSON, or not of this shape, gives an empty answer. Not here: frames
//! (`frames`).
//!
//! Source: Amazon Bedrock API reference, "Converse" and "ConverseStream" (`contentBlockStart`,
//! `contentBlockDelta`, `metadata`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::blocks::ToolUse;
use super::usage::UsageMember;
use crate::api::Answer;
use crate::api::answer::Called;
use crate::api::raw::{Text, as_text};

/// Reads one document.
pub(in crate::api::bedrock) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(named) = serde_json::from_slice::<Named<'_>>(json) else { return Answer::default() };
    let events = [named.content_block_start, named.content_block_delta, named.metadata];
    let mut answer = Answer::default();
    for event in events.into_iter().flatten().map(|raw| raw.get().as_bytes()).chain([json]) {
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(event) else { continue };
        answer.tell(payload.usage, UsageMember::told);
        answer.tools.extend(
            payload.written().filter_map(|block| block.tool_use?.name).map(|Text(name)| Called::once(name)),
        );
        answer.text.extend(payload.written().flat_map(Written::texts));
    }
    answer
}

/// An event in an object with its name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    #[serde(borrow)]
    content_block_start: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block_delta: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// The members of a whole answer and of events of any kind.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    start: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    fn written(&self) -> impl Iterator<Item = Written<'a>> {
        let output = self.output.and_then(|raw| serde_json::from_str::<Output<'_>>(raw.get()).ok());
        let content = output.and_then(|output| output.message?.content);
        let blocks = content.into_iter().flatten().chain(self.start).chain(self.delta);
        blocks.filter_map(|raw| serde_json::from_str::<Written<'_>>(raw.get()).ok())
    }
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<&'a RawValue>>,
}

/// A block or a piece of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow)]
    citations_content: Option<Cited<'a>>,
}

/// Reasoning; in a stream, its text has no object around it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_text: Option<OnlyText<'a>>,
}

#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(borrow)]
    content: Option<Vec<OnlyText<'a>>>,
}

#[derive(Deserialize)]
struct OnlyText<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

impl<'a> Written<'a> {
    fn texts(self) -> Vec<Cow<'a, str>> {
        let reasoning = self.reasoning_content.map(|it| [it.text, it.reasoning_text.and_then(|it| it.text)]);
        let cited = self.citations_content.and_then(|it| it.content).into_iter().flatten();
        let (name, input) = self.tool_use.map_or((None, None), |call| (call.name, call.input));
        let texts = reasoning.into_iter().flatten().flatten().chain(self.text);
        let texts = texts.chain(cited.filter_map(|it| it.text)).chain(name).map(|Text(text)| text);
        texts.chain(input.map(RawValue::get).map(as_text)).collect()
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
