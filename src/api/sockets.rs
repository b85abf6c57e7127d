//! APIs over WebSockets: the responses that their messages ask for, carry and end.
//!
//! In: a path; whole messages of both sides, in order. Out: the API ([`Socket`]), and for each
//! message its meaning ([`FromClient`], [`FromServer`]); in reverse, messages that an API's clients
//! and servers understand ([`Conversation::error`], [`Conversation::cancel`]). Not here: frames
//! (`websocket`), each API (its format's folder), limits (`exchange`).
//!
//! A response on a socket is a call like any other. Its request is the message that asks for it,
//! its answer consists of the messages that belong to it, and the format of both is a row of
//! [`FORMATS`](super::FORMATS).

mod input;

use core::fmt;
use std::borrow::Cow;

use super::path::Plain;
use super::{Dialect, Format, Prompt, ReportedUsage, Usage};
use crate::units::Span;
pub(super) use input::ConversationInput;

/// An API over a WebSocket: a row of [`SOCKETS`](super::SOCKETS).
#[derive(Debug)]
pub struct Socket {
    /// The name in logs.
    pub name: &'static str,
    /// The error bodies that its clients understand.
    pub dialect: Dialect,
    /// The ends of its paths, in lower case.
    pub(super) path_ends: &'static [&'static str],
    /// How to read its messages; none if its sockets are refused.
    pub metering: Option<Metering>,
}

/// How to read the messages of an API.
#[derive(Debug)]
pub struct Metering {
    /// The format of its responses.
    pub format: &'static Format,
    /// Begins a conversation.
    pub begin: fn() -> Box<dyn Conversation>,
}

impl Socket {
    /// Returns whether this path belongs to the API.
    pub(super) fn is_at(&self, path: &Plain) -> bool {
        self.path_ends.iter().any(|end| path.ends_with(end))
    }

    /// Returns whether its responses have this format.
    pub(super) fn is_of(&self, format: &Format) -> bool {
        self.metering.as_ref().is_some_and(|metering| core::ptr::eq(metering.format, format))
    }
}

/// The state of one socket, as its API's messages tell it. Its memory is bounded.
pub trait Conversation: fmt::Debug {
    /// Reads a client's message. `count` counts the tokens of a prompt.
    fn read_client<'m>(&mut self, message: &'m str, count: Count<'_>) -> FromClient<'m>;

    /// Reads a server's message.
    fn read_server<'m>(&mut self, message: &'m [u8]) -> FromServer<'m>;

    /// Returns the model that the client has named for the whole conversation, if its messages name
    /// one.
    fn model(&self) -> Option<&str> {
        None
    }

    /// Returns the usage of a response that begins now, besides its own request: the conversation
    /// so far, which the model reads again.
    fn context(&self) -> Usage {
        Usage::default()
    }

    /// Returns the bound on the output of a response that the server begins by itself.
    fn max_output(&self) -> Option<u64> {
        None
    }

    /// Returns the server's message about its rate limits with what is `left` to the caller, if
    /// that is less.
    fn with_limits(&self, _message: &[u8], _left: &[Left]) -> Option<String> {
        None
    }

    /// Returns the message that refuses a response; none if the API has no such message and the
    /// socket must be closed.
    fn error(&self, refused: &Refused<'_>) -> Option<String>;

    /// Returns how a response is stopped at the server.
    fn cancel(&self, response: Option<&str>) -> Cancel;
}

/// What is left of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The unit, as providers name it.
    pub name: &'static str,
    /// The budget.
    pub limit: u64,
    /// The amount that can still be spent.
    pub remaining: u64,
    /// The time until the budget is full again.
    pub reset: Span,
}

/// How a response is stopped at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// By this message of the client's.
    Message(String),
    /// By closing the socket.
    Close,
    /// Not at all: what still comes is dropped.
    Not,
}

/// A function that counts the tokens of a prompt.
pub type Count<'c> = &'c mut dyn FnMut(&Prompt<'_>) -> Usage;

/// The meaning of a client's message.
#[derive(Debug, PartialEq, Eq)]
pub enum FromClient<'m> {
    /// It asks for a response.
    Ask(Asked<'m>),
    /// It sets what later responses may do: their tools, their bound.
    Settings,
    /// It does neither.
    Other,
}

/// A client's request for a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked<'m> {
    /// The lane in which the response comes; responses of one lane come one after the other.
    pub lane: Cow<'m, str>,
    /// The message's own id, which an error repeats.
    pub event: Option<Cow<'m, str>>,
    /// What the model reads besides the request: the conversation so far.
    pub context: Usage,
}

impl Asked<'_> {
    /// Returns the request without the message that it was read from.
    #[must_use]
    pub fn into_owned(self) -> Asked<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Asked { lane: owned(self.lane), event: self.event.map(owned), context: self.context }
    }
}

/// The meaning of a server's message.
#[derive(Debug, PartialEq, Eq)]
pub enum FromServer<'m> {
    /// It belongs to a response.
    Response {
        /// The response.
        of: Named<'m>,
        /// Its progress.
        phase: Phase,
    },
    /// It reports usage that no response contains, such as that of a transcription.
    Reported {
        /// The usage.
        usage: ReportedUsage,
        /// The model, if it is another one than that of the responses.
        model: Option<String>,
        /// Whether the socket is for such reports only, so that it must be closed when its budgets
        /// are exhausted.
        is_all: bool,
    },
    /// It reports the provider's rate limits.
    RateLimits,
    /// None of these.
    Other,
}

/// The names of a response, as far as a message has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<'m> {
    /// Its lane; empty if the API has one only.
    pub lane: Cow<'m, str>,
    /// The server's id of it.
    pub id: Option<Cow<'m, str>>,
    /// The client's id of the message that asked for it.
    pub event: Option<Cow<'m, str>>,
}

/// The progress of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Begins,
    /// It goes on.
    Continues,
    /// It ends with this message.
    Ends,
    /// The server refuses to begin it.
    Fails,
}

/// A response that was refused, or a socket.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The HTTP status that a call would get.
    pub status: u16,
    /// The body that a call would get, in the API's dialect.
    pub body: &'a str,
    /// The header fields that tell the wait: names and values.
    pub fields: &'a [(&'static str, String)],
    /// The request.
    pub asked: &'a Asked<'a>,
}
