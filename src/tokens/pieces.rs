//! Remembers the counts of short pieces, because most words of a text were in an earlier one.
//!
//! In: the [`Key`] of a piece, which is the piece itself. Out: its count, if its entry was not
//! overwritten. A look-up costs one jump into a table that stays in the processor's cache, where
//! the vocabulary costs two into megabytes. Memory is fixed. Not here: whole texts (`cache`).

use super::window::{Key, LONGEST_KEY};

/// The number of entries of 16 bytes, as a power of two: 128 KiB in each worker's VM.
const BITS: u32 = 13;

/// Counts by piece. The hash of a piece gives its only place; the newest piece wins.
pub(super) struct PieceCache {
    entries: Vec<Entry>,
}

/// A piece and, in the highest byte, its count. No piece has the key zero.
#[derive(Clone, Copy, Default)]
struct Entry {
    low: u64,
    high: u64,
}

const COUNT_SHIFT: u32 = 56;

impl Default for PieceCache {
    fn default() -> Self {
        Self { entries: vec![Entry::default(); 1 << BITS] }
    }
}

impl PieceCache {
    /// Returns the count of a piece, if it is still there.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<u64> {
        let entry = self.entries.get(place(key))?;
        let difference =
            (entry.low ^ key.low) | (entry.high ^ key.high).wrapping_shl(u64::BITS - COUNT_SHIFT);
        (difference == 0).then_some(entry.high.wrapping_shr(COUNT_SHIFT))
    }

    /// Remembers the count of a piece and overwrites the entry there.
    #[inline]
    pub(super) fn remember(&mut self, key: Key, count: u64) {
        if let Some(entry) = self.entries.get_mut(place(key)) {
            *entry = Entry { low: key.low, high: key.high | count.wrapping_shl(COUNT_SHIFT) };
        }
    }
}

/// Returns the place of a piece. An attacker can find pieces that share one, and makes their counts
/// slower but not wrong.
#[inline]
const fn place(key: Key) -> usize {
    let mixed = (key.low ^ key.high.rotate_left(29)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed.wrapping_shr(u64::BITS - BITS) as usize
}

const _: () = assert!(LONGEST_KEY <= u8::MAX as usize, "a piece has at most as many tokens as bytes");

#[cfg(test)]
mod tests {
    use super::super::window::Window;
    use super::*;

    fn key(piece: &str) -> Key {
        Window::at(piece.as_bytes()).key(piece.len(), 0)
    }

    #[test]
    fn pieces_of_one_place_do_not_share_a_count() {
        let mut cache = PieceCache::default();
        let first = key(" 0");
        let other = (1..).map(|number| key(&format!(" {number}"))).find(|key| place(*key) == place(first));
        let other = other.unwrap();
        assert_eq!(cache.find(first), None);
        cache.remember(first, 2);
        assert_eq!((cache.find(first), cache.find(other)), (Some(2), None));
        cache.remember(other, 3);
        assert_eq!((cache.find(first), cache.find(other)), (None, Some(3)));
    }

    #[test]
    fn any_number_of_pieces_keeps_the_same_memory_and_true_counts() {
        let mut cache = PieceCache::default();
        let pieces: Vec<_> = (0..50_000).map(|number| key(&format!("p{number}"))).collect();
        for (count, piece) in pieces.iter().enumerate() {
            cache.remember(*piece, count as u64 % 15);
        }
        let found = pieces.iter().enumerate().filter_map(|(count, piece)| Some((count, cache.find(*piece)?)));
        let found: Vec<_> = found.collect();
        assert!(found.iter().all(|(count, found)| *found == *count as u64 % 15));
        assert!((1 << (BITS - 1)..=1 << BITS).contains(&found.len()), "{}", found.len());
        assert_eq!(cache.entries.capacity() * size_of::<Entry>(), 128 * 1024);
    }
}
