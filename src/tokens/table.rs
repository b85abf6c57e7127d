//! The read-only tables of tokens and character classes that `build.rs` writes.
//!
//! In: bytes of a piece, or a character. Out: the rank of the token with exactly these bytes, or
//! the character's class bits. Nothing is built at start-up; the tables are read in place. Not
//! here: how a text becomes pieces (`split`), and pieces tokens (`bpe`).

use super::layout::{self, CLASS_BLOCK_BITS, JOINED_BITS, LONGEST_TOKEN, OFFSET_BITS, RANK_BITS, TORN_BITS};

/// The rank of bytes that are not a token: higher than any other.
pub(super) const NO_TOKEN: u32 = u32::MAX;

/// The tokens of one encoding.
#[derive(Clone, Copy)]
pub(super) struct Vocabulary {
    tables: &'static Tables,
    /// Tokens from this rank on belong to a larger encoding that shares the tables.
    end: u32,
    /// A number of its own, below 16.
    pub(super) number: u8,
}

/// All of `o200k_base`; `o200k_harmony` differs from it only in special tokens.
pub(super) const O200K: Vocabulary = Vocabulary { tables: &O200K_TABLES, end: NO_TOKEN, number: 0 };
/// All of `cl100k_base`.
pub(super) const CL100K: Vocabulary = Vocabulary { tables: &CL100K_TABLES, end: NO_TOKEN, number: 1 };
/// All of `p50k_base`; `p50k_edit` differs from it only in special tokens.
pub(super) const P50K: Vocabulary = Vocabulary { tables: &P50K_TABLES, end: NO_TOKEN, number: 2 };
/// `r50k_base`: `p50k_base` without the runs of spaces after the end-of-text token.
pub(super) const R50K: Vocabulary = Vocabulary { tables: &P50K_TABLES, end: 50_256, number: 3 };

impl Vocabulary {
    /// Returns the rank of the token with exactly these bytes, or [`NO_TOKEN`].
    ///
    /// Single bytes have no entry: each is a token of every encoding, and `bpe` never asks.
    #[inline]
    pub(super) fn rank(self, piece: &[u8]) -> u32 {
        let rank = match *piece {
            [first, second] => self.tables.pair(first, second),
            [_, _, _, ..] if piece.len() <= LONGEST_TOKEN => self.tables.find(piece).unwrap_or(NO_TOKEN),
            _ => NO_TOKEN,
        };
        self.within(rank)
    }

    /// Returns the rank of the token of two bytes, or [`NO_TOKEN`]; cheaper than [`Self::rank`].
    #[inline]
    pub(super) fn pair(self, first: u8, second: u8) -> u32 {
        self.within(self.tables.pair(first, second))
    }

    /// Returns the first place of a piece across which no token lies; none if tokens may lie across
    /// all. The parts before and after it merge as if the other were not there. It looks at
    /// characters of at least three bytes only: there are few other places.
    #[inline]
    pub(super) fn first_cut(self, piece: &[u8]) -> Option<usize> {
        let is_cut = |around: &[u8; 4]| {
            let around = u32::from_le_bytes(*around);
            layout::is_boundary(around)
                && !has(self.tables.joined, layout::boundary_bits(around, JOINED_BITS))
        };
        Some(piece.array_windows().position(is_cut)?.saturating_add(2))
    }

    /// Returns whether a token may lie across a boundary of characters in this piece and hold only
    /// a part of one.
    pub(super) fn may_tear(self, piece: &[u8]) -> bool {
        piece.array_windows().any(|around| {
            let around = u32::from_le_bytes(*around);
            layout::is_boundary(around) && has(self.tables.torn, layout::boundary_bits(around, TORN_BITS))
        })
    }

    #[inline]
    fn within(self, rank: u32) -> u32 {
        if rank < self.end { rank } else { NO_TOKEN }
    }
}

/// Returns the class bits of a character outside ASCII.
#[inline]
pub(super) fn class_of(character: u32) -> u8 {
    let block = character.wrapping_shr(CLASS_BLOCK_BITS) as usize;
    let within = character as usize & ((1 << CLASS_BLOCK_BITS) - 1);
    let Some(&index) = CLASS_INDEX.get(block) else { return 0 };
    CLASS_BLOCKS.get(usize::from(index).wrapping_shl(CLASS_BLOCK_BITS) | within).copied().unwrap_or(0)
}

/// Returns the class bits of an ASCII character.
#[inline]
pub(super) fn class_of_ascii(byte: u8) -> u8 {
    CLASS_ASCII.get(usize::from(byte)).copied().unwrap_or(0)
}

static CLASS_ASCII: &[u8; 128] = include_bytes!(concat!(env!("OUT_DIR"), "/class_ascii"));
static CLASS_BLOCKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/class_blocks"));
static CLASS_INDEX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/class_index"));

/// The tables of one encoding. Tokens of two bytes are in a bitmap that fits the first-level cache,
/// because every merge starts with them. Longer ones are in buckets with adjacent records, so that
/// a search costs one jump to the bucket's offset and one to its records.
struct Tables {
    buckets: &'static [[u8; 4]],
    records: &'static [u8],
    pair_bits: &'static [[u8; 8]],
    pair_first: &'static [[u8; 2]],
    pair_ranks: &'static [[u8; 4]],
    joined: &'static [u8; 1 << (JOINED_BITS - 3)],
    torn: &'static [u8; 1 << (TORN_BITS - 3)],
    /// The right shift that turns a hash into the number of its bucket.
    shift: u32,
}

