//! Cohere chat: `POST …/v2/chat`.
//!
//! In: request bodies, and JSON documents of answers. Out: the shared types of `api`. Not here: the
//! number of tokens.
//!
//! Source: Cohere's API reference, "Chat API (v2)" and "Chat with Streaming (v2)".

mod answer;
mod ending;
mod offered;
mod request;
mod output_bound;

use crate::api::answer::Written;
use crate::api::{Dialect, Format, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "cohere_chat",
    dialect: Dialect::Cohere,
    endpoints: &[post("/v2/chat")],
    read: request::read,
    answer_members: &["delta", "message", "usage"],
    written: Some(Written { members: &["message"], call: b"_call" }),
    answer: answer::read,
    with_model: model::with_model,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Chat::ending),
    ..Format::DEFAULT
};
