//! The bounded table: finds a caller's state, runs a pure closure on it, and writes what that
//! gives.
//!
//! In: a [`Key`], `now` and the closure. Out: the closure's answer and how it went ([`Updated`]),
//! or a [`Failure`]. Not here: bytes of a line (`set`), what a payload means (`limits`), metrics
//! (whoever calls keeps them).
//!
//! # What is promised
//!
//! - **Memory.** At most `sets` lines are ever written, each with at most [`WAYS`](super::WAYS) own
//!   and [`SHARED_WAYS`](super::SHARED_WAYS) shared entries, however many callers there are, and
//!   one line that counts the places taken ([`Occupancy`]). A line is written when a caller first
//!   comes to it, so that places which nobody takes use no memory. Shared entries exist only for
//!   limits that overflow.
//! - **A budget in use is never evicted.** A newcomer to a full set takes the place of an idle
//!   entry (which equals a fresh one: nothing is lost), else of the least recently written one that
//!   has been touched only once and was less than a quarter full. Anything touched twice, or a
//!   quarter full, stays until it is idle, whatever floods in. What a flood can undo is one call
//!   that used less than a quarter, and only if it comes before the second.
//! - **No place is no free ride.** A newcomer for whom nothing makes way shares one entry of its
//!   set with all others of the same limit in that position. Unlike limits never share. That holds
//!   for 32 limits overflowing in one set at the same time; with more, the emptiest shared entry
//!   starts anew (and is counted as evicted). So callers of one limit can spend at most `sets` ×
//!   ([`WAYS`](super::WAYS) + 1) budgets at any time, whatever names they make up. The price is
//!   that a newcomer can be refused for what the others in its position have spent: a table is to
//!   be large enough that this does not happen, and says so before it does
//!   ([`Occupancy::is_filling`]).
//! - **No update is lost** between workers, the first write of a line included.

use core::cell::Cell;
use core::fmt;

use super::key::Key;
use super::lines::{Lines, NotStored, Unavailable};
use super::occupancy::{self, Occupancy};
use super::set::{Entry, Payload, Place, Set, WAYS};
use crate::units::Timestamp;

/// How often an update is tried before it is given up.
///
/// A try fails only because another worker's write to the same line succeeded within the
/// microsecond or two between load and store. Even if 8 workers did nothing but write this line, an
/// eighth of the tries would succeed, and 64 in a row would fail once in 5,000 times; real calls
/// have work to do in between. 64 tries take about 0.1 ms, which a worker can spare.
pub const MAX_TRIES: u32 = 64;

/// How many places a table can have: 2^24, which all in use take more than a gigabyte.
pub const MOST_PLACES: u32 = 1 << 24;

/// What the closure wants done with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Leave it; nothing is written.
    Keep,
    /// Store this.
    Put(Entry),
}

/// The closure's answer, and what the table did to get it stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated<T> {
    /// What the closure answered in the run that counted.
    pub value: T,
    /// Where the state is; a later correction must go to the same place.
    pub place: Place,
    /// How often another worker came first.
    pub retries: u32,
    /// How many budgets that were not idle were lost for want of room: 0 or 1.
    pub evicted: u32,
    /// Whether what the closure wanted stored was not, because there is no place for it.
    pub lost: bool,
}

/// Why an update was not made; nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Other workers came first every time.
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// The host could not read or write.
    Unavailable,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contended { tries } => {
                write!(f, "other workers wrote the same line first, {tries} times in a row")
            }
            Self::Unavailable => Unavailable.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

impl From<Unavailable> for Failure {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Entries by key in a fixed number of sets, one line each.
#[derive(Clone, Debug)]
pub struct Table<L> {
    lines: L,
    sets: u32,
    /// How full it was when an update last took or freed a place, if that has not been asked for
    /// yet.
    occupancy: Cell<Option<Occupancy>>,
}

impl<L: Lines> Table<L> {
    /// A table over `lines` 0 up to `sets`, which is rounded up to a power of two (2^31 at most),
    /// with its count of places in the line behind them.
    ///
    /// All workers, and all versions that are to keep their balances, must use the same number: the
    /// entries of a table of another size are looked for in the wrong places.
    #[must_use]
    pub fn new(lines: L, sets: u32) -> Self {
        let sets = sets.checked_next_power_of_two().unwrap_or(1 << 31);
        Self { lines, sets, occupancy: Cell::default() }
    }

