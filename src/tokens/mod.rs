//! Text and images to numbers of tokens, exactly as OpenAI's tiktoken counts; the only user of the
//! tokenizer's tables.
//!
//! ```text
//! model -> encoding ; text -> split (pieces) -> bpe (tokens of each) -> sum
//! ```
//!
//! In: a text and its encoding; an image's size and its model. Out: [`Tokens`]. The tables are constants
//! of the binary (`build.rs` derives them from the tiktoken-rs crate, which is also what tests compare
//! with), so that a new VM has nothing to build. Not here: the messages and tools around the texts.

mod bpe;
mod cache;
mod encoding;
mod images;
mod layout;
mod split;
mod table;
#[cfg(test)]
mod tests;

pub use bpe::Scratch;
pub use cache::{CountCache, SHORTEST_REMEMBERED};
pub use encoding::Encoding;
pub use images::{Detail, UNKNOWN_SIZE, image_tokens};

use crate::units::Tokens;

/// Counts texts, remembering those it has seen. One for each VM.
pub struct Counter {
    cache: CountCache,
    scratch: Scratch,
}

impl Counter {
    /// A counter that has seen nothing. The key is for [`CountCache::new`].
    #[must_use]
    pub fn new(cache_key: [u8; 16]) -> Self {
        Self { cache: CountCache::new(cache_key), scratch: Scratch::default() }
    }

    /// How many tokens a text is. Takes time in proportion to the text.
    pub fn count_text(&mut self, encoding: Encoding, text: &str) -> Tokens {
        let slot = self.cache.slot(encoding, text);
        if let Some(tokens) = slot.and_then(|slot| self.cache.find(slot)) {
            return tokens;
        }
        let tokens = encoding.count(text, &mut self.scratch);
        if let Some(slot) = slot {
            self.cache.remember(slot, tokens);
        }
        tokens
    }

    /// As [`Self::count_text`] for texts up to `exact_up_to` bytes. Of a longer text so much is counted,
    /// and the rest is taken to have as many tokens per byte, rounded up.
    pub fn count_text_up_to(&mut self, encoding: Encoding, text: &str, exact_up_to: usize) -> Tokens {
        let Some((counted, _)) = text.split_at_checked(text.floor_char_boundary(exact_up_to)) else {
            return self.count_text(encoding, text);
        };
        scale_up(self.count_text(encoding, counted), counted.len(), text.len())
    }
}

/// The tokens of a text of which `counted` bytes are `tokens`. With nothing counted every byte is one
/// token, which no text exceeds.
fn scale_up(tokens: Tokens, counted: usize, len: usize) -> Tokens {
    if counted == 0 {
        return Tokens(len as u64);
    }
    let scaled = u128::from(tokens.0).saturating_mul(len as u128).div_ceil(counted as u128);
    Tokens(u64::try_from(scaled).unwrap_or(u64::MAX))
}
