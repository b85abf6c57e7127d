//! Access to budgets during one event of an exchange: the table, the time, and a tally of the
//! table's work.
//!
//! In: a table and `now`. Out: budgets opened, changed and stored. Not here: which budgets
//! (`reserve`).

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::budget::{Budget, Shape};
use super::limit::{Limit, Subject};
use super::reserve::slot_list::{Slot, Slots};
use crate::store::{Change, Failure, Key, KeyHasher, Lines, Occupancy, Place, Table, Updated};
use crate::units::Timestamp;

/// Access to budgets at one moment.
pub struct Budgets<'a> {
    pub(super) table: &'a Table<&'a dyn Lines>,
    pub(super) keys: &'a KeyHasher,
    pub(super) now: Timestamp,
    tally: Cell<Tally>,
    slots: Option<&'a RefCell<Slots>>,
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

impl<'a> Budgets<'a> {
    /// Returns access to the budgets of a table, `now`.
    #[must_use]
    pub fn new(table: &'a Table<&'a dyn Lines>, keys: &'a KeyHasher, now: Timestamp) -> Self {
        Self { table, keys, now, tally: Cell::default(), slots: None }
    }

    /// Adds a list for acquired slots; the list's owner renews them.
    #[must_use]
    pub fn with_slots(self, slots: &'a RefCell<Slots>) -> Self {
        Self { slots: Some(slots), ..self }
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

    /// Changes a budget, and stores the change if `change` says so. `change` runs again whenever
    /// another worker wrote first.
    pub(super) fn change<T>(
        &self,
        shape: Shape,
        key: &Key,
        place: Option<Place>,
        change: impl Fn(&mut Budget) -> (T, bool),
    ) -> Result<Updated<T>, Failure> {
        let run = |stored: Option<&_>| {
            let mut budget = Budget::open(shape, stored, self.now);
            let (answer, changed) = change(&mut budget);
            (answer, if changed { Change::Put(budget.entry()) } else { Change::Keep })
        };
        let updated = match place {
            None => self.table.update(key, self.now, run),
            Some(place) => self.table.settle(key, place, self.now, run),
        };
        self.count(|tally| match &updated {
            Ok(Updated { retries, evicted, place, .. }) => {
                tally.retries = tally.retries.saturating_add(u64::from(*retries));
                tally.evictions = tally.evictions.saturating_add(u64::from(*evicted));
                tally.overflows = tally.overflows.saturating_add(u64::from(*place == Place::Shared));
            }
            Err(Failure::Contended { tries }) => {
                tally.retries = tally.retries.saturating_add(u64::from(*tries));
            }
            Err(Failure::Unavailable) => {}
        });
        updated
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
