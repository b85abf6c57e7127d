//! Access to budgets during one event of an exchange: the table, the time, and a tally of the
//! table's work.
//!
//! In: a table and `now`. Out: budgets opened, changed and stored. Not here: which budgets
//! (`reserve`).

use core::cell::{Cell, RefCell, RefMut};
use core::convert::Infallible;
use std::rc::Rc;

use super::budget::{Budget, Shape};
use super::limit::{Limit, Subject};
use super::remembered::recent::RecentRecords;
use super::reserve::slot_list::{Slot, Slots};
use crate::store::{
    Change, Entries, Failure, Key, KeyHasher, Lines, Occupancy, Place, ReadLine, Table, Transacted, Updated,
};
use crate::units::Timestamp;

/// Access to budgets at one moment.
pub struct Budgets<'a> {
    pub(super) table: &'a Table<&'a dyn Lines>,
    pub(super) keys: &'a KeyHasher,
    pub(super) now: Timestamp,
    tally: Cell<Tally>,
    slots: Option<&'a RefCell<Slots>>,
    recent: Option<&'a RefCell<RecentRecords>>,
}

/// A tally of the table's work, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes repeated because another worker came first.
    pub retries: u64,
    /// Budgets in use that made room for others.
    pub evictions: u64,
    /// Charges to budgets that callers share for lack of room.
    pub overflows: u64,
    /// Budgets that could not be read or written before a call.
    pub failed_reservations: u64,
    /// Budgets that could not be settled after a call.
    pub failed_settlements: u64,
    /// The fill level of the table, if a place was taken or freed.
    pub occupancy: Option<Occupancy>,
}

/// Budgets in one line of the table, which change together.
pub(super) struct Together<'e, 's> {
    entries: &'e mut Entries<'s>,
    now: Timestamp,
    evictions: u64,
    overflows: u64,
}

impl Together<'_, '_> {
    /// Changes a budget if `change` says so. Charges of an earlier event are at their `place`.
    pub(super) fn change<T>(
        &mut self,
        shape: Shape,
        key: &Key,
        place: Option<Place>,
        change: impl FnOnce(&mut Budget) -> (T, bool),
    ) -> Updated<T> {
        let now = self.now;
        let updated = self.entries.update(key, place, |stored| {
            let mut budget = Budget::open(shape, stored, now);
            let (answer, changed) = change(&mut budget);
            (answer, if changed { Change::Put(budget.entry()) } else { Change::Keep })
        });
        self.evictions = self.evictions.saturating_add(u64::from(updated.evicted));
        self.overflows = self.overflows.saturating_add(u64::from(updated.place == Place::Shared));
        updated
    }
}

impl<'a> Budgets<'a> {
    /// Returns access to the budgets of a table, `now`.
    #[must_use]
    pub fn new(table: &'a Table<&'a dyn Lines>, keys: &'a KeyHasher, now: Timestamp) -> Self {
        Self { table, keys, now, tally: Cell::default(), slots: None, recent: None }
    }

    /// Adds a list for acquired slots; the list's owner renews them.
    #[must_use]
    pub fn with_slots(self, slots: &'a RefCell<Slots>) -> Self {
        Self { slots: Some(slots), ..self }
    }

    /// Adds the memory of records that this worker has read lately.
    #[must_use]
    pub fn with_recent(self, recent: &'a RefCell<RecentRecords>) -> Self {
        Self { recent: Some(recent), ..self }
    }

