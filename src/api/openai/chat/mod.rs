//! OpenAI chat completions: `POST …/chat/completions`, also as Azure, vLLM and other servers
//! implement it, and as Mistral and AI21 do on Vertex AI and for agents.
//!
//! In: request bodies, and JSON documents of answers. Out: the shared types of `api`. Not here:
//! counting tokens, and the framing of event streams (`sse`).
//!
//! Source: OpenAI's API reference, "Create chat completion" and "The chat completion chunk object";
//! Google's "Use Mistral AI models" (Vertex AI); Mistral's API reference, "Agents Completion".

mod answer;
mod calls;
pub(in crate::api) mod offered;
mod request;
mod output_bound;

pub(in crate::api) use offered::of_tool as name_of_tool;

pub(super) use answer::{ANSWER_MEMBERS, read as read_answer};
pub(in crate::api) use output_bound::with_max_output;

use super::{ON_VERTEX_OR_ELSEWHERE, ending, stream_options};
use crate::api::answer::Written;
use crate::api::{Dialect, Format, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_chat",
    dialect: Dialect::OpenAi,
    endpoints: &[
        post("/openai/deployments/{model}/chat/completions"),
        post("/chat/completions"),
        post("/agents/completions").tells_usage_unasked(),
        post("/publishers/mistralai/models/{model}:rawpredict").tells_usage_unasked(),
        post("/publishers/mistralai/models/{model}:streamrawpredict").tells_usage_unasked(),
        post("/publishers/ai21/models/{model}:rawpredict").tells_usage_unasked(),
        post("/publishers/ai21/models/{model}:streamrawpredict").tells_usage_unasked(),
    ],
    configured: &ON_VERTEX_OR_ELSEWHERE,
    read: request::read,
    ask_for_usage: stream_options::ask_for_usage,
    usage_question_is_known: stream_options::are_known,
    answer_members: &ANSWER_MEMBERS,
    written: Some(Written { members: &["choices"], call: b"_call" }),
    answer: read_answer,
    with_model: model::with_model,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    with_max_output,
    ending: Some(ending::Chunks::chat),
    ..Format::DEFAULT
};
