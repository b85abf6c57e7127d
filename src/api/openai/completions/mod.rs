//! Completions of a prompt: OpenAI's older API, `POST …/completions`, also as Azure and vLLM
//! implement it, and Mistral for code (`fim`); and llama.cpp's own, `POST …/completion` and
//! `…/infill`. llama.cpp also uses its own API on `…/completions`, unless the path begins with
//! `/v1`. The two APIs share that path, so each row reads both.
//!
//! In: request bodies, and JSON documents of answers. Out: the two rows. Not here: llama.cpp's
//! chat, messages and embeddings, which are those of other APIs; reranking.
//!
//! Source: OpenAI's API reference, "Create completion"; Mistral's, "Fim". For llama.cpp see
//! `llama`.

mod answer;
mod ending;
mod llama;
mod request;

use super::{ON_VERTEX_OR_ELSEWHERE, stream_options};
use crate::api::outline::Outline;
use crate::api::{Edit, Format, model, post};
use request::{MAX_TOKENS, N_PREDICT};

/// OpenAI's row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_completions",
    endpoints: &[
        post("/openai/deployments/{model}/completions"),
        post("/fim/completions").tells_usage_unasked(),
        post("/completions"),
    ],
    configured: &ON_VERTEX_OR_ELSEWHERE,
    ask_for_usage,
    usage_question_is_known: stream_options::are_known,
    with_max_output: |outline, _, each| request::bounded(outline, MAX_TOKENS, each),
    ..BOTH
};

/// llama.cpp's row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static LLAMA: Format = Format {
    name: "llama_completion",
    endpoints: &[post("/completion"), post("/infill")],
    // vLLM and Cohere use this path too.
    free: &["/tokenize"],
    ask_for_usage: llama::ask_for_counts,
    with_max_output: |outline, _, each| request::bounded(outline, N_PREDICT, each),
    ..BOTH
};

/// The members that both rows share.
const BOTH: Format = Format {
    read: request::read,
    answer_members: &answer::MEMBERS,
    answer: answer::read,
    with_model: model::with_model,
    ending: Some(ending::Completions::ending),
    ..Format::DEFAULT
};

/// Returns the edit that makes a stream report its usage, or llama.cpp's answer its counts.
fn ask_for_usage(outline: &Outline<'_>, model: &str) -> Option<Edit> {
    stream_options::ask_for_usage(outline, model).or_else(|| llama::ask_for_counts(outline, model))
}
