//! The next sixteen bytes of a text, in two words, so that a short piece is found and compared in a
//! few instructions.
//!
//! In: a text. Out: its bytes, the end of a run of ASCII letters, the [`Key`] of a short piece. Not
//! here: the places where pieces end (`ascii`, `split`).

/// The bytes of a window.
pub(super) const WINDOW: usize = 16;

/// The longest piece that has a [`Key`], in bytes.
pub(super) const LONGEST_KEY: usize = 14;

/// The next bytes of a text, the first in the lowest byte.
#[derive(Clone, Copy)]
pub(super) struct Window {
    low: u64,
    high: u64,
}

/// The bytes of a short piece, with its length and the number of its vocabulary above them. The
/// highest byte is zero.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// A byte repeated in a word.
const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

const HIGH_BITS: u64 = all(0x80);

impl Window {
    /// Returns the bytes at the start of a text; zeros follow its end.
    #[inline]
    pub(super) fn at(text: &[u8]) -> Self {
        if let Some(chunk) = text.first_chunk() {
            return Self::of(*chunk);
        }
        let mut chunk = [0; WINDOW];
        chunk.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        Self::of(chunk)
    }

    #[inline]
    pub(super) const fn of(chunk: [u8; WINDOW]) -> Self {
        let both = u128::from_le_bytes(chunk);
        Self { low: both as u64, high: both.wrapping_shr(64) as u64 }
    }

    /// Returns a byte; zero beyond the window.
    #[inline]
    pub(super) const fn byte(self, at: usize) -> u8 {
        let word = if at < 8 { self.low } else { self.high };
        if at < WINDOW { word.wrapping_shr(8_u32.wrapping_mul(at as u32 & 7)) as u8 } else { 0 }
    }

    /// Returns the first place from `start` on that is not an ASCII letter in lower case, or
    /// [`WINDOW`].
    #[inline]
    pub(super) const fn after_lower(self, start: usize) -> usize {
        Self::first(start, not_lower(self.low), not_lower(self.high))
    }

    /// Returns the first place from `start` on that is not an ASCII letter, or [`WINDOW`].
    #[inline]
    pub(super) const fn after_letters(self, start: usize) -> usize {
        const CASE: u64 = all(0x20);
        Self::first(start, not_lower(self.low | CASE), not_lower(self.high | CASE))
    }

    /// Returns the first place from `start` on whose highest bit is set.
    #[inline]
    const fn first(start: usize, low: u64, high: u64) -> usize {
        let bits = 8_u32.wrapping_mul(start as u32);
        let low = low & !below(bits);
        if low != 0 {
            return low.trailing_zeros() as usize >> 3;
        }
        let high = high & !below(bits.saturating_sub(64));
        8_usize.wrapping_add(high.trailing_zeros() as usize >> 3)
    }

    /// Returns the key of the first `len` bytes, at most [`LONGEST_KEY`], in a vocabulary with a
    /// number below 16.
    #[inline]
    pub(super) const fn key(self, len: usize, vocabulary: u8) -> Key {
        let bits = 8_u32.wrapping_mul(len as u32);
        let tag = (vocabulary as u64).wrapping_shl(4) | len as u64;
        let high = self.high & below(bits.saturating_sub(64));
        Key { low: self.low & below(bits), high: high | tag.wrapping_shl(48) }
    }
}

/// Returns the word with the lowest `bits` set.
#[inline]
const fn below(bits: u32) -> u64 {
    if bits < u64::BITS { 1_u64.wrapping_shl(bits).wrapping_sub(1) } else { u64::MAX }
}

/// Sets the highest bit of each byte that is not an ASCII letter in lower case. The sums do not
/// carry from byte to byte.
#[inline]
const fn not_lower(word: u64) -> u64 {
    let ascii = word & !HIGH_BITS;
    let from_a = ascii.wrapping_add(all(0x80 - b'a'));
    let after_z = ascii.wrapping_add(all(0x7f - b'z'));
    (!from_a | after_z | word) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_tell_zeros_from_the_end_and_vocabularies_apart() {
        let keys = [
            Window::at(b"a").key(1, 0),
            Window::at(b"a\0").key(2, 0),
            Window::at(b"a").key(1, 1),
            Window::at(b"abcdefgh").key(8, 0),
            Window::at(b"abcdefgh\0").key(9, 0),
            Window::at(b"abcdefghabcdef").key(14, 0),
            Window::at(b"abcdefghabcdeg").key(14, 0),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| (other.low, other.high) != (key.low, key.high)));
            assert_eq!(key.high >> 56, 0);
        }
    }

    #[test]
    fn a_key_is_of_the_piece_and_not_of_what_follows() {
        for len in 1..=LONGEST_KEY {
            let [one, other] = [0, 0xff].map(|after| {
                let mut text = *b"abcdefghijklmnop";
                text[len..].fill(after);
                Window::at(&text).key(len, 3)
            });
            let short = Window::at(&b"abcdefghijklmnop"[..len]).key(len, 3);
            assert_eq!((one.low, one.high), (other.low, other.high));
            assert_eq!((one.low, one.high), (short.low, short.high));
        }
    }

    proptest! {
        #[test]
        fn runs_of_letters_end_where_they_do(text in prop_oneof![
            "[a-zA-Z@\\[`{'é ]{16,20}", "[a-z]{0,16}[^a-z]{16}", prop::collection::vec(any::<u8>(), 16).prop_map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect()),
        ], start in 0..16_usize) {
            let window = Window::at(text.as_bytes());
            let end = |is: fn(&u8) -> bool| {
                (start..WINDOW).find(|at| !is(&text.as_bytes()[*at])).unwrap_or(WINDOW)
            };
            prop_assert_eq!(window.after_lower(start), end(u8::is_ascii_lowercase));
            prop_assert_eq!(window.after_letters(start), end(u8::is_ascii_alphabetic));
            prop_assert_eq!(window.byte(start), text.as_bytes()[start]);
        }
    }
}
