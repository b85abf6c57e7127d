//! Embeddings: `:embedContent`, and `:batchEmbedContents` with many such requests in one.
//!
//! In: a body, an answer. Out: [`Request`] with a known output of zero, [`Answer`]. Older models
//! report no usage; then the count before the call stands. Not here: content from a model
//! (`request`, `answer`).
//!
//! Source: Google's "Gemini API reference", "Embeddings".

use serde::Deserialize;
use serde_json::value::RawValue;

use super::content::Contents;
use super::request::last_segment;
use super::usage::UsageMetadata;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{items, text};
use crate::api::{Answer, Dialect, Format, Prompt, Request, Unread, Usage, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "gemini_embed",
    dialect: Dialect::Gemini,
    endpoints: &[
        post("/models/{model}:embedcontent"),
        post("/models/{model}:batchembedcontents").repeats_model(),
        post("/endpoints/{model}:embedcontent"),
        post(":embedcontent"),
        post(":batchembedcontents"),
    ],
    read,
    answer_members: &["usageMetadata"],
    answer,
    with_model: model::with_model_in_folder,
    ..Format::DEFAULT
};

const NAMES: [&str; 4] = ["model", "content", "title", "requests"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is neither a request nor a list of them.
fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut contents = Contents::default();
    match members.raw("requests") {
        Some(requests) => {
            for request in items(requests) {
                push(&members.of_object(request, &NAMES)?, &mut contents)?;
            }
        }
        None => push(&members, &mut contents)?,
    }
    Ok(Request {
        model: members.text("model")?.map(last_segment),
        prompt: Prompt(contents.pieces),
        more_input: contents.more_input,
        known: Some(Usage::default()),
        ..Request::default()
    })
}

fn push<'a>(request: &Members<'a>, contents: &mut Contents<'a>) -> Result<(), Unread> {
    contents.pieces.extend(request.raw("title").map(text));
    contents.push_unframed(request.raw("content").ok_or(Unread::Malformed)?)
}

/// Reads an answer.
fn answer(json: &[u8]) -> Answer<'_> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Embedded<'a> {
        #[serde(borrow)]
        usage_metadata: Option<&'a RawValue>,
    }
    let Ok(embedded) = serde_json::from_slice::<Embedded<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    answer.tell(embedded.usage_metadata, |usage: UsageMetadata<'_>| usage.told(false));
    answer
}

#[cfg(test)]
#[path = "embed_tests.rs"]
mod tests;
