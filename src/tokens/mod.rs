//! Counts the tokens of text and images, exactly as OpenAI's tiktoken does; the only user of the
//! tokenizer's tables.
//!
//! ```text
//! model -> encoding ; text -> split (pieces) -> bpe (tokens of each) -> sum
//! ```
//!
//! In: a text and its encoding; an image's size and its model. Out: [`Tokens`]. The tables are
//! constants of the binary, so that a new VM has nothing to build. `build.rs` derives them from the
//! crate tiktoken-rs, which is also the oracle of the tests. `prompt` counts frames, functions and
//! other things by rule; `family` describes models without a public tokenizer. Not here: the cost
//! of tokens.

mod ascii;
mod bpe;
mod cache;
mod encoding;
mod family;
mod images;
mod layout;
mod pieces;
mod prompt;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub use bpe::Scratch;
pub use cache::{CountCache, SHORTEST_REMEMBERED};
pub use encoding::Encoding;
pub use family::has_public_tokenizer;
pub use images::{Detail, UNKNOWN_SIZE, image_tokens};
pub use prompt::{Exactness, TokenCount, by_length, encoding};

use crate::units::Tokens;

/// Counts texts and remembers their counts. One for each VM.
pub struct Counter {
    cache: CountCache,
    scratch: Scratch,
}

impl Counter {
    /// Creates a counter that has seen no texts. The key is for [`CountCache::new`].
    #[must_use]
    pub fn new(cache_key: [u8; 16]) -> Self {
        Self { cache: CountCache::new(cache_key), scratch: Scratch::default() }
    }

    /// Counts the tokens of a text. Takes time linear in the text.
    pub fn count_text(&mut self, encoding: Encoding, text: &str) -> Tokens {
        let fingerprint = self.cache.fingerprint(encoding, text);
        if let Some(tokens) = fingerprint.and_then(|fingerprint| self.cache.find(fingerprint)) {
            return tokens;
        }
        let tokens = encoding.count(text, &mut self.scratch);
        if let Some(fingerprint) = fingerprint {
            self.cache.remember(fingerprint, tokens);
        }
        tokens
    }
}
