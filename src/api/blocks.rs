//! Messages whose content is text or a list of blocks, which may contain further blocks:
//! Anthropic's, and those of Amazon Bedrock's Converse.
//!
//! In: raw JSON. Out: [`Piece`]s. A block counts as everything in it that a model could read,
//! regardless of its declared type; a block without any such content counts as its raw JSON text.
//! Not here: the content of each kind of block (`anthropic::blocks`, `bedrock::converse::blocks`).

use serde::Deserialize;
use serde_json::value::RawValue;

use super::raw::{Text, written};
use super::{Piece, Quoted, Unread};

/// A block in the form of one API.
pub(super) trait Block<'a>: Default + Deserialize<'a> {
    /// The maximum nesting depth of blocks; deeper blocks count as text.
    const DEEPEST: u8;

    /// Returns whether the block is only a marker, which the model does not see.
    fn is_mark(&self) -> bool {
        false
    }

    /// Pushes the block's content, and nested blocks down to the remaining number of levels.
    fn push_to(self, levels: u8, pieces: &mut Vec<Piece<'a>>);
}

/// One turn of a conversation.
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Pushes the turn's frame, role and content.
    ///
    /// # Errors
    /// As [`push_content`].
    pub(super) fn push_to<B: Block<'a>>(self, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
        pieces.extend([Piece::Message, self.role.into()]);
        self.content.map_or(Ok(()), |content| push_content::<B>(content.get(), pieces))
    }
}

/// Pushes the content of a turn.
///
/// # Errors
/// [`Unread::Malformed`] if it is neither text nor a block nor a list of blocks.
pub(super) fn push_content<'a, B: Block<'a>>(
    raw: &'a str,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), Unread> {
    push_levels::<B>(raw, B::DEEPEST, pieces)
}

/// Pushes the content of a block. Content of another shape counts as its raw JSON text.
pub(super) fn push_nested<'a, B: Block<'a>>(raw: &'a str, levels: u8, pieces: &mut Vec<Piece<'a>>) {
    if push_levels::<B>(raw, levels, pieces).is_err() {
        pieces.push(written(raw));
    }
}

fn push_levels<'a, B: Block<'a>>(
    raw: &'a str,
    levels: u8,
    pieces: &mut Vec<Piece<'a>>,
) -> Result<(), Unread> {
    match raw.as_bytes().first() {
        Some(b'[') => {
            let blocks: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
            blocks.into_iter().for_each(|block| push_block::<B>(block.get(), levels, pieces));
        }
        Some(b'{') => push_block::<B>(raw, levels, pieces),
        _ => pieces.push(Quoted::of(raw).ok_or(Unread::Malformed)?.into()),
    }
    Ok(())
}

fn push_block<'a, B: Block<'a>>(raw: &'a str, levels: u8, pieces: &mut Vec<Piece<'a>>) {
    let before = pieces.len();
    let mut is_mark = false;
    if let Some(levels) = levels.checked_sub(1) {
        let block: B = serde_json::from_str(raw).unwrap_or_default();
        is_mark = block.is_mark();
        block.push_to(levels, pieces);
    }
    if pieces.len() == before && !is_mark {
        pieces.push(written(raw));
    }
}
