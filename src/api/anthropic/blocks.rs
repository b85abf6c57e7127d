//! A block of a message's content.
//!
//! In: JSON. Out: [`Piece`]s. Not here: lists of blocks (`api::blocks`), and answers of the model
//! (`answer`).
//!
//! Source: Anthropic's API reference, "Create a Message", `messages.content`.
//!
//! Thinking of earlier turns counts like all other text: Claude Opus 4.5, Sonnet 4.6 and later
//! models read all of it again; earlier models read only that of the current turn, and the API
//! strips the rest (guide "Extended thinking"). The reported usage settles the difference.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::blocks::{self, push_nested};
use crate::api::media::decoded_len;
use crate::api::raw::{Text, written};
use crate::api::{Image, Piece, Quoted};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Quoted<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    /// Thinking that only Anthropic can read.
    #[serde(borrow)]
    data: Option<Text<'a>>,
    /// The object of an image or document, or the address of a search result.
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    context: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    /// The name of a called tool; its input follows.
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// The result of a tool or of a search.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
    #[serde(borrow)]
    stdout: Option<Text<'a>>,
    #[serde(borrow)]
    stderr: Option<Text<'a>>,
}

impl<'a> blocks::Block<'a> for Block<'a> {
    /// The deepest block in the API is in a fetched page: result, page, document, its source, a
    /// block of it.
    const DEEPEST: u8 = 6;

    fn push_to(self, levels: u8, pieces: &mut Vec<Piece<'a>>) {
        if self.input.is_some() {
            pieces.push(Piece::ToolCall);
        }
        let hidden = match &self.thinking {
            // The API may hide thinking from clients; then its signature contains it.
            Some(Text(thinking)) if thinking.is_empty() => self.signature,
            _ => None,
        };
        pieces.extend(self.text.map(Piece::from));
        let texts = [self.title, self.context, self.url, self.thinking, self.name, self.stdout, self.stderr];
        pieces.extend(texts.into_iter().flatten().map(Piece::from));
        pieces.extend(self.input.map(|input| written(input.get())));
        let encrypted = [self.data, self.encrypted_content, hidden].into_iter().flatten();
        pieces.extend(encrypted.map(|Text(data)| Piece::Unseen { bytes: decoded_len(&data) }));
        if let Some(source) = self.source {
            let is_image = self.kind.is_some_and(|Text(kind)| kind == "image");
            push_source(source.get(), is_image, levels, pieces);
        }
        if let Some(content) = self.content {
            push_nested::<Block<'_>>(content.get(), levels, pieces);
        }
    }
}

fn push_source<'a>(raw: &'a str, is_image: bool, levels: u8, pieces: &mut Vec<Piece<'a>>) {
    let Ok(Source { kind, data, content }) = serde_json::from_str(raw) else {
        return push_nested::<Block<'_>>(raw, levels, pieces);
    };
    if let Some(content) = content {
        push_nested::<Block<'_>>(content.get(), levels, pieces);
        if data.is_none() {
            return;
        }
    }
    pieces.push(match (data, is_image) {
        (Some(Text(data)), true) => Piece::Image(Image::in_base64(&data, None)),
        (None, true) => Piece::Image(Image::UNSEEN),
        (Some(text), false) if kind.is_some_and(|Text(kind)| kind == "text") => text.into(),
        (data, false) => Piece::File { bytes: data.map(|Text(data)| decoded_len(&data)) },
    });
}

/// The place of an image or document: in `data`, in blocks of its own, or elsewhere.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
