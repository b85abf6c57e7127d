//! OpenAI's Realtime API over a WebSocket, and Azure's.
//!
//! In: messages. Out: the shared types of `api` and `api::sockets`. Not here: `/realtime/calls`
//! (WebRTC), whose media does not pass; `/realtime/translations` and `/live/sessions`, which report
//! no tokens and are refused.
//!
//! A response reads the whole conversation. [`socket::Session`] keeps what the last response has
//! used and adds what came since. The request for a response is the object in `response.create`,
//! and its answer consists of the events with its id.
//!
//! Source: OpenAI's API reference, "Realtime client events" and "Realtime server events", its guide
//! "Managing costs" (tokens of sound), and its library for Python, `types/realtime`; Azure's
//! "Realtime API reference" for the older names of members.

mod answer;
mod ending;
mod request;
mod socket;

use crate::api::sockets::{Metering, Socket};
use crate::api::{Dialect, Format};

/// The bytes of a millisecond of sound in the usual format, PCM with 16 bits at 24 kHz.
const PCM_BYTES_PER_MS: u64 = 48;

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_realtime",
    endpoints: &[],
    configured: &[],
    read: request::read,
    answer: answer::read,
    with_max_output: request::with_max_output,
    offered_tools: Some(request::offered),
    without_tools: request::without,
    ending: Some(ending::Talked::ending),
    ..Format::DEFAULT
};

/// The row of [`SOCKETS`](crate::api::SOCKETS).
pub(in crate::api) static SOCKET: Socket = Socket {
    name: "openai_realtime",
    dialect: Dialect::OpenAi,
    path_ends: &["/realtime"],
    metering: Some(Metering { format: &FORMAT, begin: || Box::<socket::Session>::default() }),
};

/// Sockets of OpenAI's that report no tokens.
pub(in crate::api) static UNCOUNTED: Socket = Socket {
    name: "openai_realtime",
    dialect: Dialect::OpenAi,
    path_ends: &["/realtime/translations", "/live/sessions"],
    metering: None,
};
