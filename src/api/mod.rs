//! LLM APIs on the wire.
//!
//! In: a method and path, a request body, response bytes in any pieces. Out: which format it is
//! ([`Routes::recognise`]), what the model will read and may write ([`Request`]), what was used
//! ([`Usage`]) and the text that was streamed. Not here: how many tokens a text is (`tokens`), and
//! anything about limits.
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
mod sockets;
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
pub use path::PathEnd;
pub use prompt::{Function, Piece, Prompt, Property};
pub use routes::{Call, Endpoint, Routes, Upgrade};
use routes::{get, post};
use sockets::Socket;
pub use strays::Strays;
pub use usage::{CLASSES, Classes, ReportedUsage, Side, Usage};

use crate::identity::Head;
use ending::Ending;

/// Every API format that is understood, in the order in which paths are tried.
pub const FORMATS: &[&Format] = &[
    &openai::chat::FORMAT,
    &openai::completions::FORMAT,
    &openai::completions::LLAMA,
    &openai::responses::FORMAT,
    // Before OpenAI's, whose path is the end of its older one.
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
    &cohere::chat::FORMAT,
    &cohere::embed::FORMAT,
    &ollama::CHAT,
    &ollama::GENERATE,
    &free::MODERATIONS,
    &free::MODELS,
    &mcp::FORMAT,
];

/// Every API that is spoken over an upgraded connection and has no form over plain HTTP.
const SOCKETS: &[&Socket] = &[&openai::REALTIME, &gemini::LIVE];

/// One API format: how its calls are recognised, read and edited, and how its answers are read.
pub struct Format {
    /// The name in configuration, metrics and the built-in dimension `api`.
    pub name: &'static str,
    /// The error bodies and headers that its clients understand.
    pub dialect: Dialect,
    /// The methods and paths of its calls; the first that fits tells the model.
    pub endpoints: &'static [Endpoint],
    /// The calls below a prefix that the configuration says to be of this format, beside its
    /// `endpoints`.
    pub configured: &'static [Endpoint],
    /// How the paths end at which its providers count tokens for free, in lower case. No method and
    /// no prefix makes that a call which costs something.
    pub free: &'static [&'static str],
    /// Gives the model as the configuration names it, by its name in the path.
    pub model_in_path: fn(&str) -> &str,
    /// The treatment of its request bodies.
    pub body: Body,
    /// Reads a request body, if it is [`Body::Held`]. [`Unread`] says why it cannot be read as this
    /// format; the caller then counts it as plain text or, if it is [`Unread::Ambiguous`], refuses
    /// it.
    pub read: for<'a> fn(&Outline<'a>) -> Result<Request<'a>, Unread>,
    /// Reads the messages of a request body that asks something of a server instead of a model;
    /// none if the format's calls are LLM calls.
    pub messages: Option<ReadMessages>,
    /// Guesses the request of a body of so many bytes that is not read.
    pub guess: fn(u64) -> Request<'static>,
    /// The top-level members of a JSON answer that `answer` looks at: all that is kept of it.
    pub answer_members: &'static [&'static str],
    /// Reads one JSON document of an answer: a whole body, the data of one event, one element of a
    /// list. What cannot be read tells nothing.
    pub answer: for<'a> fn(&'a [u8]) -> Answer<'a>,
    /// Begins the ending of a stream, in case it is stopped early; none if its streams cannot be.
    pub ending: Option<fn() -> Box<dyn Ending>>,
    /// The usage that an answer tells in its headers.
    pub told_by_head: fn(&dyn Head) -> ReportedUsage,
    /// The edit that makes an answer of the model of this name report its usage, where the client
    /// has not asked for it and the model takes the question; the name may be empty.
    pub ask_for_usage: fn(&Outline<'_>, &str) -> Option<Edit>,
    /// Whether the upstream at a raw path is new enough to know that question.
    pub usage_question_is_known: fn(&[u8]) -> bool,
    /// The names of the tools that a request offers the model, in their order; those that have none
    /// are left out. None if no request of the format offers any; one that cannot be read may
    /// otherwise offer all there are.
    pub offered_tools: Option<Offered>,
    /// Edits of a request that take away the offered tools of which the function says so by their
    /// names, and keep the rest of it consistent; none if nothing is to be taken away.
    pub without_tools: fn(&Outline<'_>, Hide<'_>) -> Vec<Edit>,
    /// The edit that has a request ask for another model; none if its body names none, or that one
    /// already, or cannot be read. Where the path names the model, too, both are to be changed
    /// ([`Call::path_with_model`]).
    pub with_model: fn(&Outline<'_>, &str) -> Option<Edit>,
    /// Edits that bound the output tokens of each choice of a request, where it has no bound or a
    /// higher one; none if it is within the bound already. The model, if it is known, is the one
    /// that will be asked: what the bound is called may depend on it. [`Unbounded`] says why the
    /// output cannot be bounded. Whether the model can write as much as the bound allows is not
    /// looked at.
    pub with_max_output: fn(&Outline<'_>, Option<&str>, u64) -> Bounded,
}

/// Reads the names of the tools that a request offers.
pub type Offered = for<'a> fn(&Outline<'a>) -> Vec<Cow<'a, str>>;

/// Reads the messages of a body.
pub type ReadMessages = for<'a> fn(&'a [u8]) -> Result<Messages<'a>, Unread>;

