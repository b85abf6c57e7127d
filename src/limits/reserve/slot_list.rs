//! The slots that calls in flight hold, as one worker keeps them.
//!
//! In: slots that were acquired. Out: those that still live. Not here: what is written to budgets
//! (`slots`).

use core::cell::Cell;
use std::rc::{Rc, Weak};

use crate::limits::limit::Limit;
use crate::store::{Key, Place};
use crate::units::Timestamp;

/// The slot that a call in flight holds in one budget.
#[derive(Debug)]
pub(in crate::limits) struct Slot {
    pub(super) limit: Rc<Limit>,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) renewed_at: Cell<Timestamp>,
}

impl Slot {
    pub(in crate::limits) const fn new(limit: Rc<Limit>, key: Key, place: Place, at: Timestamp) -> Self {
        Self { limit, key, place, renewed_at: Cell::new(at) }
    }
}

/// The slots of one worker's calls in flight.
#[derive(Debug, Default)]
pub struct Slots {
    pub(super) all: Vec<Weak<Slot>>,
    /// How many there may be before those that have ended are looked for.
    look_at: usize,
    /// How many of them have been renewed in the present round.
    pub(super) renewed: usize,
}

/// How many calls are kept in the list at least before it is tidied.
pub(super) const FEW: usize = 64;

impl Slots {
    pub(in crate::limits) fn add(&mut self, slot: &Rc<Slot>) {
        if self.all.len() >= self.look_at.max(FEW) {
            self.tidy();
        }
        self.all.push(Rc::downgrade(slot));
    }

    /// Forgets those that have ended. A round that had begun begins anew.
    pub(super) fn tidy(&mut self) {
        self.all.retain(|slot| slot.strong_count() > 0);
        self.look_at = self.all.len().saturating_mul(2);
        self.renewed = 0;
    }

    /// Whether there are any, as far as is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
