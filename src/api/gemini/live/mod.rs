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

use crate::api::sockets::{Socket, Speech};
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
    speech: Some(Speech { format: &FORMAT, begin: || Box::<socket::Session>::default() }),
};

/// Lyria's music.
pub(in crate::api) static MUSIC: Socket =
    Socket { name: "gemini_live", dialect: Dialect::Gemini, path_ends: &["bidigeneratemusic"], speech: None };

/// Returns the last value of a member that has one of these names; `null` if there is none.
fn member<'a>(object: &'a str, names: &[&str]) -> &'a str {
    let mut members = crate::api::raw::entries(object).unwrap_or_default().into_iter();
    members.rfind(|(name, _)| names.contains(&&**name)).map_or("null", |(_, value)| value)
}

/// Returns the length in milliseconds of raw sound, 16 bits a sample, and its tokens.
fn sound(blob: &str, usual_rate: u64) -> (u64, u64) {
    let data = member(blob, &["data"]);
    let bytes = crate::api::media::decoded_len(data);
    let kind = crate::api::raw::as_text(member(blob, &["mimeType", "mime_type"]));
    let rate = kind.split("rate=").nth(1).and_then(|rate| rate.trim().parse().ok());
    let bytes_per_second = rate.filter(|rate| *rate > 0).unwrap_or(usual_rate).saturating_mul(2);
    let ms = bytes.saturating_mul(1_000).checked_div(bytes_per_second).unwrap_or(0);
    (ms, ms.saturating_mul(TOKENS_PER_SECOND) / 1_000)
}
