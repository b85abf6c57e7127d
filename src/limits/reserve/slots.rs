//! Renewing and releasing the slots of calls in flight.
//!
//! In: slots that calls have acquired. Out: slots renewed or released in their budgets. Not here:
//! how many there may be (`budget::in_flight`).
//!
//! A VM that traps releases nothing. Therefore every worker renews its slots regularly
//! ([`Slots::renew`]), and budgets forget slots that are not renewed.

use std::rc::Weak;

use crate::limits::budget::TERM;
use crate::limits::budgets::Budgets;
use crate::limits::reserve::correction::Correction;
use crate::limits::reserve::slot_list::{Slot, Slots};
use crate::units::{Amount, Span};

/// The interval at which slots are renewed: a third of a term, so that a worker may be late twice.
pub const RENEW_EVERY: Span = Span(TERM.0 / 3);

/// The most slots that a worker renews at once: about 10 µs each, so that it is away from its other
/// calls for a few milliseconds at most.
const AT_ONCE: usize = 256;

impl Slot {
    fn renew(&self, budgets: &Budgets<'_>) {
        let renewed_at = self.renewed_at.get();
        let renewed = budgets.change(self.limit.shape, &self.key, Some(self.place), |budget| {
            budget.renew(Amount(1), renewed_at);
            (budget.counted_at(), true)
        });
        // If the write fails, it is tried again before the term ends.
        if let Ok(renewed) = renewed {
            self.renewed_at.set(renewed.value);
        }
    }

    /// Returns the correction that releases the slot at the end of the call. If it fails, the
    /// budget forgets the slot, which is not renewed any more.
    pub(in crate::limits) fn release(&self) -> Correction {
        Correction {
            shape: self.limit.shape,
            key: self.key,
            place: self.place,
            counted_at: self.renewed_at.get(),
            amount: Amount(1),
            rest: Amount::ZERO,
            used: Amount::ZERO,
        }
    }
}

impl Slots {
    /// Renews the next slots, and returns whether these were the last of a round. Call it until it
    /// returns true, every [`RENEW_EVERY`] while there are slots.
    pub fn renew(&mut self, budgets: &Budgets<'_>) -> bool {
        let next = self.all.iter().skip(self.renewed).take(AT_ONCE);
        next.filter_map(Weak::upgrade).for_each(|slot| slot.renew(budgets));
        self.renewed = self.renewed.saturating_add(AT_ONCE);
        let is_done = self.renewed >= self.all.len();
        if is_done {
            self.tidy();
        }
        is_done
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
