//! Calls in flight, and who speaks for them: a call counts for as long as its worker says so.
//!
//! In: places that calls have taken. Out: places given back, or spoken for again. Not here: how many there may be (`in_flight`).
//!
//! A VM that traps gives nothing back. So every worker speaks for its calls again and again ([`Flights::renew`]), and those that nobody
//! speaks for are forgotten.

use core::cell::Cell;
use std::rc::{Rc, Weak};

use super::in_flight::TERM;
use super::ledger::Ledger;
use super::limit::Limit;
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// How often calls are to be spoken for: three times in a term, so that a worker may be late twice.
pub const RENEW_EVERY: Span = Span(TERM.0 / 3);

/// The place that a call in flight has taken in one budget.
#[derive(Debug)]
pub(super) struct Flight {
    limit: Rc<Limit>,
    key: Key,
    place: Place,
    spoken_for: Cell<Timestamp>,
}

impl Flight {
    pub(super) const fn new(limit: Rc<Limit>, key: Key, place: Place, at: Timestamp) -> Self {
        Self { limit, key, place, spoken_for: Cell::new(at) }
    }

    fn renew(&self, ledger: &Ledger<'_>) {
        let spoken_for = self.spoken_for.get();
        let renewed = ledger.change(self.limit.shape, &self.key, Some(self.place), |budget| {
            budget.speak_for(Amount(1), spoken_for);
            (budget.counted_at(), true)
        });
        // What cannot be written now is tried again before the term ends.
        if let Ok(renewed) = renewed {
            self.spoken_for.set(renewed.value);
        }
    }

    /// The call has ended.
    pub(super) fn land(&self, ledger: &Ledger<'_>) {
        let spoken_for = self.spoken_for.get();
        let landed = ledger.change(self.limit.shape, &self.key, Some(self.place), |budget| {
            let returned = budget.refund(Amount(1), spoken_for);
            ((), !returned.is_zero())
        });
        if landed.is_err() {
            // Nobody speaks for it any more, so that it is forgotten by itself.
            ledger.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(1));
        }
    }
}

/// The calls in flight of one worker.
#[derive(Debug, Default)]
pub struct Flights {
    all: Vec<Weak<Flight>>,
    /// How many there may be before those that have ended are looked for.
    look_at: usize,
    /// How many of them have been spoken for in the present round.
    spoken_for: usize,
}

/// How many calls are kept in the list at least before it is tidied.
const FEW: usize = 64;

/// For how many calls a worker speaks at once: some 10 us each, so that it is away from its other calls for a few milliseconds at most.
const AT_ONCE: usize = 256;

impl Flights {
    pub(super) fn add(&mut self, flight: &Rc<Flight>) {
        if self.all.len() >= self.look_at.max(FEW) {
            self.tidy();
        }
        self.all.push(Rc::downgrade(flight));
    }

    /// Forgets those that have ended. A round that had begun begins anew.
    fn tidy(&mut self) {
        self.all.retain(|flight| flight.strong_count() > 0);
        self.look_at = self.all.len().saturating_mul(2);
        self.spoken_for = 0;
    }

    /// Whether there are any, as far as is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Speaks for the next of them, and says whether that was the last of a round; to be called until it is, every [`RENEW_EVERY`] while
    /// there are any.
    pub fn renew(&mut self, ledger: &Ledger<'_>) -> bool {
        let next = self.all.iter().skip(self.spoken_for).take(AT_ONCE);
        next.filter_map(Weak::upgrade).for_each(|flight| flight.renew(ledger));
        self.spoken_for = self.spoken_for.saturating_add(AT_ONCE);
        let is_done = self.spoken_for >= self.all.len();
        if is_done {
            self.tidy();
        }
        is_done
    }
}

#[cfg(test)]
#[path = "flights_tests.rs"]
mod tests;
