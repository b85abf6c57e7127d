//! Cohere embeddings: `POST …/v2/embed`, and `/v1/embed`, which has the same texts.
//!
//! In: a body, an answer. Out: [`Request`] with a known output of zero, [`Answer`]. Not here: the
//! number of its tokens.
//!
//! Source: Cohere's API reference, "Embed API (v2)".

use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{push_image_url, push_part};
use super::usage::UsageMember;
use crate::api::outline::Outline;
use crate::api::raw::{entries, items, text};
use crate::api::{Answer, Dialect, Format, Piece, Prompt, Request, Unread, Usage, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "cohere_embed",
    dialect: Dialect::Cohere,
    endpoints: &[post("/v2/embed"), post("/v1/embed")],
    read,
    answer_members: &["meta"],
    answer,
    with_model: model::with_model,
    ..Format::DEFAULT
};

const NAMES: [&str; 4] = ["model", "texts", "images", "inputs"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if there is nothing to embed.
fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut pieces: Vec<Piece<'_>> = members.items("texts").into_iter().map(text).collect();
    members.items("images").into_iter().for_each(|image| push_image_url(image, &mut pieces));
    members.items("inputs").into_iter().for_each(|input| push_input(input, &mut pieces));
    if pieces.is_empty() && NAMES.iter().all(|name| *name == "model" || members.raw(name).is_none()) {
        return Err(Unread::Malformed);
    }
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(pieces),
        known: Some(Usage::default()),
        ..Request::default()
    })
}

/// Pushes one input of texts and images that become one embedding.
fn push_input<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    for (name, value) in entries(raw).unwrap_or_default() {
        if name != "content" {
            pieces.extend([Piece::Text(name), text(value)]);
            continue;
        }
        items(value).into_iter().for_each(|part| push_part(part, pieces));
    }
}

/// Reads an answer.
fn answer(json: &[u8]) -> Answer<'_> {
    #[derive(Deserialize)]
    struct Embedded<'a> {
        #[serde(borrow)]
        meta: Option<&'a RawValue>,
    }
    let Ok(embedded) = serde_json::from_slice::<Embedded<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    answer.tell(embedded.meta, UsageMember::told);
    answer
}

#[cfg(test)]
#[path = "embed_tests.rs"]
mod tests;
