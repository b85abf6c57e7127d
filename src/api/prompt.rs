//! Prompts: the input of a model, in pieces.
//!
//! In: the input that the formats find in request bodies. Out: [`Prompt`]. Not here: the number of
//! tokens in a piece (`tokens::prompt`).

use std::borrow::Cow;

use super::Image;

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
