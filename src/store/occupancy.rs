//! How many of a table's places are taken, counted without looking at them all.
//!
//! In: by how many places an update has changed a line. Out: [`Occupancy`], kept in one line behind
//! the table's own, so that all workers count together. Only updates that take or free a place
//! write it: a caller that has its place pays nothing. Not here: who is told of it (`exchange`).
//!
//! Bytes: a mark (1), then the number of places that are taken (4, little-endian). The mark is no
//! version of a set, so that this line is never read as one, nor a set as this, when the table's
//! size changes. The count then begins at nothing, and is too low by what the table still holds
//! from before.

use super::lines::{Lines, NotStored};

/// Written first in the line.
const MARK: u8 = 0xc0;

/// How often the count is tried to be written; one that is not is off by the place at hand.
const MAX_TRIES: u32 = 16;

/// How full a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// How many places are taken. Budgets that are idle count until a newcomer to their set has
    /// them cleared away.
    pub taken: u32,
    /// How many places there are.
    pub places: u32,
}

impl Occupancy {
    /// Whether three quarters of the places are taken, or more.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        u64::from(self.taken).saturating_mul(4) >= u64::from(self.places).saturating_mul(3)
    }
}

/// Adds to the count in `line`. How many places are taken then; none if it could not be written.
pub(super) fn add(lines: &impl Lines, line: u32, by: i32) -> Option<u32> {
    for _ in 0..MAX_TRIES {
        let Ok((bytes, cas)) = lines.load(line) else { return None };
        let taken = decode(&bytes).saturating_add_signed(by);
        match lines.store(line, &encode(taken), cas) {
            Ok(()) => return Some(taken),
            Err(NotStored::Lost) => {}
            Err(NotStored::Unavailable) => return None,
        }
    }
    None
}

fn decode(bytes: &[u8]) -> u32 {
    match bytes {
        [MARK, count @ ..] => count.try_into().map_or(0, u32::from_le_bytes),
        _ => 0,
    }
}

fn encode(taken: u32) -> Vec<u8> {
    [&[MARK], taken.to_le_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryLines;

    #[test]
    fn the_count_is_kept_as_it_was_written() {
        let lines = MemoryLines::new();

        assert_eq!((add(&lines, 7, 3), add(&lines, 7, -1)), (Some(3), Some(2)));

        assert_eq!(lines.load(7).unwrap().0, [MARK, 2, 0, 0, 0]);
    }

    #[test]
    fn foreign_bytes_count_nothing() {
        let lines = MemoryLines::new();
        for bytes in [b"".as_slice(), b"\x01\x02", &[MARK], &[MARK, 1, 0, 0], &[MARK, 1, 0, 0, 0, 0]] {
            lines.overwrite(7, bytes);
            assert_eq!(add(&lines, 7, 1), Some(1), "{bytes:?}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_written_is_told_nobody() {
        let lines = MemoryLines::new();
        lines.lose_next(MAX_TRIES);
        assert_eq!(add(&lines, 7, 1), None);
        lines.lose_next(MAX_TRIES - 1);
        assert_eq!(add(&lines, 7, 1), Some(1));
        lines.fail(true);
        assert_eq!(add(&lines, 7, 1), None);
    }

    #[test]
    fn a_table_is_filling_from_three_quarters_on() {
        let is_filling = |taken, places| Occupancy { taken, places }.is_filling();
        assert!(!is_filling(47, 64) && is_filling(48, 64) && is_filling(64, 64));
        assert!(!is_filling(0, 64) && is_filling(u32::MAX, u32::MAX));
    }
}
