//! Tool calls in the messages of requests and of answers, whole or in pieces.
//!
//! In: JSON. Out: [`Called`]. Not here: definitions of tools (`request`), and the frame of a call.
//!
//! Source: OpenAI's API reference, "Create chat completion", `messages.tool_calls` and, deprecated,
//! `messages.function_call`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::answer;
use crate::api::raw::Text;

/// One of `tool_calls`.
#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Called<'a>>,
    #[serde(borrow)]
    custom: Option<Called<'a>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    /// In a stream, its index among the calls of the message.
    #[serde(borrow)]
    index: Option<&'a RawValue>,
}

impl<'a> ToolCall<'a> {
    /// Returns the called tool of either kind.
    pub(super) fn called(self) -> Option<Called<'a>> {
        self.function.or(self.custom)
    }

    /// Returns the call as a piece of this choice names it.
    pub(super) fn named(&self, choice: u64) -> Option<answer::Called<'a>> {
        let called = self.function.as_ref().or(self.custom.as_ref())?;
        let id = self.id.map(RawValue::get).filter(|id| !matches!(*id, "\"\"" | "null"));
        let index = self.index.and_then(|index| index.get().parse().ok());
        Some(answer::Called { id: id.map(Cow::Borrowed), index, choice, name: called.name() })
    }
}

/// A called tool and its input.
#[derive(Deserialize)]
pub(super) struct Called<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    /// The input of a function.
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    /// The input of a custom tool.
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

impl<'a> Called<'a> {
    /// Returns its name; empty in a later piece of a call.
    pub(super) fn name(&self) -> Cow<'a, str> {
        self.name.as_ref().map(|Text(name)| name.clone()).unwrap_or_default()
    }

    /// Returns all text that the model wrote for it.
    pub(super) fn texts(self) -> impl Iterator<Item = Text<'a>> {
        [self.name, self.arguments, self.input].into_iter().flatten()
    }
}
