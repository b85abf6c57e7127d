//! Prompts: the input of a model, in pieces.
//!
//! In: what the formats find in request bodies. Out: [`Prompt`]. Not here: how many tokens a piece
//! is (`tokens::prompt`).

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
    /// A picture.
    Image(Image),
    /// Sound of so many bytes in a compressed or raw form.
    Audio {
        /// Size when decoded from base64.
        bytes: u64,
        /// Whether the samples are uncompressed (WAV, PCM).
        raw: bool,
    },
    /// Moving pictures of so many bytes; none if only their address is known.
    Video {
        /// Size when decoded from base64.
        bytes: Option<u64>,
    },
    /// A document of so many bytes; none if only its id is known.
    File {
        /// Size when decoded from base64.
        bytes: Option<u64>,
    },
    /// The definition of one callable function, shown to the model as OpenAI's are.
    Function(Function<'a>),
    /// So many of the model's own tokens: token ids, or a frame whose size its provider tells.
    Tokens(u64),
    /// So many bytes of text that are not at hand.
    Unseen {
        /// How many.
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
    /// Its parameters, nested ones flattened behind their parents.
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
    /// The values it may take, if they are listed.
    pub choices: Vec<Cow<'a, str>>,
}
