//! Google's Gemini API, also as Vertex AI speaks it: `POST …/models/{model}:generateContent` and
//! `:streamGenerateContent`, and embeddings.
//!
//! In: request bodies, and JSON documents of answers, which stream as events (`alt=sse`) or else as
//! one list in pieces. Out: what the shared types of `api` say. Not here: the framing of answers,
//! `:countTokens`, which is free, and Gemini behind OpenAI's paths, which is
//! [`openai`](super::openai). Nothing switches usage on: every answer has it.
//!
//! Members may be spelled `inlineData` or `inline_data`, as protocol buffers' JSON mapping has it.
//!
//! Source: Google's "Gemini API reference", "Generating content" and "Embeddings"; Vertex AI's
//! "Method: models.generateContent".

mod answer;
mod content;
pub(super) mod embed;
mod ending;
mod offered;
mod request;
mod softer;
mod usage;

use super::outline::Members;
use super::sockets::Socket;
use super::{Dialect, Format, Unread, model, post};

/// Content made by a model. Which of the methods streams is in the path only.
pub(super) static FORMAT: Format = Format {
    name: "gemini",
    dialect: Dialect::Gemini,
    endpoints: &[
        post("/models/{model}:generatecontent"),
        post("/models/{model}:streamgeneratecontent"),
        post("/tunedmodels/{model}:generatecontent"),
        post("/tunedmodels/{model}:streamgeneratecontent"),
        post("/endpoints/{model}:generatecontent"),
        post("/endpoints/{model}:streamgeneratecontent"),
        post(":generatecontent"),
        post(":streamgeneratecontent"),
    ],
    free: &[":counttokens"],
    read: request::read,
    answer_members: &["candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId", "error"],
    answer: answer::read,
    with_model: model::with_model_in_folder,
    with_max_output: softer::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Candidates::ending),
    ..Format::DEFAULT
};

/// The Live API, and Lyria's for music (Google's "Live API - WebSockets API reference" and "Lyria
/// RealTime").
pub(super) static LIVE: Socket = Socket {
    name: "gemini_live",
    dialect: Dialect::Gemini,
    path_ends: &["bidigeneratecontent", "bidigeneratecontentconstrained", "bidigeneratemusic"],
};

/// A member by either of its spellings, without `null`.
///
/// # Errors
/// [`Unread::Ambiguous`] if it is there in both.
fn either<'a>(
    members: &Members<'a>,
    camel: &'static str,
    snake: &'static str,
) -> Result<Option<&'a str>, Unread> {
    if members.written(camel).is_some() && members.written(snake).is_some() {
        return Err(Unread::Ambiguous { member: camel });
    }
    Ok(members.raw(camel).or_else(|| members.raw(snake)))
}
