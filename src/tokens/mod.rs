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

use std::borrow::Cow;

use crate::api::Quoted;
use crate::units::Tokens;
use cache::{Counted, Form};

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
        self.count(encoding, Form::Plain, text, || Cow::Borrowed(text)).tokens
    }

    /// Counts the tokens of a JSON string, which it decodes only if it does not remember the count.
    fn count_quoted(&mut self, encoding: Encoding, string: &Quoted<'_>) -> Counted {
        self.count(encoding, Form::Quoted, string.written(), || string.decode())
    }

    fn count<'t>(
        &mut self,
        encoding: Encoding,
        form: Form,
        written: &str,
        decode: impl FnOnce() -> Cow<'t, str>,
    ) -> Counted {
        let fingerprint = self.cache.fingerprint(encoding, form, written);
        if let Some(counted) = fingerprint.and_then(|fingerprint| self.cache.find(fingerprint)) {
            return counted;
        }
        let text = decode();
        let tokens = encoding.count(&text, &mut self.scratch);
        let counted = Counted { tokens, bytes: text.len() as u64 };
        if let Some(fingerprint) = fingerprint {
            self.cache.remember(fingerprint, counted);
        }
        counted
    }
}
