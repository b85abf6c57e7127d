//! Counts the tokens of one piece of text by byte pair encoding.
//!
//! In: a vocabulary and a piece. Out: the number of tokens that remain after merging neighbours,
//! lowest rank first, leftmost among equals. Nothing is allocated per piece; long pieces use the
//! caller's [`Scratch`], which also remembers short ones. Not here: which tokens they are, and
//! where pieces begin (`split`).

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use super::layout::RANK_BITS;
use super::pieces::PieceCache;
use super::table::{NO_TOKEN, Vocabulary};
use super::window::{LONGEST_KEY, Window};

/// The longest piece that is merged as a whole, in bytes. A longer run without a boundary is not
/// prose, and its merges would need unbounded memory. It is counted in parts of this length, and
/// each cut may change the count by a token or two.
pub(super) const LONGEST_PIECE: usize = 1 << 14;

/// Pieces up to this many bytes are merged by scanning, with one bit per byte in a word for the
/// starts of parts. Above it a heap is faster (Chinese text in wasm: 33 µs a KiB with 64 here, 24
/// with 32).
const SHORT: usize = 32;

/// The bits of a position in a piece, in the keys that order merges.
const SHORT_BITS: u32 = SHORT.ilog2();
const SHORT_MASK: u32 = SHORT as u32 - 1;
const PIECE_BITS: u32 = LONGEST_PIECE.ilog2();
const PIECE_MASK: u32 = LONGEST_PIECE as u32 - 1;

/// Memory for merging long pieces, reused from piece to piece, and the counts of earlier short
/// pieces. The longest piece that is merged as a whole bounds it.
#[derive(Default)]
pub struct Scratch {
    parts: Vec<Part>,
    merges: BinaryHeap<Reverse<u32>>,
    pieces: PieceCache,
}

/// The part that starts at a byte of the piece, if one does.
#[derive(Clone, Copy)]
struct Part {
    /// The start of the part before; its own start if there is none.
    previous: u16,
    /// The end of the part.
    end: u16,
    /// The rank of this part joined with the next.
    rank: u32,
}

/// Returns the number of tokens in the piece that is the first `len` bytes of a text, and of its
/// window.
#[inline]
pub(super) fn count(
    vocabulary: Vocabulary,
    text: &[u8],
    len: usize,
    window: Window,
    scratch: &mut Scratch,
) -> u64 {
    if len > LONGEST_KEY {
        return count_new(vocabulary, text, len, scratch);
    }
    let key = window.key(len, vocabulary.number);
    if let Some(count) = scratch.pieces.find(key) {
        return count;
    }
    let count = count_new(vocabulary, text, len, scratch);
    scratch.pieces.remember(key, count);
    count
}

/// Counts a piece that is not remembered.
#[inline(never)]
fn count_new(vocabulary: Vocabulary, text: &[u8], len: usize, scratch: &mut Scratch) -> u64 {
    let piece = text.get(..len).unwrap_or(text);
    if piece.len() < 2 || vocabulary.rank(piece) != NO_TOKEN {
        return u64::from(!piece.is_empty());
    }
    let Some(mut cut) = vocabulary.first_cut(piece) else {
        let starts = starts(vocabulary, text, piece, scratch);
        return merge(vocabulary, piece, starts, scratch);
    };
    // Words of Chinese and other scripts follow each other without a space. Most parts are one, and
    // remembered.
    let (mut tokens, mut start) = (0_u64, 0_usize);
    loop {
        let rest = text.get(start..).unwrap_or_default();
        tokens = tokens.saturating_add(count(vocabulary, rest, cut, Window::at(rest), scratch));
        start = start.saturating_add(cut);
        let Some(rest) = piece.get(start..).filter(|rest| !rest.is_empty()) else { return tokens };
        cut = vocabulary.first_cut(rest).unwrap_or(rest.len());
    }
}

/// Returns where the parts to merge start, in the lowest bits: at each byte, or at each character
/// of a short piece if each is a token and no token holds a part of one. In this case the bytes of
/// each character may merge first, for the ranks of all that they merge to are below those of the
/// tokens that it becomes part of.
fn starts(vocabulary: Vocabulary, text: &[u8], piece: &[u8], scratch: &mut Scratch) -> u64 {
    let is_character = |(at, byte): (usize, &u8)| matches!(byte, 0xe0..0xf0) == at.is_multiple_of(3);
    let has_several = (6..=SHORT).contains(&piece.len());
    if !has_several || !piece.iter().enumerate().all(is_character) || vocabulary.may_tear(piece) {
        return u64::MAX;
    }
    for start in (0..piece.len()).step_by(3) {
        let rest = text.get(start..).unwrap_or_default();
        if count(vocabulary, rest, 3, Window::at(rest), scratch) != 1 {
            return u64::MAX;
        }
    }
    EVERY_THIRD
}

