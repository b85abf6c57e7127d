//! Google's Live API over a WebSocket, at the Gemini API and at Vertex AI.
//!
//! In: messages. Out: the shared types of `api` and `api::sockets`. Not here: Lyria's music, which
//! reports no tokens and is refused.
//!
//! Each message is an object whose members say what it is, in either of the spellings that Google's
//! own libraries mix. A turn of the model is a response. Its usage is that of the turn and not a
//! running total (seen in three turns of a session: 143, 181 and 224 tokens of prompt, 19, 24 and
//! 24 of response; pydantic-ai issue 7269). The API has no message for errors, but closes the
//! connection.
//!
//! Source: Google's "Live API - WebSockets API reference" and its library for Python, `live.py`.

mod answer;
mod request;
mod socket;

use std::borrow::Cow;

use crate::api::media::decoded_len;
use crate::api::raw::{as_text, entries};
use crate::api::sockets::{Metering, Socket};
use crate::api::{Dialect, Format};

/// The tokens of a second of sound (Vertex AI's page on provisioned throughput, "Live API").
/// Sessions report their usage, which replaces what is counted by this.
const TOKENS_PER_SECOND: u64 = 25;

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "gemini_live",
    dialect: Dialect::Gemini,
    endpoints: &[],
    configured: &[],
    read: request::read,
    answer: answer::read,
    with_max_output: request::with_max_output,
    offered_tools: Some(request::offered),
    without_tools: request::without,
    ending: Some(answer::Turn::ending),
    ..Format::DEFAULT
};

/// The row of [`SOCKETS`](crate::api::SOCKETS).
pub(in crate::api) static SOCKET: Socket = Socket {
    name: "gemini_live",
    dialect: Dialect::Gemini,
    path_ends: &["bidigeneratecontent", "bidigeneratecontentconstrained"],
    metering: Some(Metering { format: &FORMAT, begin: || Box::<socket::Session>::default() }),
};

/// Lyria's music.
pub(in crate::api) static MUSIC: Socket = Socket {
    name: "gemini_live",
    dialect: Dialect::Gemini,
    path_ends: &["bidigeneratemusic"],
    metering: None,
};

/// The members of an object; none of any other value.
struct Members<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Members<'a> {
    fn of(object: &'a str) -> Self {
        Self(entries(object).unwrap_or_default())
    }

    /// Returns the last value of a member that has one of these names; `null` if there is none.
    fn get(&self, names: &[&str]) -> &'a str {
        let mut members = self.0.iter();
        members.rfind(|(name, _)| names.contains(&&**name)).map_or("null", |(_, value)| value)
    }
}

/// Returns the value of one member of an object, as [`Members::get`].
fn member<'a>(object: &'a str, names: &[&str]) -> &'a str {
    Members::of(object).get(names)
}

/// Returns the length in milliseconds of raw sound, 16 bits a sample, and its tokens.
fn sound(blob: &Members<'_>, usual_rate: u64) -> (u64, u64) {
    let bytes = decoded_len(blob.get(&["data"]));
    let kind = as_text(blob.get(&["mimeType", "mime_type"]));
    let rate = kind.split("rate=").nth(1).and_then(|rate| rate.trim().parse().ok());
    let bytes_per_second = rate.filter(|rate| *rate > 0).unwrap_or(usual_rate).saturating_mul(2);
    let ms = bytes.saturating_mul(1_000).checked_div(bytes_per_second).unwrap_or(0);
    (ms, ms.saturating_mul(TOKENS_PER_SECOND) / 1_000)
}
