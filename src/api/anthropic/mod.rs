//! Anthropic's messages API: `POST …/v1/messages`, also on Google's Vertex AI (`rawPredict`) and in
//! Amazon's InvokeModel.
//!
//! In: request bodies, and JSON documents of answers. Out: the shared types of `api`. Not here:
//! counting tokens, which is free, and batches, which answer later.
//!
//! Source: Anthropic's API reference, "Create a Message" and "Streaming messages"; Google's
//! "Request predictions with Claude models".

pub(super) mod answer;
mod blocks;
pub(super) mod ending;
pub(super) mod offered;
pub(super) mod request;
pub(super) mod output_bound;
mod tools;
mod usage;

use super::answer::Written;
use super::{Dialect, Format, model, post};

/// The row of [`FORMATS`](super::FORMATS).
pub(super) static FORMAT: Format = Format {
    name: "anthropic_messages",
    dialect: Dialect::Anthropic,
    endpoints: &[
        post("/publishers/anthropic/models/{model}:streamrawpredict"),
        post("/publishers/anthropic/models/{model}:rawpredict"),
        post("/v1/messages"),
    ],
    // On Vertex AI, counting tokens looks like a call of a model.
    free: &["/messages/count_tokens", "/models/count-tokens:rawpredict"],
    read: request::read,
    answer_members: &["type", "message", "usage", "content", "content_block", "delta"],
    written: Some(Written { members: &["content"], call: b"_use" }),
    answer: answer::read,
    with_model: model::with_model,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Message::ending),
    ..Format::DEFAULT
};