    pub(super) fn recent(&self) -> Option<RefMut<'a, RecentRecords>> {
        self.recent?.try_borrow_mut().ok()
    }

    pub(super) fn watch(&self, slot: &Rc<Slot>) {
        if let Some(mut slots) = self.slots.and_then(|slots| slots.try_borrow_mut().ok()) {
            slots.add(slot);
        }
    }

    /// Returns the time at which budgets are read.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns the tally since the last call.
    #[must_use]
    pub fn take_tally(&self) -> Tally {
        Tally { occupancy: self.table.take_occupancy(), ..self.tally.take() }
    }

    /// Changes budgets in the line of `key`, and stores all changes, or none if the answer is an
    /// error. `change` runs again whenever another worker wrote first.
    pub(super) fn transact<T, E>(
        &self,
        key: &Key,
        change: impl Fn(&mut Together<'_, '_>) -> Result<T, E>,
    ) -> Result<Result<T, E>, Failure> {
        let run = |entries: &mut Entries<'_>| {
            let mut together = Together { entries, now: self.now, evictions: 0, overflows: 0 };
            let changed = change(&mut together);
            let Together { evictions, overflows, .. } = together;
            match changed {
                Ok(value) => Ok((value, evictions, overflows)),
                Err(error) => Err((error, overflows)),
            }
        };
        let transacted = self.table.transact(key, self.now, run);
        let retries = match &transacted {
            Ok(Transacted { retries, .. }) => *retries,
            Err(Failure::Contended { tries }) => *tries,
            Err(Failure::Unavailable) => 0,
        };
        self.count(|tally| tally.retries = tally.retries.saturating_add(u64::from(retries)));
        Ok(match transacted?.value {
            Ok((value, evictions, overflows)) => {
                self.count_places(evictions, overflows);
                Ok(value)
            }
            Err((error, overflows)) => {
                self.count_places(0, overflows);
                Err(error)
            }
        })
    }

    /// Changes a budget, and stores the change if `change` says so. `change` runs again whenever
    /// another worker wrote first.
    pub(super) fn change<T>(
        &self,
        shape: Shape,
        key: &Key,
        place: Option<Place>,
        change: impl Fn(&mut Budget) -> (T, bool),
    ) -> Result<Updated<T>, Failure> {
        let Ok(updated) =
            self.transact(key, |together| Ok::<_, Infallible>(together.change(shape, key, place, &change)))?;
        Ok(updated)
    }

    fn count_places(&self, evictions: u64, overflows: u64) {
        if evictions > 0 || overflows > 0 {
            self.count(|tally| {
                tally.evictions = tally.evictions.saturating_add(evictions);
                tally.overflows = tally.overflows.saturating_add(overflows);
            });
        }
    }

    /// Reads a budget that is about to be changed, and remembers its line.
    pub(super) fn look_ahead<T>(
        &self,
        shape: Shape,
        key: &Key,
        look: impl FnOnce(&Budget) -> T,
    ) -> Result<T, Failure> {
        self.table.peek_ahead(key, self.now, |stored| look(&Budget::open(shape, stored, self.now)))
    }

    /// Returns the lines that were read ahead, for the next event of the same call.
    #[must_use]
    pub fn take_read_lines(&self) -> Vec<ReadLine> {
        self.table.take_read_lines()
    }

    /// Remembers lines that an earlier event of the same call has read ahead.
    pub fn remember(&self, lines: Vec<ReadLine>) {
        self.table.remember(lines);
    }

    /// Reads a budget.
    pub(super) fn look<T>(
        &self,
        shape: Shape,
        key: &Key,
        look: impl FnOnce(&Budget) -> T,
    ) -> Result<T, Failure> {
        self.table.peek(key, self.now, |stored| look(&Budget::open(shape, stored, self.now)))
    }

    /// Returns whether a limit's budget for this subject is one that callers share because the
    /// table has no place for them. If it is, counts an overflow for this event.
    #[must_use]
    pub fn overflows(&self, limit: &Limit, subject: &Subject<'_>) -> bool {
        let is_shared = self.table.is_shared(&limit.key(self.keys, subject), self.now).unwrap_or(false);
        if is_shared {
            self.count(|tally| tally.overflows = tally.overflows.max(1));
        }
        is_shared
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        change(&mut tally);
        self.tally.set(tally);
    }
}
