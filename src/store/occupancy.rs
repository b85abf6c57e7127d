//! Counts the taken places of a table without reading them all.
//!
//! In: the number of places that an update has taken or freed in a line. Out: [`Occupancy`], kept
//! in one line behind the table's own, so that all workers share the count. Only updates that take
//! or free a place write it; other updates cost nothing. Not here: the warning (`exchange`).
//!
//! Bytes: a mark (1), then the number of taken places (4, little-endian). The mark is not the
//! version of a set, so that after a change of the table's size neither this line is read as a set
//! nor a set as this line. The count then starts at zero, and omits the places that the table still
//! holds from before.

use super::lines::{Lines, NotStored};

/// The first byte of the line.
const MARK: u8 = 0xc0;

/// The most attempts to write the count. If all fail, the count is off by the places of one update.
const MAX_TRIES: u32 = 16;

/// The fill level of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The number of taken places. Idle budgets count until a newcomer to their set clears them
    /// away.
    pub taken: u32,
    /// The number of places.
    pub places: u32,
}

impl Occupancy {
    /// Returns whether at least three quarters of the places are taken.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        u64::from(self.taken).saturating_mul(4) >= u64::from(self.places).saturating_mul(3)
    }
}

/// Adds to the count in `line`. Returns the taken places after that, or `None` if the write failed.
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
