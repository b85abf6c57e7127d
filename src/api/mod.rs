//! LLM APIs on the wire.
//!
//! In: a method and path, a request body, response bytes in pieces of any size. Out: the format
//! ([`Routes::recognise`]), the model's input and its output bound ([`Request`]), the usage
//! ([`Usage`]) and the streamed text. Not here: the number of tokens in a text (`tokens`), and
//! limits.
//!
//! One file or folder and one row of [`FORMATS`] per API format.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub mod answer;
mod anthropic;
mod back_off;
mod bedrock;
mod blocks;
mod bound;
mod capture;
mod cohere;
pub mod ending;
mod frames;
mod free;
mod gemini;
mod image;
mod mcp;
mod media;
mod model;
mod multipart;
mod number;
mod ollama;
mod openai;
mod outline;
mod path;
mod prompt;
mod raw;
mod routes;
mod schema;
pub mod sockets;
mod sse;
mod strays;
mod tool_list;
mod tools;
mod usage;

pub use back_off::Pause;
pub use image::Image;
pub use mcp::{Message, Messages};
pub use multipart::Peek;
pub use outline::Outline;
pub use path::{PathEnd, without_query};
pub use prompt::{Function, Piece, Prompt, Property, Quoted, SHORTEST_QUOTED};
pub use routes::{Call, Endpoint, Routes, Upgrade};
use routes::{get, post};
use sockets::Socket;
pub use strays::Strays;
pub use usage::{CLASS_LIST, CLASSES, Classes, ReportedUsage, Side, Usage};

use crate::identity::Head;
use answer::Written;
use ending::Ending;

/// All supported API formats, in the order in which paths are matched.
pub const FORMATS: &[&Format] = &[
    &openai::chat::FORMAT,
    &openai::completions::FORMAT,
    &openai::completions::LLAMA,
    &openai::responses::FORMAT,
    &openai::realtime::FORMAT,
    // Before OpenAI's, whose path is a suffix of this format's older one.
    &ollama::EMBED,
    &openai::embeddings::FORMAT,
    &openai::speech::FORMAT,
    &openai::transcriptions::FORMAT,
    &openai::images::GENERATIONS,
    &openai::images::EDITS,
    &anthropic::FORMAT,
    &bedrock::converse::FORMAT,
    &bedrock::invoke::FORMAT,
    &gemini::FORMAT,
    &gemini::embed::FORMAT,
    &gemini::live::FORMAT,
    &cohere::chat::FORMAT,
    &cohere::embed::FORMAT,
    &ollama::CHAT,
    &ollama::GENERATE,
    &free::MODERATIONS,
    &free::MODELS,
    &mcp::FORMAT,
];

/// The APIs over WebSockets.
pub const SOCKETS: &[&Socket] = &[
    &openai::responses::SOCKET,
    &openai::realtime::SOCKET,
    &openai::realtime::UNCOUNTED,
    &gemini::live::SOCKET,
    &gemini::live::MUSIC,
];

/// An API format: the functions that recognise, read and edit its calls, and read its answers.
pub struct Format {
    /// The name in configuration, metrics and the built-in dimension `api`.
    pub name: &'static str,
    /// The error bodies and headers that its clients understand.
    pub dialect: Dialect,
    /// The methods and paths of its calls; the first match determines the model.
    pub endpoints: &'static [Endpoint],
    /// The calls below a path prefix that the configuration assigns to this format, in addition to
    /// its `endpoints`.
    pub configured: &'static [Endpoint],
    /// The path suffixes, in lower case, at which its providers count tokens for free. Such a path
    /// never costs anything, regardless of method and prefix.
    pub free: &'static [&'static str],
    /// Returns the model's name in the configuration, given its name in the path.
    pub model_in_path: fn(&str) -> &str,
    /// The treatment of its request bodies.
    pub body: Body,
    /// Reads a request body, if it is [`Body::Held`]. [`Unread`] is the reason why the body does
    /// not parse as this format; the caller then counts it as plain text, or refuses it if it is
    /// [`Unread::Ambiguous`].
    pub read: for<'a> fn(&Outline<'a>) -> Result<Request<'a>, Unread>,
    /// Reads the messages of a request to a server instead of a model; none if the format's calls
    /// are LLM calls.
    pub messages: Option<ReadMessages>,
    /// Estimates the request from the length of a body that is not read, in bytes.
    pub guess: fn(u64) -> Request<'static>,
    /// The top-level members of a JSON answer that `answer` reads, and the only ones kept.
    pub answer_members: &'static [&'static str],
    /// The members of a whole answer that hold what the model wrote; none if its usage depends on
    /// them. It is read without them if nothing needs them.
    written: Option<Written>,
    /// Reads one JSON document of an answer: a whole body, the data of one event, one element of a
    /// list. An unreadable document reports nothing.
    pub answer: for<'a> fn(&'a [u8]) -> Answer<'a>,
    /// Creates the ending of a stream, in case it is stopped early; none if the format's streams
    /// cannot be.
    pub ending: Option<fn() -> Box<dyn Ending>>,
    /// Reads the usage in the headers of an answer.
    pub told_by_head: fn(&dyn Head) -> ReportedUsage,
    /// Returns the edit that makes the answer of the model of this name report its usage, if the
    /// client has not asked for usage and the model accepts such a request. The name may be empty.
    pub ask_for_usage: fn(&Outline<'_>, &str) -> Option<Edit>,
    /// Returns whether the upstream at a raw path is new enough to accept a request for usage.
    pub usage_question_is_known: fn(&[u8]) -> bool,
    /// Returns the names of the tools that a request offers the model, in order, without unnamed
    /// ones. The field is none if requests of the format never offer tools; otherwise an unreadable
    /// request may offer any tool.
    pub offered_tools: Option<Offered>,
    /// Returns edits that remove the offered tools that the function selects by name, and keep the
    /// rest of the request consistent; none if there is nothing to remove.
    pub without_tools: fn(&Outline<'_>, Hide<'_>) -> Vec<Edit>,
    /// Returns the edit that makes a request ask for another model; none if its body names no
    /// model, names that model already, or cannot be read. If the path also names the model, change
    /// both ([`Call::path_with_model`]).
    pub with_model: fn(&Outline<'_>, &str) -> Option<Edit>,
    /// Returns edits that bound the output tokens of each choice of a request, if it has no bound
    /// or a higher one; none if it is within the bound already. The model, if known, is the one
    /// that the request will ask for: the name of the bound may depend on it. [`Unbounded`] is the
    /// reason why the output cannot be bounded. This does not check that the model can write as
    /// much as the bound allows.
    pub with_max_output: fn(&Outline<'_>, Option<&str>, u64) -> Bounded,
}

/// A function that reads the names of the tools that a request offers.
pub type Offered = for<'a> fn(&Outline<'a>) -> Vec<Cow<'a, str>>;

/// A function that reads the messages of a body.
pub type ReadMessages = for<'a> fn(&'a [u8]) -> Result<Messages<'a>, Unread>;

