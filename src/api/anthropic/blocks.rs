//! The content of a message: a text, or a list of blocks, some of which contain blocks themselves.
//!
//! In: raw JSON. Out: [`Piece`]s. A block is counted as everything in it that a model could read, whatever kind it says it is; one in which there is
//! nothing of that is counted as the text it is written as. Not here: what the model answers (`answer`).
//!
//! Source: Anthropic's API reference, "Create a Message", `messages.content`.
//!
//! Thinking of earlier turns is counted like all other text: Claude Opus 4.5, Sonnet 4.6 and later models read all of it again; earlier models read
//! that of the turn which is going on, and the API strips the rest (guide "Extended thinking"). Which one it was, usage tells.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::members::Text;
use crate::api::{Image, Piece, Unread};

/// How deep blocks may lie in blocks. The API's deepest is a page that was fetched: result, page, document, its source, a block of it.
const DEEPEST: u8 = 6;

/// Pushes what is in a message's content.
///
/// # Errors
/// [`Unread::Malformed`] if it is neither text nor a block nor a list of blocks.
pub(in crate::api) fn push_content<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
    push_at(raw, DEEPEST, pieces)
}

/// How many bytes base64 stands for.
pub(in crate::api) const fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64 / 4).saturating_mul(3)
}

fn push_at<'a>(raw: &'a str, deeper: u8, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
    match raw.as_bytes().first() {
        Some(b'[') => {
            let blocks: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
            blocks.into_iter().for_each(|block| push_block(block.get(), deeper, pieces));
        }
        Some(b'{') => push_block(raw, deeper, pieces),
        _ => {
            let Text(text) = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
            pieces.push(Piece::Text(text));
        }
    }
    Ok(())
}

fn push_block<'a>(raw: &'a str, deeper: u8, pieces: &mut Vec<Piece<'a>>) {
    let before = pieces.len();
    if let Some(deeper) = deeper.checked_sub(1) {
        serde_json::from_str::<Block<'_>>(raw).unwrap_or_default().push_to(deeper, pieces);
    }
    if pieces.len() == before {
        pieces.push(Piece::Text(Cow::Borrowed(raw)));
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    /// Thinking that only Anthropic can read.
    #[serde(borrow)]
    data: Option<Text<'a>>,
    /// Of a picture or document an object, of a search result its address.
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    context: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    /// The name and input of a tool call.
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    /// What a tool has answered, or what was found.
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
    #[serde(borrow)]
    stdout: Option<Text<'a>>,
    #[serde(borrow)]
    stderr: Option<Text<'a>>,
}

impl<'a> Block<'a> {
    fn push_to(self, deeper: u8, pieces: &mut Vec<Piece<'a>>) {
        if self.input.is_some() {
            pieces.push(Piece::ToolCall);
        }
        let hidden = match &self.thinking {
            // Thinking may be left out of what clients see; then its signature contains it.
            Some(Text(thinking)) if thinking.is_empty() => self.signature,
            _ => None,
        };
        let texts = [
            self.title,
            self.context,
            self.url,
            self.text,
            self.thinking,
            self.name,
            self.stdout,
            self.stderr,
        ];
        pieces.extend(texts.into_iter().flatten().map(|Text(text)| Piece::Text(text)));
        pieces.extend(self.input.map(|input| Piece::Text(Cow::Borrowed(input.get()))));
        let encrypted = [self.data, self.encrypted_content, hidden].into_iter().flatten();
        pieces.extend(encrypted.map(|Text(data)| Piece::Unseen { bytes: decoded_len(&data) }));
        if let Some(source) = self.source {
            let is_image = self.kind.is_some_and(|Text(kind)| kind == "image");
            push_source(source.get(), is_image, deeper, pieces);
        }
        if let Some(content) = self.content {
            push_nested(content.get(), deeper, pieces);
        }
    }
}

/// Content within a block: of another shape, it is the text it is written as.
fn push_nested<'a>(raw: &'a str, deeper: u8, pieces: &mut Vec<Piece<'a>>) {
    if push_at(raw, deeper, pieces).is_err() {
        pieces.push(Piece::Text(Cow::Borrowed(raw)));
    }
}

fn push_source<'a>(raw: &'a str, is_image: bool, deeper: u8, pieces: &mut Vec<Piece<'a>>) {
    let Ok(Source { kind, data, content }) = serde_json::from_str(raw) else {
        return push_nested(raw, deeper, pieces);
    };
    if let Some(content) = content {
        push_nested(content.get(), deeper, pieces);
        if data.is_none() {
            return;
        }
    }
    pieces.push(match (data, is_image) {
        (Some(Text(data)), true) => Piece::Image(Image::in_base64(&data, None)),
        (None, true) => Piece::Image(Image { size: None, low_detail: false }),
        (Some(Text(text)), false) if kind.is_some_and(|Text(kind)| kind == "text") => Piece::Text(text),
        (data, false) => Piece::File { bytes: data.map(|Text(data)| decoded_len(&data)) },
    });
}

/// Where a picture or document is: in `data`, in blocks of its own, or elsewhere.
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