/// The bits 0, 3, 6 and so on.
const EVERY_THIRD: u64 = 0x9249_2492_4924_9249;

/// Merges a piece of at least two bytes that is not a token.
fn merge(vocabulary: Vocabulary, piece: &[u8], starts: u64, scratch: &mut Scratch) -> u64 {
    if piece.len() <= SHORT {
        return merge_short(vocabulary, piece, starts);
    }
    piece.chunks(LONGEST_PIECE).map(|part| merge_long(vocabulary, part, scratch)).sum()
}

/// Merges a piece of 2 to [`SHORT`] bytes, whose parts start at these bits; finds each merge by
/// scanning all.
fn merge_short(vocabulary: Vocabulary, piece: &[u8], starts: u64) -> u64 {
    let key = |rank: u32, start: u32| {
        if rank == NO_TOKEN { NO_TOKEN } else { rank.wrapping_shl(SHORT_BITS) | start }
    };
    // By the byte where a part starts: the rank and position of its merge with the next part.
    let mut keys = [NO_TOKEN; SHORT];
    let len = piece.len() as u32;
    let mut starts = starts & u64::MAX.wrapping_shr(64_u32.saturating_sub(len));
    for (slot, start) in keys.iter_mut().zip(0..len) {
        if starts & 1_u64.wrapping_shl(start) == 0 {
            continue;
        }
        let middle = next_start(starts, start, len);
        if middle < len {
            *slot = key(rank_of(vocabulary, piece, start, next_start(starts, middle, len)), start);
        }
    }
    loop {
        let lowest = keys.iter().take(piece.len()).copied().min().unwrap_or(NO_TOKEN);
        if lowest == NO_TOKEN {
            return u64::from(starts.count_ones());
        }
        let left = lowest & SHORT_MASK;
        let right = next_start(starts, left, len);
        starts &= !1_u64.wrapping_shl(right);
        set(&mut keys, right, NO_TOKEN);

        let end = next_start(starts, left, len);
        let next_end = next_start(starts, end, len);
        let rank = if end == len { NO_TOKEN } else { rank_of(vocabulary, piece, left, next_end) };
        set(&mut keys, left, key(rank, left));
        let before = starts & 1_u64.wrapping_shl(left).wrapping_sub(1);
        if before != 0 {
            let previous = before.ilog2();
            let rank = rank_of(vocabulary, piece, previous, end);
            set(&mut keys, previous, key(rank, previous));
        }
    }
}

/// Returns the start of the first part after the byte `at`, or the piece's length if there is none.
#[inline]
fn next_start(starts: u64, at: u32, len: u32) -> u32 {
    let after = starts & u64::MAX.checked_shl(at.saturating_add(1)).unwrap_or(0);
    after.trailing_zeros().min(len)
}

#[inline]
fn set(keys: &mut [u32; SHORT], at: u32, key: u32) {
    if let Some(slot) = keys.get_mut(at as usize) {
        *slot = key;
    }
}

#[inline]
fn rank_of(vocabulary: Vocabulary, piece: &[u8], start: u32, end: u32) -> u32 {
    piece.get(start as usize..end as usize).map_or(NO_TOKEN, |bytes| vocabulary.rank(bytes))
}

/// Merges a piece of up to [`LONGEST_PIECE`] bytes, with the possible merges in a heap.
///
/// Merges that become impossible stay in the heap. A merge whose rank is no longer the rank at its
/// position is skipped.
fn merge_long(vocabulary: Vocabulary, piece: &[u8], scratch: &mut Scratch) -> u64 {
    let Scratch { parts, merges, pieces: _ } = scratch;
    parts.clear();
    let mut possible = core::mem::take(merges).into_vec();
    possible.clear();
    for start in 0..piece.len() {
        let rank = match piece.get(start..) {
            Some([first, second, ..]) => vocabulary.pair(*first, *second),
            _ => NO_TOKEN,
        };
        if rank != NO_TOKEN {
            possible.push(Reverse(merge_key(rank, start as u16)));
        }
        let place = start as u16;
        parts.push(Part { previous: place.saturating_sub(1), end: place.saturating_add(1), rank });
    }
    *merges = BinaryHeap::from(possible);

    let mut tokens = piece.len() as u64;
    while let Some(Reverse(lowest)) = merges.pop() {
        let left = (lowest & PIECE_MASK) as u16;
        let rank = lowest.wrapping_shr(PIECE_BITS);
        let Some(&Part { previous, end: right, rank: current }) = parts.get(usize::from(left)) else { break };
        if current != rank {
            continue;
        }
        let Some(absorbed) = parts.get_mut(usize::from(right)) else { break };
        absorbed.rank = NO_TOKEN;
        let end = absorbed.end;
        tokens = tokens.saturating_sub(1);

        let mut next_end = None;
        if let Some(next) = parts.get_mut(usize::from(end)) {
            next.previous = left;
            next_end = Some(next.end);
        }
        let mut offer = |start: u16, part_end: Option<u16>, joined_end: Option<u16>| {
            let bytes =
                joined_end.and_then(|joined_end| piece.get(usize::from(start)..usize::from(joined_end)));
            let rank = bytes.map_or(NO_TOKEN, |bytes| vocabulary.rank(bytes));
            if let Some(part) = parts.get_mut(usize::from(start)) {
                part.rank = rank;
                part.end = part_end.unwrap_or(part.end);
            }
            if rank != NO_TOKEN {
                merges.push(Reverse(merge_key(rank, start)));
            }
        };
        offer(left, Some(end), next_end);
        if previous != left {
            offer(previous, None, Some(end));
        }
    }
    tokens
}