/// A function that decides by a tool's name whether to remove the tool.
pub type Hide<'h> = &'h dyn Fn(&str) -> bool;

impl Format {
    /// The default values of a row.
    const DEFAULT: Self = Self {
        name: "",
        dialect: Dialect::OpenAi,
        endpoints: &[],
        configured: &[post("")],
        free: &[],
        model_in_path: |name| name,
        body: Body::Held,
        read: |_| Err(Unread::Malformed),
        messages: None,
        guess: |bytes| Request { prompt: Prompt(vec![Piece::Unseen { bytes }]), ..Request::default() },
        answer_members: &[],
        written: None,
        answer: |_| Answer::default(),
        ending: None,
        told_by_head: |_| ReportedUsage::default(),
        ask_for_usage: |_, _| None,
        usage_question_is_known: |_| true,
        offered_tools: None,
        without_tools: |_, _| Vec::new(),
        with_model: |_, _| None,
        with_max_output: |_, _, _| Err(Unbounded::Unknown),
    };

    /// Returns the names of the tools that a request offers.
    #[must_use]
    pub fn tools_offered<'a>(&self, outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
        self.offered_tools.map(|offered| offered(outline)).unwrap_or_default()
    }
}

/// The edits that bound a request's output, or the reason why there are none.
pub type Bounded = Result<Vec<Edit>, Unbounded>;

/// The reason why a request's output cannot be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbounded {
    /// A format without a bound, or an unreadable request.
    Unknown,
    /// A request for as much thinking as the bound allows, or more: the upstream would refuse it,
    /// or only think.
    Thinking,
    /// A bound below the API's minimum.
    TooLow {
        /// The API's minimum, in tokens.
        least: u64,
    },
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The treatment of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The filter holds the body until it is complete, and reads it.
    Held,
    /// The filter passes the body as it arrives, and estimates its content by its length.
    Passed,
    /// The filter does not need the body: the call costs nothing but its request.
    Free,
}

/// The format of an API's errors and rate limit headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error":{"message","type","param","code"}}` and `x-ratelimit-*`.
    OpenAi,
    /// `{"type":"error","error":{"type","message"}}` and `anthropic-ratelimit-*`.
    Anthropic,
    /// `{"error":{"code","message","status","details"}}`.
    Gemini,
    /// `{"message"}` and `x-amzn-errortype`.
    Bedrock,
    /// `{"message"}`.
    Cohere,
    /// `{"error"}`.
    Ollama,
    /// JSON-RPC: `{"jsonrpc","id","error":{"code","message","data"}}`.
    Mcp,
}

impl From<Unread> for Unbounded {
    fn from(_: Unread) -> Self {
        Self::Unknown
    }
}

/// The reason why a body could not be read in its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// A body that is not JSON, or does not have the format's shape; an upstream may still accept
    /// it.
    Malformed,
    /// A body with a duplicate of a member that decides the call's cost. Parsers disagree on which
    /// one applies, so our count could differ from the upstream's.
    Ambiguous {
        /// The duplicate member.
        member: &'static str,
    },
}

