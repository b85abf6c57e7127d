//! A block of a message's content: an object with one member that states its kind.
//!
//! In: JSON. Out: [`Piece`]s. Not here: lists of blocks (`api::blocks`), and answers of the model
//! (`answer`).
//!
//! Source: Amazon Bedrock API reference, "ContentBlock", "ToolResultContentBlock",
//! "SystemContentBlock" and the types they name.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::blocks::{self, push_nested};
use crate::api::media::{decoded_len, is_raw_sound};
use crate::api::raw::{Text, written};
use crate::api::{Image, Piece};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    image: Option<Media<'a>>,
    #[serde(borrow)]
    document: Option<Media<'a>>,
    #[serde(borrow)]
    video: Option<Media<'a>>,
    #[serde(borrow)]
    audio: Option<Media<'a>>,
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
    #[serde(borrow)]
    tool_result: Option<Nested<'a>>,
    /// The JSON result of a tool.
    #[serde(borrow)]
    json: Option<&'a RawValue>,
    #[serde(borrow)]
    search_result: Option<Nested<'a>>,
    #[serde(borrow)]
    citations_content: Option<Nested<'a>>,
    #[serde(borrow)]
    guard_content: Option<Guarded<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    /// A mark that the model does not see.
    cache_point: Option<serde::de::IgnoredAny>,
}

impl<'a> blocks::Block<'a> for Block<'a> {
    /// The deepest block in the API is in a document in a tool's result.
    const DEEPEST: u8 = 4;

    fn is_mark(&self) -> bool {
        self.cache_point.is_some()
    }

    fn push_to(self, levels: u8, pieces: &mut Vec<Piece<'a>>) {
        let guarded = self.guard_content.unwrap_or_default();
        let reasoning = self.reasoning_content.unwrap_or_default();
        let texts = [self.text, guarded.text.map(|it| it.text), reasoning.reasoning_text.map(|it| it.text)];
        pieces.extend(texts.into_iter().flatten().map(Piece::from));
        pieces
            .extend(reasoning.redacted_content.map(|Text(data)| Piece::Unseen { bytes: decoded_len(&data) }));
        pieces.extend(
            [self.image, guarded.image].into_iter().flatten().map(|media| Piece::Image(media.image())),
        );
        pieces.extend(self.video.map(|media| Piece::Video { bytes: media.bytes() }));
        pieces.extend(self.audio.map(|media| media.audio()));
        if let Some(document) = self.document {
            document.push_document_to(levels, pieces);
        }
        if let Some(ToolUse { name, input }) = self.tool_use {
            pieces.push(Piece::ToolCall);
            pieces.extend(name.map(Piece::from));
            pieces.extend(input.map(|input| written(input.get())));
        }
        pieces.extend(self.json.map(|json| written(json.get())));
        let nested = [self.tool_result, self.search_result, self.citations_content];
        for Nested { title, source, content } in nested.into_iter().flatten() {
            pieces.extend([title, source].into_iter().flatten().map(Piece::from));
            if let Some(content) = content {
                push_nested::<Block<'_>>(content.get(), levels, pieces);
            }
        }
    }
}

/// A tool call, in requests and in answers.
#[derive(Deserialize)]
pub(super) struct ToolUse<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    /// The input; in a stream, a piece of its text.
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Guarded<'a> {
    #[serde(borrow)]
    text: Option<OnlyText<'a>>,
    #[serde(borrow)]
    image: Option<Media<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow)]
    reasoning_text: Option<OnlyText<'a>>,
    /// Reasoning that only the provider can read.
    #[serde(borrow)]
    redacted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct OnlyText<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

/// An image, audio, a video or a document.
#[derive(Deserialize)]
struct Media<'a> {
    #[serde(borrow)]
    format: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    context: Option<Text<'a>>,
    #[serde(borrow)]
    source: Source<'a>,
}

/// Its place: in the request, or in a bucket.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    bytes: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

impl<'a> Media<'a> {
    fn bytes(&self) -> Option<u64> {
        self.source.bytes.as_ref().map(|Text(data)| decoded_len(data))
    }

    fn image(&self) -> Image {
        match &self.source.bytes {
            Some(Text(data)) => Image::in_base64(data, None),
            None => Image::UNSEEN,
        }
    }

    fn audio(&self) -> Piece<'a> {
        let raw = self.format.as_ref().is_some_and(|Text(format)| is_raw_sound(format));
        match self.bytes() {
            Some(bytes) => Piece::Audio { bytes, raw },
            None => Piece::File { bytes: None },
        }
    }

    fn push_document_to(self, levels: u8, pieces: &mut Vec<Piece<'a>>) {
        let bytes = self.bytes();
        let Source { text, content, .. } = self.source;
        if bytes.is_some() || (text.is_none() && content.is_none()) {
            pieces.push(Piece::File { bytes });
        }
        pieces.extend([self.name, self.context, text].into_iter().flatten().map(Piece::from));
        if let Some(content) = content {
            push_nested::<Block<'_>>(content.get(), levels, pieces);
        }
    }
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