macro_rules! tables {
    ($name:literal) => {{
        const BUCKETS: &[[u8; 4]] =
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".buckets")).as_chunks().0;
        Tables {
            buckets: BUCKETS,
            records: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".records")),
            pair_bits: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".pair_bits")).as_chunks().0,
            pair_first: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".pair_first")).as_chunks().0,
            pair_ranks: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".pair_ranks")).as_chunks().0,
            joined: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".joined")),
            torn: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".torn")),
            // There is one offset more than buckets, whose number is a power of two.
            shift: 64_u32.saturating_sub(BUCKETS.len().ilog2()),
        }
    }};
}

static O200K_TABLES: Tables = tables!("o200k");
static CL100K_TABLES: Tables = tables!("cl100k");
static P50K_TABLES: Tables = tables!("p50k");

impl Tables {
    #[inline]
    fn find(&self, piece: &[u8]) -> Option<u32> {
        let hash = layout::hash(piece);
        let bucket = hash.wrapping_shr(self.shift) as usize;
        let entry = u32::from_le_bytes(*self.buckets.get(bucket)?);
        if entry & layout::presence(hash) == 0 {
            return None;
        }
        let next = u32::from_le_bytes(*self.buckets.get(bucket.wrapping_add(1))?);
        let [start, end] = [entry, next].map(|entry| (entry & ((1 << OFFSET_BITS) - 1)) as usize);
        let wanted = layout::tag(hash, piece.len());
        let mut rest = self.records.get(start..end)?;
        while let Some((header, after)) = rest.split_first_chunk::<4>() {
            let header = u32::from_le_bytes(*header);
            let tag = header.wrapping_shr(RANK_BITS);
            let (token, after) = after.split_at_checked(layout::tagged_len(tag))?;
            if tag == wanted && same(token, piece) {
                return Some(header & ((1 << RANK_BITS) - 1));
            }
            rest = after;
        }
        None
    }

    #[inline]
    fn pair(&self, first: u8, second: u8) -> u32 {
        let word_index = usize::from(first) << 2 | usize::from(second) >> 6;
        let bit = 1_u64.wrapping_shl(u32::from(second));
        let word = self.pair_bits.get(word_index).map_or(0, |word| u64::from_le_bytes(*word));
        if word & bit == 0 {
            return NO_TOKEN;
        }
        let before = (word & bit.wrapping_sub(1)).count_ones() as usize;
        let first_of_word = self.pair_first.get(word_index).map_or(0, |at| u16::from_le_bytes(*at));
        let index = usize::from(first_of_word).wrapping_add(before);
        self.pair_ranks.get(index).map_or(NO_TOKEN, |rank| u32::from_le_bytes(*rank))
    }
}

/// Returns whether both bits are set.
#[inline]
fn has(bytes: &[u8], bits: [usize; 2]) -> bool {
    let is_set =
        |bit: usize| bytes.get(bit >> 3).is_none_or(|byte| byte.wrapping_shr(bit as u32 & 7) & 1 != 0);
    bits.into_iter().all(is_set)
}

/// Returns whether two slices of equal length, at least 3, are the same. Compares words, because
/// tokens are short and a call of `memcmp` costs more than the comparison, above all in wasm.
#[inline]
fn same(token: &[u8], piece: &[u8]) -> bool {
    if token.len() < 8 {
        return match (token.first_chunk::<4>(), piece.first_chunk::<4>()) {
            (Some(a), Some(b)) => a == b && token.last_chunk::<4>() == piece.last_chunk::<4>(),
            _ => token == piece,
        };
    }
    let (token_words, _) = token.as_chunks::<8>();
    let (piece_words, _) = piece.as_chunks::<8>();
    let equal = |(a, b): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*a) == u64::from_le_bytes(*b);
    token.last_chunk::<8>() == piece.last_chunk::<8>() && token_words.iter().zip(piece_words).all(equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rank_of_the_oracle_is_found_by_its_bytes() {
        let encodings = [
            (O200K, tiktoken_rs::o200k_base_singleton(), 199_998),
            (CL100K, tiktoken_rs::cl100k_base_singleton(), 100_256),
            (P50K, tiktoken_rs::p50k_base_singleton(), 50_281),
            (R50K, tiktoken_rs::r50k_base_singleton(), 50_256),
        ];
        for (vocabulary, oracle, end) in encodings {
            for rank in (0..end).filter(|&rank| !(end == 50_281 && rank == 50_256)) {
                let token = oracle.decode_bytes(&[rank]).unwrap();
                let expected = if token.len() == 1 { NO_TOKEN } else { rank };
                assert_eq!(vocabulary.rank(&token), expected, "{token:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_token_have_no_rank() {
        for piece in ["", "qzxw", " tollgate tollgate", &"=".repeat(1000), "<|endoftext|>"] {
            assert_eq!(O200K.rank(piece.as_bytes()), NO_TOKEN, "{piece}");
        }
    }

    #[test]
    fn tokens_that_only_the_larger_encoding_has_stay_in_it() {
        assert_eq!(P50K.rank(b"    "), 50_259);
        assert_eq!(R50K.rank(b"    "), NO_TOKEN);
        assert_eq!(P50K.pair(b' ', b' '), 50_257);
        assert_eq!(R50K.pair(b' ', b' '), NO_TOKEN);
    }

    #[test]
    fn classes_beyond_unicode_are_empty_and_do_not_panic() {
        assert_eq!(class_of(u32::MAX), 0);
        assert_eq!(class_of_ascii(u8::MAX), 0);
    }
}
