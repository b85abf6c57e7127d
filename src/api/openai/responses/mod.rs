//! OpenAI responses: `POST …/responses`, and `…/responses/compact`, which shortens a conversation.
//!
//! In: request bodies, and JSON documents of answers. Out: the shared types of `api`. Not here:
//! fetching, cancelling and deleting stored responses, and counting their input
//! (`…/responses/input_tokens`), which cost nothing.
//!
//! Source: OpenAI's API reference, "Create a model response", "Compact a response", "Streaming
//! events".

mod answer;
mod ending;
mod offered;
mod request;
mod output_bound;
mod socket;

use crate::api::answer::Written;
use crate::api::{Format, model, post};
pub(in crate::api) use socket::SOCKET;
pub(in crate::api::openai) use socket::error_event;

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_responses",
    endpoints: &[post("/responses"), post("/responses/compact").has_no_bound()],
    free: &["/responses/input_tokens"],
    read: request::read,
    answer_members: &["type", "status", "output", "usage"],
    written: Some(Written { members: &["output"], call: b"_call" }),
    answer: answer::read,
    with_model: model::with_model,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Response::ending),
    ..Format::DEFAULT
};
