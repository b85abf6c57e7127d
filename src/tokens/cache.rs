//! Remembers the counts of earlier texts, because system prompts, tools and histories return with
//! every call of a conversation.
//!
//! In: a text, as it is or as JSON writes it, and its encoding. Out: its size, if the same text was
//! counted in the same form and encoding and its entry was not overwritten. A 128-bit hash under a
//! secret key identifies a text, so that clients cannot construct two texts that share a count. The
//! number of entries is fixed. Not here: sharing between workers, and the texts themselves, which
//! are not stored.

use core::hash::Hasher;
use core::num::NonZeroU32;

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use super::encoding::Encoding;
use crate::api::SHORTEST_QUOTED;
use crate::units::Tokens;

/// The shortest text that is remembered, in bytes. A shorter one is counted in less than half a
/// microsecond (measured by `benches/tokenizer.rs`), and would displace a longer one.
pub const SHORTEST_REMEMBERED: usize = 128;

/// The entries of a cache: 24 bytes each, about 96 KiB in each worker's VM.
const ENTRIES: usize = 4096;

/// Counts by text. The hash of a text gives its only place; the newest text wins.
pub struct CountCache {
    key: [u8; 16],
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    text: (u64, u64),
    /// `None` if the entry is empty: every remembered text has tokens.
    tokens: Option<NonZeroU32>,
    bytes: u32,
}

/// The size of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) tokens: Tokens,
    /// The bytes of the text, decoded.
    pub(super) bytes: u64,
}

/// The form in which a text is hashed. One text in two forms is remembered twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// A JSON string, in quotes and with escapes.
    Quoted,
}

/// The identity of a text, and the place of its count.
#[derive(Clone, Copy)]
pub(super) struct Fingerprint {
    text: (u64, u64),
}

impl CountCache {
    /// Creates an empty cache. The key should be random, because a client that knows it can
    /// construct texts that share a count.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self { key, entries: vec![Entry::default(); ENTRIES] }
    }

    /// Returns the fingerprint of a text, if the text is long enough to be remembered.
    pub(super) fn fingerprint(&self, encoding: Encoding, form: Form, text: &str) -> Option<Fingerprint> {
        if text.len() < SHORTEST_REMEMBERED {
            return None;
        }
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(text.as_bytes());
        let encoding = match encoding {
            Encoding::O200k => 0,
            Encoding::Cl100k => 1,
            Encoding::P50k => 2,
            Encoding::R50k => 3,
        };
        hasher.write_u8(encoding << 1 | u8::from(form == Form::Quoted));
        let Hash128 { h1, h2 } = hasher.finish128();
        Some(Fingerprint { text: (h1, h2) })
    }

    /// Returns the count of the fingerprint's text, if it is still there.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<Counted> {
        let entry = self.entries.get(place(fingerprint))?;
        let tokens = Tokens(entry.tokens?.get().into());
        (entry.text == fingerprint.text).then_some(Counted { tokens, bytes: entry.bytes.into() })
    }

    /// Remembers the count of the fingerprint's text and overwrites the entry there; not of a
    /// text of 4 GiB and more.
    pub(super) fn remember(&mut self, fingerprint: Fingerprint, counted: Counted) {
        let Some(entry) = self.entries.get_mut(place(fingerprint)) else { return };
        let Ok(bytes) = u32::try_from(counted.bytes) else { return };
        let tokens = u32::try_from(counted.tokens.0).ok().and_then(NonZeroU32::new);
        *entry = Entry { text: fingerprint.text, tokens, bytes };
    }
}

fn place(fingerprint: Fingerprint) -> usize {
    fingerprint.text.0 as usize & (ENTRIES - 1)
}

const _: () = assert!(ENTRIES.is_power_of_two());
const _: () = assert!(SHORTEST_REMEMBERED <= SHORTEST_QUOTED, "every quoted text is remembered");

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> String {
        format!("{number:0>SHORTEST_REMEMBERED$}")
    }

    fn counted(tokens: u64) -> Counted {
        Counted { tokens: Tokens(tokens), bytes: 4 * tokens }
    }

    #[test]
    fn a_remembered_count_is_found_again() {
        let mut cache = CountCache::new([7; 16]);
        let fingerprint = cache.fingerprint(Encoding::O200k, Form::Plain, &text(1)).unwrap();
        assert_eq!(cache.find(fingerprint), None);
        cache.remember(fingerprint, counted(42));
        assert_eq!(
            cache.find(cache.fingerprint(Encoding::O200k, Form::Plain, &text(1)).unwrap()),
            Some(counted(42))
        );
    }

    #[test]
    fn encodings_do_not_mix() {
        let mut cache = CountCache::new([7; 16]);
        cache.remember(cache.fingerprint(Encoding::O200k, Form::Plain, &text(1)).unwrap(), counted(42));
        for other in [Encoding::Cl100k, Encoding::P50k, Encoding::R50k] {
            assert_eq!(cache.find(cache.fingerprint(other, Form::Plain, &text(1)).unwrap()), None);
        }
    }

    #[test]
    fn short_texts_are_not_remembered() {
        let cache = CountCache::new([7; 16]);
        assert!(
            cache.fingerprint(Encoding::O200k, Form::Plain, &"a".repeat(SHORTEST_REMEMBERED - 1)).is_none()
        );
    }

    #[test]
    fn any_number_of_texts_keeps_the_same_memory_and_true_counts() {
        let mut cache = CountCache::new([7; 16]);
        for number in 0..ENTRIES * 3 {
            let fingerprint = cache.fingerprint(Encoding::O200k, Form::Plain, &text(number)).unwrap();
            cache.remember(fingerprint, counted(number as u64 + 1));
        }
        assert_eq!((cache.entries.len(), size_of::<Entry>()), (ENTRIES, 24));
        let found = (0..ENTRIES * 3)
            .filter_map(|number| {
                let found =
                    cache.find(cache.fingerprint(Encoding::O200k, Form::Plain, &text(number)).unwrap())?;
                assert_eq!(found, counted(number as u64 + 1));
                Some(found)
            })
            .count();
        assert!((ENTRIES / 2..=ENTRIES).contains(&found), "{found}");
    }

    #[test]
    fn another_key_places_texts_elsewhere() {
        let places = |key| {
            let cache = CountCache::new([key; 16]);
            (0..8)
                .map(|n| place(cache.fingerprint(Encoding::O200k, Form::Plain, &text(n)).unwrap()))
                .collect::<Vec<_>>()
        };
        assert_ne!(places(1), places(2));
    }
}
