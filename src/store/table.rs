//! The bounded table: finds a caller's states, runs a pure closure on them, and writes the result.
//!
//! In: a [`Key`], `now` and the closure. Out: the closure's answer and the outcome ([`Updated`]),
//! or a [`Failure`]. States with keys in the same line change together ([`Table::transact`]). Not
//! here: the bytes of a line (`set`), the meaning of a payload (`limits`), metrics (the callers
//! report them).
//!
//! # Guarantees
//!
//! - **Memory.** At most `sets` lines are ever written, each with at most [`WAYS`](super::WAYS) own
//!   and [`SHARED_WAYS`](super::SHARED_WAYS) shared entries, however many callers there are, and
//!   one line that counts the taken places ([`Occupancy`]). A line is written when a caller first
//!   comes to it, so unused places need no memory. Shared entries exist only for limits that
//!   overflow.
//! - **A budget in use is never evicted.** A newcomer to a full set replaces an idle entry (which
//!   equals a fresh one, so nothing is lost), or else the least recently written entry that was
//!   touched only once and is less than a quarter full. An entry touched twice, or a quarter full,
//!   stays until it is idle, whatever the load. A flood can undo one call that used less than a
//!   quarter, and only before the second call.
//! - **No place does not mean no limit.** A newcomer that can evict no entry shares one entry of
//!   its set with all others of the same limit in that position. Different limits never share. That
//!   holds for 32 limits overflowing in one set at a time; with more, the emptiest shared entry
//!   starts anew (and counts as evicted). So callers of one limit can spend at most `sets` ×
//!   ([`WAYS`](super::WAYS) + 1) budgets at any time, whatever names they make up. In return a
//!   newcomer can be refused for what the others in its position have spent. The table should be
//!   large enough to avoid that, and it warns before that happens ([`Occupancy::is_filling`]).
//! - **No update is lost** between workers, the first write of a line included.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;

use super::key::Key;
use super::lines::{Cas, Lines, NotStored, Unavailable};
use super::occupancy::{self, Occupancy};
use super::set::{Entry, NoRoom, Payload, Place, Set, WAYS};
use crate::units::Timestamp;

/// The most attempts at an update.
///
/// An attempt fails only if another worker wrote the same line within the microsecond or two
/// between load and store. Even if 8 workers did nothing but write this line, an eighth of the
/// attempts would succeed, and 64 in a row would fail once in 5,000 times; real calls do other work
/// in between. 64 attempts take about 0.1 ms, which a worker can spare.
pub const MAX_TRIES: u32 = 64;

/// The most places of a table: 2^24, which need more than a gigabyte if all are in use.
pub const MOST_PLACES: u32 = 1 << 24;

/// The closure's decision on the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep it; nothing is written.
    Keep,
    /// Store this entry.
    Put(Entry),
}

/// The closure's answer, and the outcome of storing its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated<T> {
    /// The closure's answer in the run that was stored.
    pub value: T,
    /// The place of the state; a later correction must go to the same place.
    pub place: Place,
    /// How often another worker wrote first; a transaction counts that for all of its updates.
    pub retries: u32,
    /// The number of budgets in use that were evicted: 0 or 1.
    pub evicted: u32,
    /// Whether the closure's change was dropped, because it has no place.
    pub lost: bool,
}

/// The answer of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transacted<T> {
    /// The closure's answer in the run that was stored.
    pub value: T,
    /// How often another worker wrote first.
    pub retries: u32,
}

/// A line as it was read, to start the next transaction on it without reading it again.
#[derive(Debug)]
pub struct ReadLine {
    line: u32,
    bytes: Vec<u8>,
    cas: Cas,
}

/// The most lines to remember: those of callers whose limits have several lists of dimensions.
const MOST_READ_LINES: usize = 4;

/// The reason why an update failed; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Other workers wrote first every time.
    Contended {
        /// The number of attempts.
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
#[derive(Debug)]
pub struct Table<L> {
    lines: L,
    sets: u32,
    /// The fill level after the last update that took or freed a place, until it is read.
    occupancy: Cell<Option<Occupancy>>,
    /// Lines that were read ahead of their transactions.
    ahead: RefCell<Vec<ReadLine>>,
}

/// The states of one line, in one run of a transaction.
pub struct Entries<'s> {
    set: &'s mut Set,
    now: Timestamp,
    is_changed: bool,
}

