//! What LLM APIs look like on the wire.
//!
//! In: a method and path, a request body, response bytes in any pieces. Out: which format it is
//! ([`recognise`]), what the model will read and may write ([`Request`]), what was used ([`Usage`]) and the text
//! that was streamed. Not here: how many tokens a text is (`tokens`), and anything about limits.
//!
//! One file and one row of [`FORMATS`] per API format.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

pub mod answer;
mod capture;
pub mod frames;
mod image;
pub mod multipart;
mod number;
mod openai_chat;
mod path;
mod sse;

pub use image::Image;

/// Every API format that is understood, in the order in which paths are tried.
pub const FORMATS: &[&dyn Format] = &[&openai_chat::OpenAiChat];

/// One API format: how its calls are recognised, read and edited, and how its answers are read.
pub trait Format: Sync + fmt::Debug {
    /// The name in configuration, metrics and the built-in dimension `api`.
    fn name(&self) -> &'static str;

    /// Whose error bodies and headers its clients understand.
    fn dialect(&self) -> Dialect;

    /// How its paths end, percent-decoded and without query or trailing slash; any prefix may come before.
    fn path_ends(&self) -> &'static [&'static str];

    /// Reads a request body.
    ///
    /// # Errors
    /// [`Unread`] says why it cannot be read as this format; the caller then counts it as plain text or, if
    /// it is [`Unread::Ambiguous`], refuses it.
    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, Unread>;

    /// The top-level members of a JSON answer that [`Format::answer`] looks at: all that is kept of it.
    fn answer_members(&self) -> &'static [&'static str];

    /// Reads one JSON document of an answer: a whole body or the data of one event.
    fn answer<'a>(&self, json: &'a [u8]) -> Answer<'a>;
}

/// How an API words its errors and rate limit headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error":{"message","type","param","code"}}` and `x-ratelimit-*`.
    OpenAi,
}

/// Why a body could not be read in its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not JSON, or not of the format's shape; an upstream may still know what to do with it.
    Malformed,
    /// It names a member twice that decides what the call costs. Parsers disagree on which one counts, so
    /// what we count could differ from what the upstream does.
    Ambiguous {
        /// The member named twice.
        member: &'static str,
    },
}

/// What a request asks of a model.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The model by its name in the request; a format may have it in its path or leave it out.
    pub model: Option<Cow<'a, str>>,
    /// Everything that the model will read.
    pub prompt: Prompt<'a>,
    /// The bound on output tokens of the whole call (all choices), if the request sets one.
    pub max_output: Option<u64>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The edit that makes a streamed answer report its usage, where the client has not asked for it.
    pub ask_for_usage: Option<Edit>,
}

/// What a model reads, in pieces whose tokens are counted by different rules.
#[derive(Debug, Default)]
pub struct Prompt<'a>(pub Vec<Piece<'a>>);

/// One piece of a prompt.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// The frame around one message of a conversation.
    Message,
    /// The frame around a message's author name.
    Name,
    /// The frame around one earlier tool call.
    ToolCall,
    /// Text as the model reads it.
    Text(Cow<'a, str>),
    /// A picture.
    Image(Image),
    /// Sound of so many bytes in a compressed or raw form.
    Audio {
        /// Size when decoded from base64.
        bytes: u64,
        /// Whether the samples are uncompressed (WAV, PCM).
        raw: bool,
    },
    /// A document of so many bytes; none if only its id is known.
    File {
        /// Size when decoded from base64.
        bytes: Option<u64>,
    },
    /// The definition of one callable function.
    Function(Function<'a>),
    /// Bytes that could not be read in their format.
    Unread(&'a [u8]),
}

/// A function that the model may call.
#[derive(Debug, Default, PartialEq)]
pub struct Function<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does, in words for the model.
    pub description: Cow<'a, str>,
    /// Its parameters, nested ones flattened behind their parents.
    pub properties: Vec<Property<'a>>,
}

/// One parameter of a function.
#[derive(Debug, Default, PartialEq)]
pub struct Property<'a> {
    /// Its name; empty for the items of a list.
    pub name: Cow<'a, str>,
    /// Its JSON type.
    pub kind: Cow<'a, str>,
    /// What it means, in words for the model.
    pub description: Cow<'a, str>,
    /// The values it may take, if they are listed.
    pub choices: Vec<Cow<'a, str>>,
}