    /// How many lines can be written at most.
    #[must_use]
    pub const fn sets(&self) -> u32 {
        self.sets
    }

    /// Runs `f` on the state at `key` (none: as if never seen) and stores what it gives; counts as
    /// a touch.
    ///
    /// `f` must be pure: it is run again from the new state whenever another worker came first.
    ///
    /// # Errors
    /// [`Failure`]; then nothing has been written and no answer counts.
    pub fn update<T>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        self.run(key, None, now, f)
    }

    /// As [`Table::update`], but at the place where an earlier update of the same call was counted,
    /// and no touch: one call with its settlement does not look like two calls.
    ///
    /// If the own entry was evicted meanwhile and has no place any more, `f` sees none and what it
    /// stores is lost; that counts as evicted. It is never written to the shared entry, where the
    /// call was not counted.
    ///
    /// # Errors
    /// [`Failure`]; then nothing has been written and no answer counts.
    pub fn settle<T>(
        &self,
        key: &Key,
        place: Place,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        self.run(key, Some(place), now, f)
    }

    /// Shows `f` the state that [`Table::update`] would see; writes nothing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn peek<T>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl FnOnce(Option<&Payload>) -> T,
    ) -> Result<T, Failure> {
        let (bytes, _) = self.lines.load(self.line(key))?;
        let set = Set::decode(&bytes);
        Ok(f(set.payload(set.place_for(key, now), key)))
    }

    /// Whether the state at `key` is in an entry that callers share for want of room.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn is_shared(&self, key: &Key, now: Timestamp) -> Result<bool, Failure> {
        let (bytes, _) = self.lines.load(self.line(key))?;
        let set = Set::decode(&bytes);
        let place = set.place_for(key, now);
        Ok(place == Place::Shared && set.payload(place, key).is_some())
    }

    /// How full the table is, if an update has taken or freed a place since this was asked last.
    #[must_use]
    pub fn take_occupancy(&self) -> Option<Occupancy> {
        self.occupancy.take()
    }

    fn run<T>(
        &self,
        key: &Key,
        settled: Option<Place>,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        let line = self.line(key);
        for retries in 0..MAX_TRIES {
            let (bytes, cas) = self.lines.load(line)?;
            let mut set = Set::decode(&bytes);
            let taken = set.places_taken();
            let place = settled.unwrap_or_else(|| set.place_for(key, now));

            let (value, change) = f(set.payload(place, key));
            let Change::Put(entry) = change else {
                return Ok(Updated { value, place, retries, evicted: 0, lost: false });
            };
            let Ok(evicted) = set.put(place, key, entry, settled.is_none(), now) else {
                return Ok(Updated { value, place, retries, evicted: 1, lost: true });
            };
            match self.lines.store(line, &set.encode(), cas) {
                Ok(()) => {
                    self.count_places(set.places_taken().saturating_sub(taken));
                    return Ok(Updated { value, place, retries, evicted, lost: false });
                }
                Err(NotStored::Lost) => {}
                Err(NotStored::Unavailable) => return Err(Failure::Unavailable),
            }
        }
        Err(Failure::Contended { tries: MAX_TRIES })
    }

    /// An update has taken so many places, or freed them if it is less than none.
    fn count_places(&self, by: i32) {
        if by == 0 {
            return;
        }
        if let Some(taken) = occupancy::add(&self.lines, self.sets, by) {
            self.occupancy.set(Some(Occupancy { taken, places: self.places() }));
        }
    }

    /// How many places there are for callers' own entries.
    fn places(&self) -> u32 {
        u32::try_from(WAYS).map_or(u32::MAX, |ways| self.sets.saturating_mul(ways))
    }

    fn line(&self, key: &Key) -> u32 {
        let mask = u128::from(self.sets.saturating_sub(1));
        // The mask has at most 31 bits.
        u32::try_from(key.own & mask).unwrap_or(0)
    }
}

#[cfg(test)]
mod filling;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod tests;