/// Says of a tool's name whether to take the tool away.
pub type Hide<'h> = &'h dyn Fn(&str) -> bool;

impl Format {
    /// The values that a row need not give.
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

    /// The names of the tools that a request offers.
    #[must_use]
    pub fn tools_offered<'a>(&self, outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
        self.offered_tools.map(|offered| offered(outline)).unwrap_or_default()
    }
}

/// The edits that bound a request's output, or why there can be none.
pub type Bounded = Result<Vec<Edit>, Unbounded>;

/// Why a request's output cannot be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbounded {
    /// Its format knows no bound, or it cannot be read.
    Unknown,
    /// It asks for as much thinking as the bound lets through, or more: the upstream would refuse
    /// it, or only think.
    Thinking,
    /// The API takes no bound as low as this.
    TooLow {
        /// The lowest that it takes, in tokens.
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
    /// It is held until it is whole, and read.
    Held,
    /// It passes as it comes, and is guessed at by its length.
    Passed,
    /// Nobody needs it: the call costs nothing but its request.
    Free,
}

/// The wording of an API's errors and rate limit headers.
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

/// Why a body could not be read in its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not JSON, or not of the format's shape; an upstream may still know what to do with it.
    Malformed,
    /// It names a member twice that decides what the call costs. Parsers disagree on which one
    /// counts, so what we count could differ from what the upstream does.
    Ambiguous {
        /// The member named twice.
        member: &'static str,
    },
}

/// A request to a model.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// The model by its name in the body, if it is there.
    pub model: Option<Cow<'a, str>>,
    /// Everything that the model will read, as far as it is in the request.
    pub prompt: Prompt<'a>,
    /// Whether the model will also read what is not in the request, such as the history of a stored
    /// conversation.
    pub more_input: bool,
    /// The bound on output tokens of the whole call (all choices), if the request sets one.
    pub max_output: Option<u64>,
    /// How many answers are asked for at once, if that is said; the bound in the body is that of
    /// each, and `max_output` the product.
    pub choices: Option<u64>,
    /// The usage besides the prompt, where it follows from the request by a formula. It
    /// stands for what an answer does not tell; zero for calls that have no output.
    pub known: Option<Usage>,
}

/// A change of a body in place: what is not in `range` stays byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The bytes to be replaced; empty to insert.
    pub range: Range<usize>,
    /// The text in their place.
    pub text: Cow<'static, str>,
}

impl Edit {
    /// `body` with these edits done, in the order of their places. One that is not within the body,
    /// or overlaps another, is left out.
    #[must_use]
    pub fn apply_all(edits: &[Self], body: &[u8]) -> Vec<u8> {
        let mut sorted: Vec<_> = edits.iter().collect();
        // Text inserted in front of a place comes before the replacement of the place.
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
    /// The usage that it tells so far.
    pub told: ReportedUsage,
    /// The usage of classes of which nothing else in the answer tells anything: a total that other
    /// documents of the answer tell in parts.
    pub otherwise: ReportedUsage,
    /// Whether it has a usage that cannot be read.
    pub unreadable: bool,
    /// The pieces of text that the model wrote.
    pub text: Vec<Cow<'a, str>>,
    /// The calls of tools that it names; the reader of the answer knows a call that several
    /// documents name.
    pub tools: Vec<answer::Called<'a>>,
    /// The prompt whose usage it tells, if the answer tells one for each of the prompts of a call;
    /// the call used the sum of them.
    pub part: Option<u64>,
    /// Whether it carries usage and nothing else, as the chunk does that `include_usage` adds.
    pub only_usage: bool,
    /// Whether the model has yet to answer, and its answer will be asked for by another call.
    pub pending: bool,
}

impl Answer<'_> {
    /// Takes in a usage as it is written; `told` is none for one that cannot be believed.
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
#[path = "softer_tests.rs"]
mod softer_tests;

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