/// Returns a merge's key, which orders by rank, then from the left.
#[inline]
fn merge_key(rank: u32, start: u16) -> u32 {
    rank.wrapping_shl(PIECE_BITS) | u32::from(start)
}

const _: () = assert!(SHORT <= u64::BITS as usize, "a word has a bit for each byte of a short piece");
const _: () = assert!(RANK_BITS + PIECE_BITS <= u32::BITS, "a rank and a place fill a key");

#[cfg(test)]
mod tests {
    use super::super::table::{CL100K, O200K, P50K, R50K};
    use super::*;

    fn whole(piece: &[u8], scratch: &mut Scratch) -> u64 {
        count(O200K, piece, piece.len(), Window::at(piece), scratch)
    }

    #[test]
    fn both_ways_of_merging_agree() {
        let mut scratch = Scratch::default();
        for piece in ["qzxwqzxw", " tollgates", "aaaaaaaaaaaaaaaaaaaaaaaaa", "日本語の文章を数える", "ab"]
        {
            for vocabulary in [O200K, CL100K, R50K] {
                let short = merge_short(vocabulary, piece.as_bytes(), u64::MAX);
                assert_eq!(merge_long(vocabulary, piece.as_bytes(), &mut scratch), short, "{piece}");
            }
        }
    }

    #[test]
    fn an_empty_piece_has_no_tokens_and_one_byte_has_one() {
        assert_eq!(whole(b"", &mut Scratch::default()), 0);
        assert_eq!(whole(b"\xff", &mut Scratch::default()), 1);
    }

    #[test]
    fn a_piece_over_the_bound_is_counted_in_parts_and_scratch_stays_bounded() {
        let mut scratch = Scratch::default();
        let piece = vec![b'a'; LONGEST_PIECE * 5 + 7];
        let part = whole(&piece[..LONGEST_PIECE], &mut scratch);
        let rest = whole(&piece[..7], &mut scratch);
        assert_eq!(whole(&piece, &mut scratch), part * 5 + rest);
        assert!(scratch.parts.capacity() <= LONGEST_PIECE * 2);
        assert!(scratch.merges.capacity() <= LONGEST_PIECE * 4);
    }

    #[test]
    fn every_token_is_what_its_bytes_merge_to() {
        // Otherwise a part of a piece that is a token would count less than within the piece.
        let mut scratch = Scratch::default();
        for (vocabulary, oracle, end) in [
            (O200K, tiktoken_rs::o200k_base_singleton(), 199_998),
            (CL100K, tiktoken_rs::cl100k_base_singleton(), 100_256),
            (P50K, tiktoken_rs::p50k_base_singleton(), 50_281),
        ] {
            for rank in (0..end).filter(|&rank| !(end == 50_281 && rank == 50_256)) {
                let token = oracle.decode_bytes(&[rank]).unwrap();
                assert_eq!(merge(vocabulary, &token, u64::MAX, &mut scratch), 1, "{token:?}");
            }
        }
    }

    #[test]
    fn parts_between_cuts_merge_as_within_the_whole() {
        let text =
            "我们在鹿特丹的仓库星期一休息，请于星期二再来。日本語の文章を数えるときは、한국어와 ไทย हिन्दी";
        for vocabulary in [O200K, CL100K, P50K, R50K] {
            let (mut scratch, mut cuts) = (Scratch::default(), 0);
            let mut rest = text.as_bytes();
            let mut parts = 0;
            while let Some(cut) = vocabulary.first_cut(rest) {
                parts += merge(vocabulary, &rest[..cut], u64::MAX, &mut scratch);
                rest = &rest[cut..];
                cuts += 1;
            }
            parts += merge(vocabulary, rest, u64::MAX, &mut scratch);
            assert_eq!(parts, merge(vocabulary, text.as_bytes(), u64::MAX, &mut scratch));
            assert!(cuts > 20, "{cuts}");
        }
    }
}