/// A request to a model.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The model's name in the body, if present.
    pub model: Option<Cow<'a, str>>,
    /// The model's input, as far as the request contains it.
    pub prompt: Prompt<'a>,
    /// Whether the model will also read input outside of the request, such as the history of a
    /// stored conversation.
    pub more_input: bool,
    /// The bound on output tokens of the whole call (all choices), if the request sets one.
    pub max_output: Option<u64>,
    /// The number of answers requested at once, if stated. The bound in the body applies to each;
    /// `max_output` is the product.
    pub choices: Option<u64>,
    /// The usage besides the prompt, if a formula gives it from the request. It replaces usage that
    /// an answer does not report; zero for calls without output.
    pub known: Option<Usage>,
}

/// An in-place change of a body: the bytes outside of `range` stay byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to replace; empty to insert.
    pub range: Range<usize>,
    /// The replacement text.
    pub text: Cow<'static, str>,
}

impl Edit {
    /// Returns `body` with these edits applied, in the order of their positions. It skips an edit
    /// outside of the body, or one that overlaps another.
    #[must_use]
    pub fn apply_all(edits: &[Self], body: &[u8]) -> Vec<u8> {
        let mut sorted: Vec<_> = edits.iter().collect();
        // Text inserted at a position comes before the replacement of that position.
        sorted.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut edited = Vec::with_capacity(body.len());
        let mut done = 0;
        for Self { range, text } in sorted {
            let Some(kept) = body.get(done..range.start).filter(|_| range.end >= range.start) else {
                continue;
            };
            if range.end > body.len() {
                continue;
            }
            edited.extend_from_slice(kept);
            edited.extend_from_slice(text.as_bytes());
            done = range.end;
        }
        edited.extend_from_slice(body.get(done..).unwrap_or_default());
        edited
    }
}

/// The content of one JSON document of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// The usage that it reports.
    pub told: ReportedUsage,
    /// The usage for classes that the rest of the answer does not report: a total that other
    /// documents of the answer report in parts.
    pub otherwise: ReportedUsage,
    /// Whether it has a usage that cannot be parsed.
    pub unreadable: bool,
    /// The sound that the model spoke, if its usage does not report it.
    pub spoken: Spoken,
    /// The pieces of text that the model wrote.
    pub text: Vec<Cow<'a, str>>,
    /// The tool calls that it names; the reader of the answer merges a call that several documents
    /// name.
    pub tools: Vec<answer::Called<'a>>,
    /// The index of the prompt for which it reports usage, if the answer reports usage per prompt;
    /// the call's usage is the sum.
    pub part: Option<u64>,
    /// Whether it carries usage and nothing else, like the chunk that `include_usage` adds.
    pub only_usage: bool,
    /// Whether the model has not answered yet, and the client will fetch the answer by another
    /// call.
    pub pending: bool,
}

/// Sound that a model spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// Its length in milliseconds.
    pub ms: u64,
    /// The tokens that it costs.
    pub tokens: u64,
}

impl Answer<'_> {
    /// Records a raw usage; `told` returns none for an implausible one.
    fn tell<'u, U: Deserialize<'u>>(
        &mut self,
        usage: Option<&'u RawValue>,
        told: impl FnOnce(U) -> Option<ReportedUsage>,
    ) {
        let Some(usage) = usage.map(RawValue::get).filter(|raw| *raw != "null") else { return };
        match serde_json::from_str(usage).ok().and_then(told).filter(|told| !told.is_incredible()) {
            Some(told) => self.told = self.told.then(told),
            None => self.unreadable = true,
        }
    }
}

#[cfg(test)]
#[path = "output_bound_tests.rs"]
mod output_bound_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_done_together_and_what_lies_outside_them_stays() {
        let edit = |range, text: &'static str| Edit { range, text: text.into() };
        let applied = |edits: &[Edit]| String::from_utf8(Edit::apply_all(edits, b"abcdef")).unwrap();
        assert_eq!(applied(&[]), "abcdef");
        assert_eq!(applied(&[edit(4..5, "yz"), edit(1..2, "x")]), "axcdyzf");
        assert_eq!(applied(&[edit(0..0, "x"), edit(6..6, "y"), edit(2..4, "")]), "xabefy");
        assert_eq!(applied(&[edit(1..3, ""), edit(1..1, "x"), edit(1..1, "y")]), "axydef");
        assert_eq!(applied(&[edit(1..3, ""), edit(1..1, "x"), edit(3..3, "y")]), "axydef");
    }

    #[test]
    fn an_edit_that_is_not_within_the_body_or_overlaps_another_is_left_out() {
        let edit = |range, text: &'static str| Edit { range, text: text.into() };
        let applied = |edits: &[Edit]| String::from_utf8(Edit::apply_all(edits, b"abc")).unwrap();
        assert_eq!(applied(&[edit(5..9, "x")]), "abc");
        assert_eq!(applied(&[edit(1..9, "x")]), "abc");
        assert_eq!(applied(&[edit(0..2, "x"), edit(1..3, "y")]), "xc");
    }
}