/// A change of a body in place: what is not in `range` stays byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to be replaced; empty to insert.
    pub range: Range<usize>,
    /// What comes in their place.
    pub text: &'static str,
}

impl Edit {
    /// `body` with this edit done; unchanged if the range is not within it.
    #[must_use]
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let (Some(before), Some(after)) = (body.get(..self.range.start), body.get(self.range.end..)) else {
            return body.to_vec();
        };
        [before, self.text.as_bytes(), after].concat()
    }
}

/// What one JSON document of an answer says.
#[derive(Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// The usage so far, if it says.
    pub usage: Option<Usage>,
    /// Whether it has a usage that cannot be read.
    pub usage_unreadable: bool,
    /// The pieces of text that the model wrote.
    pub text: Vec<Cow<'a, str>>,
    /// Whether it carries usage and nothing else, as the chunk does that `include_usage` adds.
    pub only_usage: bool,
}

/// Tokens used by a call in classes that do not overlap, whatever the provider's own convention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input that was neither read from nor written to a cache.
    pub input: u64,
    /// Input read from a cache.
    pub cached_input: u64,
    /// Input written to a cache.
    pub cache_write: u64,
    /// Output that is not reasoning.
    pub output: u64,
    /// Output that the model wrote for itself.
    pub reasoning: u64,
}

impl Usage {
    /// Everything the model read.
    #[must_use]
    pub const fn all_input(&self) -> u64 {
        self.input.saturating_add(self.cached_input).saturating_add(self.cache_write)
    }

    /// Everything the model wrote.
    #[must_use]
    pub const fn all_output(&self) -> u64 {
        self.output.saturating_add(self.reasoning)
    }
}

/// The format of a call, or none if it is not an LLM call.
#[must_use]
pub fn recognise(method: &[u8], path: &[u8]) -> Option<&'static dyn Format> {
    if method != b"POST" {
        return None;
    }
    let path = path::decoded(path);
    FORMATS.iter().find(|format| format.path_ends().iter().any(|end| path.ends_with(end))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(method: &str, path: &str) -> Option<&'static str> {
        recognise(method.as_bytes(), path.as_bytes()).map(Format::name)
    }

    #[test]
    fn chat_completions_are_recognised_behind_any_prefix() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/v1/chat/completions?api-version=1",
            "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
            "/team/a/v1/chat/completions/",
        ] {
            assert_eq!(name("POST", path), Some("openai_chat"), "{path}");
        }
    }

    #[test]
    fn disguises_that_an_upstream_would_see_through_are_recognised() {
        for path in [
            "/v1/chat/comp%6Cetions",
            "/v1/chat%2fcompletions",
            "/V1/Chat/Completions",
            "/v1/chat//completions",
        ] {
            assert_eq!(name("POST", path), Some("openai_chat"), "{path}");
        }
    }

    #[test]
    fn other_paths_and_methods_are_not_llm_calls() {
        for (method, path) in [
            ("GET", "/v1/chat/completions"),
            ("OPTIONS", "/v1/chat/completions"),
            ("POST", "/v1/chat/completions/chatcmpl-1"),
            ("POST", "/v1/models"),
            ("POST", "/"),
            ("POST", ""),
        ] {
            assert_eq!(name(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn an_edit_outside_the_body_changes_nothing() {
        assert_eq!(Edit { range: 5..9, text: "x" }.apply(b"abc"), b"abc");
        assert_eq!(Edit { range: 1..2, text: "xyz" }.apply(b"abc"), b"axyzc");
    }
}
