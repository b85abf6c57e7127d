//! One worker's list of the slots of its calls in flight.
//!
//! In: slots that were acquired. Out: those that still live. Not here: writing to budgets
//! (`slots`).

use core::cell::Cell;
use std::rc::{Rc, Weak};

use crate::limits::limit::Limit;
use crate::store::{Key, Place};
use crate::units::Timestamp;

/// The slot of a call in flight in one budget.
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
    /// The length of the list at which ended slots are removed.
    look_at: usize,
    /// The number of slots renewed in the present round.
    pub(super) renewed: usize,
}

/// The list is not tidied below this length.
pub(super) const FEW: usize = 64;

impl Slots {
    pub(in crate::limits) fn add(&mut self, slot: &Rc<Slot>) {
        if self.all.len() >= self.look_at.max(FEW) {
            self.tidy();
        }
        self.all.push(Rc::downgrade(slot));
    }

    /// Removes ended slots. A round under way starts over.
    pub(super) fn tidy(&mut self) {
        self.all.retain(|slot| slot.strong_count() > 0);
        self.look_at = self.all.len().saturating_mul(2);
        self.renewed = 0;
    }

    /// Returns whether the list is empty; it may still contain ended slots.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
