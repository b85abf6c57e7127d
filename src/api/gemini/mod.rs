//! Google's Gemini API, including Vertex AI's: `POST …/models/{model}:generateContent` and
//! `:streamGenerateContent`, and embeddings.
//!
//! In: request bodies, and JSON documents of answers, which stream as events (`alt=sse`) or as one
//! list in pieces. Out: the shared types of `api`. Not here: the framing of answers;
//! `:countTokens`, which is free; Gemini behind OpenAI's paths, which is [`openai`](super::openai).
//! Every answer reports usage, so there is no option to request it.
//!
//! Members may be spelled `inlineData` or `inline_data`, as in protocol buffers' JSON mapping.
//!
//! Source: Google's "Gemini API reference", "Generating content" and "Embeddings"; Vertex AI's
//! "Method: models.generateContent".

mod answer;
mod content;
pub(super) mod embed;
mod ending;
pub(super) mod live;
mod offered;
mod request;
mod output_bound;
mod usage;

use super::answer::Written;
use super::outline::Members;
use super::{Dialect, Format, Unread, model, post};

/// Content from a model. Only the path says whether the answer streams.
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
    written: Some(Written { members: &["candidates"], call: b"Call" }),
    answer: answer::read,
    with_model: model::with_model_in_folder,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Candidates::ending),
    ..Format::DEFAULT
};

/// Returns a member in either of its spellings; `null` counts as absent.
///
/// # Errors
/// [`Unread::Ambiguous`] if both are present.
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
