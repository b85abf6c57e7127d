//! Calls of tools by MCP.
//!
//! In: the body of an MCP request. Out: the tools that it calls. Not here: messages (`api::mcp`),
//! limits on tools (`admission`).

use std::borrow::Cow;

use super::call::Call;
use super::effects::Effects;
use super::parsed;
use super::refusal::Refusal;
use crate::api::answer::{Called, ToolsCalled};
use crate::api::{Messages, Unread};

/// An MCP request, and the tools that it calls.
#[derive(Default)]
pub(super) struct RpcRequest<'a> {
    pub(super) messages: Messages<'a>,
    pub(super) tools: ToolsCalled,
}

impl<'a> RpcRequest<'a> {
    /// Reads a decoded body. A malformed one calls no tools, because no server accepts it.
    pub(super) fn read(call: &Call, body: &'a [u8], effects: &mut Effects) -> Result<Self, Refusal<'static>> {
        let read = call.format().messages.map(|read| read(body));
        let read = read.unwrap_or(Err(Unread::Malformed));
        let Some(messages) = parsed::or_malformed(call, read, effects)? else { return Ok(Self::default()) };
        let mut tools = ToolsCalled::default();
        for name in messages.tools() {
            tools.add(&Called::once(Cow::Borrowed(name)));
        }
        Ok(Self { messages, tools })
    }

    /// Returns a request that cannot be read. It counts as a call of an unknown tool, and so in
    /// every limit.
    pub(super) fn unread() -> Self {
        Self { messages: Messages::default(), tools: ToolsCalled::unknown() }
    }
}
