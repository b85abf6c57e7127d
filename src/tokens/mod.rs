//! Text and images to numbers of tokens, exactly as OpenAI's tiktoken counts; the only user of the
//! tokenizer's tables.
//!
//! ```text
//! model -> encoding ; text -> split (pieces) -> bpe (tokens of each) -> sum
//! ```
//!
//! In: a text and its encoding; an image's size and its model. Out: [`Tokens`]. The tables are
//! constants of the binary (`build.rs` derives them from the tiktoken-rs crate, which is also what
//! tests compare with), so that a new VM has nothing to build. Frames, functions and other things
//! that are counted by rule are in `prompt`; what is known of models without a public tokenizer is
//! in `family`. Not here: what the tokens cost.

mod bpe;
mod cache;
mod encoding;
mod family;
mod images;
mod layout;
mod prompt;
mod split;
mod table;
#[cfg(test)]
mod tests;

pub use bpe::Scratch;
pub use cache::{CountCache, SHORTEST_REMEMBERED};
pub use encoding::Encoding;
pub use family::has_public_tokenizer;
pub use images::{Detail, UNKNOWN_SIZE, image_tokens};
pub use prompt::{Exactness, TokenCount, by_length, encoding};

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
}
