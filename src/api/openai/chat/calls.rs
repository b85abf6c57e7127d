//! Calls of tools, as they stand in messages of requests and in those of answers, whole or in pieces.
//!
//! In: JSON. Out: [`Called`]. Not here: definitions of tools (`request`), and the frame of a call.
//!
//! Source: OpenAI's API reference, "Create chat completion", `messages.tool_calls` and, deprecated,
//! `messages.function_call`.

use serde::Deserialize;

use crate::api::raw::Text;

/// One of `tool_calls`.
#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Called<'a>>,
    #[serde(borrow)]
    custom: Option<Called<'a>>,
}

impl<'a> ToolCall<'a> {
    /// What is called, of either kind of tool.
    pub(super) fn called(self) -> Option<Called<'a>> {
        self.function.or(self.custom)
    }
}

/// What is called, and with what.
#[derive(Deserialize)]
pub(super) struct Called<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    /// Of a function.
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    /// Of a custom tool.
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

impl<'a> Called<'a> {
    /// All that the model wrote of it.
    pub(super) fn texts(self) -> impl Iterator<Item = Text<'a>> {
        [self.name, self.arguments, self.input].into_iter().flatten()
    }
}
