//! Parts of a content: text, images and documents.
//!
//! In: raw JSON. Out: [`Piece`]s. An unknown member counts as its raw JSON text. Not here: the
//! members of a request that have content (`chat`, `embed`).
//!
//! Source: Cohere's API reference, "Chat API (v2)", `messages` and `documents`; "Embed API (v2)",
//! `inputs`.

use crate::api::raw::{entries, string, text};
use crate::api::{Image, Piece};

/// Pushes content that is text, or one part of it: everything in it that a model could read.
pub(super) fn push_part<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let Some(members) = entries(raw) else { return pieces.push(text(raw)) };
    for (name, value) in members {
        match &*name {
            "type" => {}
            "text" | "thinking" => pieces.push(text(value)),
            "image_url" => push_image_url(value, pieces),
            "document" => push_document(value, pieces),
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
}

/// Pushes a document to ground the answer on: a text, or an object with `data`, which the model
/// sees, and an id for citations.
pub(super) fn push_document<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    match entries(raw) {
        Some(members) => pieces.extend(members.into_iter().map(|(_, value)| text(value))),
        None => pieces.push(text(raw)),
    }
}

/// Pushes an image by its URL, or by an object with `url` and the detail level.
pub(super) fn push_image_url(raw: &str, pieces: &mut Vec<Piece<'_>>) {
    let members = entries(raw).unwrap_or_default();
    let named =
        |wanted: &str| members.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| string(value));
    let url = named("url").or_else(|| string(raw)).unwrap_or_default();
    pieces.push(Piece::Image(Image::at(&url, named("detail").as_deref())));
}