impl Entries<'_> {
    /// Runs `f` on the state at `key`, and changes it. With `place`, it is the state where an
    /// earlier update of the same call was counted ([`Table::settle`]).
    pub fn update<T>(
        &mut self,
        key: &Key,
        place: Option<Place>,
        f: impl FnOnce(Option<&Payload>) -> (T, Change),
    ) -> Updated<T> {
        let (is_touch, place) = (place.is_none(), place.unwrap_or_else(|| self.set.place_for(key, self.now)));
        let (value, change) = f(self.set.payload(place, key));
        let Change::Put(entry) = change else {
            return Updated { value, place, retries: 0, evicted: 0, lost: false };
        };
        match self.set.put(place, key, &entry, is_touch, self.now) {
            Ok(evicted) => {
                self.is_changed = true;
                Updated { value, place, retries: 0, evicted, lost: false }
            }
            Err(NoRoom) => Updated { value, place, retries: 0, evicted: 1, lost: true },
        }
    }
}

impl<L: Lines> Table<L> {
    /// Creates a table over `lines` 0 up to `sets`, rounded up to a power of two (2^31 at most).
    /// The line behind them holds the count of places.
    ///
    /// All workers, and all versions that keep their balances, must use the same number, because
    /// another size puts entries in other places.
    #[must_use]
    pub fn new(lines: L, sets: u32) -> Self {
        let sets = sets.checked_next_power_of_two().unwrap_or(1 << 31);
        Self { lines, sets, occupancy: Cell::default(), ahead: RefCell::default() }
    }

    /// Returns the most lines that can be written.
    #[must_use]
    pub const fn sets(&self) -> u32 {
        self.sets
    }

