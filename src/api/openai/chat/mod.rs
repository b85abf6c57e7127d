//! OpenAI chat completions: `POST …/chat/completions`, also as Azure, vLLM and other servers speak it.
//!
//! In: request bodies, and JSON documents of answers. Out: what the shared types of `api` say. Not here: how many
//! tokens anything is, and the framing of event streams (`sse`).
//!
//! Source: OpenAI's API reference, "Create chat completion" and "The chat completion chunk object".

mod answer;
mod request;

use crate::api::{Dialect, Format, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_chat",
    dialect: Dialect::OpenAi,
    endpoints: &[post("/openai/deployments/{model}/chat/completions"), post("/chat/completions")],
    read: request::read,
    answer_members: &["choices", "usage"],
    answer: answer::read,
    ..Format::DEFAULT
};
