//! Prompts: the input of a model, in pieces.
//!
//! In: the input that the formats find in request bodies. Out: [`Prompt`]. Not here: the number of
//! tokens in a piece (`tokens::prompt`).

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

use super::Image;
use super::raw::as_text;

/// The input of a model, in pieces whose tokens are counted by different rules.
#[derive(Debug, Default)]
pub struct Prompt<'a>(pub Vec<Piece<'a>>);

/// One piece of a prompt.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// The frame around one message of a conversation.
    Message,
    /// The frame around a message's author name.
    Name,
    /// The frame around one earlier tool call.
    ToolCall,
    /// Text as the model reads it.
    Text(Cow<'a, str>),
    /// Text as JSON writes it, in quotes and with escapes. A text that returns with each call of a
    /// conversation need not be decoded to be found again.
    Quoted(Quoted<'a>),
    /// An image.
    Image(Image),
    /// Compressed or raw audio.
    Audio {
        /// The size in bytes after base64 decoding.
        bytes: u64,
        /// Whether the samples are uncompressed (WAV, PCM).
        raw: bool,
    },
    /// Video; of unknown size if the request has only its address.
    Video {
        /// The size in bytes after base64 decoding.
        bytes: Option<u64>,
    },
    /// A document; of unknown size if the request has only its id.
    File {
        /// The size in bytes after base64 decoding.
        bytes: Option<u64>,
    },
    /// The definition of one callable function, which the model sees in OpenAI's form.
    Function(Function<'a>),
    /// A number of the model's own tokens: token ids, or a frame whose size its provider states.
    Tokens(u64),
    /// Text that is not at hand.
    Unseen {
        /// Its size in bytes.
        bytes: u64,
    },
    /// Bytes that could not be read in their format.
    Unread(&'a [u8]),
}

/// A JSON string that is decoded when it is counted.
#[derive(Debug, PartialEq)]
pub struct Quoted<'a>(&'a str);

/// The shortest string that stays quoted in a prompt, in bytes. Shorter ones are decoded at once.
pub const SHORTEST_QUOTED: usize = 128;

impl<'a> Quoted<'a> {
    /// Returns a valid JSON value, if it is a string.
    pub(super) fn of(raw: &'a str) -> Option<Self> {
        raw.starts_with('"').then_some(Self(raw))
    }

    /// Returns the string as it is written, with its quotes.
    #[must_use]
    pub const fn written(&self) -> &'a str {
        self.0
    }

    /// Returns the text; the string as it is written if an escape in it stands for no character.
    #[must_use]
    pub fn decode(&self) -> Cow<'a, str> {
        as_text(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Quoted<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Self::of(raw).ok_or_else(|| D::Error::custom("no string"))
    }
}

impl<'a> From<Quoted<'a>> for Piece<'a> {
    fn from(string: Quoted<'a>) -> Self {
        match string.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => Self::Text(Cow::Borrowed(text)),
            Some(text) if text.len() >= SHORTEST_QUOTED => Self::Quoted(string),
            _ => Self::Text(string.decode()),
        }
    }
}

/// A function that the model may call.
#[derive(Debug, Default, PartialEq)]
pub struct Function<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its description for the model.
    pub description: Cow<'a, str>,
    /// Its parameters, flattened: nested ones follow their parents.
    pub properties: Vec<Property<'a>>,
}

/// One parameter of a function.
#[derive(Debug, Default, PartialEq)]
pub struct Property<'a> {
    /// Its name; empty for the items of a list.
    pub name: Cow<'a, str>,
    /// Its JSON type.
    pub kind: Cow<'a, str>,
    /// Its description for the model.
    pub description: Cow<'a, str>,
    /// The allowed values, if they are listed.
    pub choices: Vec<Cow<'a, str>>,
}