    /// Runs `f` on the state at `key` (`None` for a new caller) and stores the result. Counts as a
    /// touch.
    ///
    /// `f` must be pure, because it runs again on the new state whenever another worker wrote
    /// first.
    ///
    /// # Errors
    /// [`Failure`]; then nothing was written, and no answer is valid.
    pub fn update<T>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        self.change(key, None, now, f)
    }

    /// Does the same as [`Table::update`] at the place where an earlier update of the same call was
    /// counted, and without a touch, so that a call and its settlement do not count as two calls.
    ///
    /// If the own entry was evicted meanwhile and has no place any more, `f` sees `None` and its
    /// result is lost; that counts as evicted. The result never goes to the shared entry, where the
    /// call was not counted.
    ///
    /// # Errors
    /// [`Failure`]; then nothing was written, and no answer is valid.
    pub fn settle<T>(
        &self,
        key: &Key,
        place: Place,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        self.change(key, Some(place), now, f)
    }

    /// Runs `f` on the states of the line of `key`, and stores all of their changes at once, or
    /// none: none if the answer is an error.
    ///
    /// `f` must be pure, because it runs again on the new states whenever another worker wrote
    /// first.
    ///
    /// # Errors
    /// [`Failure`]; then nothing was written, and no answer is valid.
    pub fn transact<T, E>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl Fn(&mut Entries<'_>) -> Result<T, E>,
    ) -> Result<Transacted<Result<T, E>>, Failure> {
        let line = self.line(key);
        let (mut ahead, mut retries) = (self.take_ahead(line), 0);
        while retries < MAX_TRIES {
            let was_ahead = ahead.is_some();
            let (bytes, cas) = match ahead.take() {
                Some(read) => (read.bytes, read.cas),
                None => self.lines.load(line)?,
            };
            let mut set = Set::read(bytes);
            let taken = set.places_taken();
            let mut entries = Entries { set: &mut set, now, is_changed: false };
            let value = f(&mut entries);
            if !entries.is_changed || value.is_err() {
                if was_ahead {
                    // Without a write nothing has shown that the line is still as it was.
                    continue;
                }
                return Ok(Transacted { value, retries });
            }
            match self.lines.store(line, set.bytes(), cas) {
                Ok(()) => {
                    self.count_places(set.places_taken().saturating_sub(taken));
                    return Ok(Transacted { value, retries });
                }
                Err(NotStored::Lost) => retries = retries.saturating_add(1),
                Err(NotStored::Unavailable) => return Err(Failure::Unavailable),
            }
        }
        Err(Failure::Contended { tries: MAX_TRIES })
    }

    /// Runs `f` on the state that [`Table::update`] would see; writes nothing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn peek<T>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl FnOnce(Option<&Payload>) -> T,
    ) -> Result<T, Failure> {
        let (set, _) = self.read(key)?;
        Ok(f(set.payload(set.place_for(key, now), key)))
    }

    /// Does the same, and remembers the line, so that the next transaction on it need not read it
    /// again. If another worker writes it meanwhile, the transaction notices.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn peek_ahead<T>(
        &self,
        key: &Key,
        now: Timestamp,
        f: impl FnOnce(Option<&Payload>) -> T,
    ) -> Result<T, Failure> {
        let (set, cas) = self.read(key)?;
        let value = f(set.payload(set.place_for(key, now), key));
        self.remember([ReadLine { line: self.line(key), bytes: set.into_bytes(), cas }]);
        Ok(value)
    }

    /// Remembers lines that an earlier event of the same call has read.
    pub fn remember(&self, lines: impl IntoIterator<Item = ReadLine>) {
        let Ok(mut ahead) = self.ahead.try_borrow_mut() else { return };
        for read in lines {
            ahead.retain(|known| known.line != read.line);
            if ahead.len() < MOST_READ_LINES {
                ahead.push(read);
            }
        }
    }

    /// Returns the lines that are remembered, for a later event of the same call.
    #[must_use]
    pub fn take_read_lines(&self) -> Vec<ReadLine> {
        self.ahead.take()
    }

    /// Returns whether the state at `key` is in an entry that callers share for lack of room.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn is_shared(&self, key: &Key, now: Timestamp) -> Result<bool, Failure> {
        let (set, _) = self.read(key)?;
        let place = set.place_for(key, now);
        Ok(place == Place::Shared && set.payload(place, key).is_some())
    }

    /// Returns the fill level, if an update has taken or freed a place since the last call.
    #[must_use]
    pub fn take_occupancy(&self) -> Option<Occupancy> {
        self.occupancy.take()
    }

    fn read(&self, key: &Key) -> Result<(Set, Cas), Failure> {
        let (bytes, cas) = self.lines.load(self.line(key))?;
        Ok((Set::read(bytes), cas))
    }

    fn change<T>(
        &self,
        key: &Key,
        place: Option<Place>,
        now: Timestamp,
        f: impl Fn(Option<&Payload>) -> (T, Change),
    ) -> Result<Updated<T>, Failure> {
        let changed =
            self.transact(key, now, |entries| Ok::<_, Infallible>(entries.update(key, place, &f)))?;
        let Transacted { value: Ok(updated), retries } = changed;
        Ok(Updated { retries, ..updated })
    }

    fn take_ahead(&self, line: u32) -> Option<ReadLine> {
        let mut ahead = self.ahead.try_borrow_mut().ok()?;
        let at = ahead.iter().position(|read| read.line == line)?;
        Some(ahead.swap_remove(at))
    }

    /// Records that an update has taken places, or freed them if `by` is negative.
    fn count_places(&self, by: i32) {
        if by == 0 {
            return;
        }
        if let Some(taken) = occupancy::add(&self.lines, self.sets, by) {
            self.occupancy.set(Some(Occupancy { taken, places: self.places() }));
        }
    }

    /// Returns the number of places for callers' own entries.
    fn places(&self) -> u32 {
        u32::try_from(WAYS).map_or(u32::MAX, |ways| self.sets.saturating_mul(ways))
    }

    fn line(&self, key: &Key) -> u32 {
        key.line & self.sets.saturating_sub(1)
    }
}

#[cfg(test)]
mod filling;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod tests;
