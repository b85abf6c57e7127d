//! Moments promised one behind the other: the arithmetic of a queue.
//!
//! In: a budget, amounts, the time; the promises of each term. Out: the next moment to promise, and
//! the amount that newcomers must leave. Not here: the storage of queues (`queue`).
//!
//! Two promises lie apart by the time that the limit takes to give back the expected charge of the
//! later call. In a calendar window all that fit are due at its start. A client does not announce
//! that it will stay away, so a promise counts until its term is over: the queue stores totals, and
//! each term its promises.

use crate::config::Ratio;
use crate::limits::budget::token_bucket::TokenBucket;
use crate::limits::budget::window;
use crate::limits::budget::{Algorithm, Budget, Shape, Wait};
use crate::units::{Amount, Product, Span, Timestamp};

/// The most that a caller may be late for its promise. `retry-after` is in whole seconds, and calls
/// take a while to arrive.
const GRACE: Span = Span::from_secs(2);

/// The furthest moment that is promised. Few clients wait for an hour, and this bounds the harm of
/// clients who never come back to others of the same budget.
const FARTHEST: Span = Span::from_secs(3600);

/// The most calls in a queue, so that refused calls fill only a little of the table.
const LONGEST: u32 = 1_000;

/// The queue forgets promises by terms of this length.
const TERM: Span = Span::from_secs(2);

/// The longest time for which a promise still counts after its moment.
pub(in crate::limits) const COUNTS_FOR: Span = Span::from_secs(4);
const _: () = assert!(COUNTS_FOR.0 == GRACE.0 + TERM.0);

/// The most terms that the queue reads at once: twice the number that promises can be in.
const MOST_TERMS: u64 = 3_600;

/// Newcomers leave no more than the limit gives back in this time. A client waits for a minute
/// (`reply`), so a promise further ahead must not keep a budget idle that others could use.
const KEPT_FOR: Span = Span::from_secs(60);

/// Each caller who comes or stays away moves the expected share of comers by an eighth of the
/// difference.
const STEP: u64 = 8;

/// The lowest expected share of comers, so that the queue soon trusts a crowd that obeys.
const LEAST_TAKEN_UP: Ratio = Ratio { ppm: 1_000_000 / 64 };

/// The part of the promised amount that the queue spares: an eighth, and at most a sixteenth of a
/// bucket's capacity. Without it, one call that uses more than expected, or ends later, would break
/// every promise behind it.
const SPARE: u64 = 8;

/// All promises of one budget together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Queue {
    /// The expected charges of the promised calls.
    pub(in crate::limits) owed: Amount,
    /// The amount that they will hold.
    pub(in crate::limits) held: Amount,
    /// The last promised moment.
    pub(in crate::limits) end: Timestamp,
    /// The first term whose promises still count.
    pub(in crate::limits) from: u64,
    pub(in crate::limits) count: u32,
    /// The share of the promised amounts that is taken up, as the queue has seen.
    pub(in crate::limits) taken_up: Ratio,
}

/// The expected amounts of one promised call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Expected {
    /// Its expected charge.
    pub(in crate::limits) owed: Amount,
    /// The amount held for it meanwhile. It passes only if that fits.
    pub(in crate::limits) held: Amount,
}

/// The promises of one term, which are forgotten together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Term {
    pub(in crate::limits) owed: Amount,
    pub(in crate::limits) held: Amount,
    pub(in crate::limits) count: u64,
    /// The time after which it is not read any more.
    pub(in crate::limits) until: Timestamp,
}

/// A promised moment, and the amount that it makes unusable for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Promise {
    pub(in crate::limits) due: Timestamp,
    /// The rest of a calendar window that the call does not fit into.
    pub(in crate::limits) rest: Amount,
}

impl Term {
    pub(in crate::limits) fn add(&mut self, call: &Expected) {
        self.add_amounts(call);
        self.count = self.count.saturating_add(1);
    }

    pub(in crate::limits) fn add_amounts(&mut self, call: &Expected) {
        self.owed += call.owed;
        self.held += call.held;
    }

    pub(in crate::limits) fn remove(&mut self, call: &Expected) {
        self.owed = self.owed - call.owed;
        self.held = self.held - call.held;
        self.count = self.count.saturating_sub(1);
    }
}

impl Expected {
    /// Returns the amounts of a call that holds `held` and is expected to be charged `charged`.
    pub(in crate::limits) fn of(shape: &Shape, held: Amount, charged: Amount) -> Self {
        // Calls that come together at the start of a calendar window cannot rely on refunds of
        // others.
        Self { owed: if is_by_window(shape) { held } else { charged.max(Amount(1)) }, held }
    }
}

impl Queue {
    pub(in crate::limits) const EMPTY: Self = Self {
        owed: Amount::ZERO,
        held: Amount::ZERO,
        end: Timestamp(0),
        from: 0,
        count: 0,
        taken_up: Ratio::ONE,
    };

    /// Returns the queue as it is `now`: without the missed promises, which `term` reads.
    pub(in crate::limits) fn seen(mut self, now: Timestamp, term: impl Fn(u64) -> Option<Term>) -> Self {
        let first = first_term(now);
        // A queue beyond the furthest promise is from a clock that was set back, or of another
        // shape.
        let is_credible = self.end <= now + FARTHEST && first.saturating_sub(self.from) <= MOST_TERMS;
        if self.count == 0 || !is_credible {
            return Self { taken_up: self.taken_up, from: first, ..Self::EMPTY };
        }
        for forgotten in (self.from..first).filter_map(term) {
            self.owed = self.owed - forgotten.owed;
            self.held = self.held - forgotten.held;
            self.count = self.count.saturating_sub(u32::try_from(forgotten.count).unwrap_or(u32::MAX));
            (0..forgotten.count.min(64)).for_each(|_| {
                let less = self.taken_up.ppm.saturating_sub(self.taken_up.ppm / STEP);
                self.taken_up = Ratio { ppm: less }.max(LEAST_TAKEN_UP);
            });
        }
        self.from = self.from.max(first);
        self
    }

    /// Returns the amount of the budget that newcomers must leave: the promised amount, less the
    /// refill before it is due.
    pub(in crate::limits) fn keeps(&self, shape: &Shape, now: Timestamp) -> Amount {
        if self.count == 0 {
            return Amount::ZERO;
        }
        let due = self.expected(shape) - given_back(shape, now, self.end);
        // A call passes only if all that it holds fits.
        let kept = Amount(Product::of(due.0, self.held.0).div_ceil(self.owed.0.max(1))).max(due);
        // At its start a calendar window gives back what promises reserve then.
        if is_by_window(shape) { kept } else { kept.min(given_back(shape, now, now + KEPT_FOR)) }
    }

    /// Returns the moment to promise to a call that needs this room, behind all others, or `None`
    /// if it never fits.
    pub(in crate::limits) fn next(
        &self,
        budget: &Budget,
        shape: &Shape,
        room: Amount,
        now: Timestamp,
    ) -> Option<Promise> {
        let Wait::For(wait) = budget.wait_for(room) else { return None };
        if self.count == 0 {
            return Some(Promise { due: now + wait, rest: Amount::ZERO });
        }
        if is_by_window(shape) {
            let mut later = *budget;
            later.charge(self.expected(shape));
            let booked = later.reserve_within(room, Span::MAX).ok()?;
            return Some(Promise { due: now + booked.wait, rest: booked.rest });
        }
        // The rest of a bucket shortens its queue. A window cannot save its rest; that is for
        // newcomers.
        let left = match shape.algorithm {
            Algorithm::TokenBucket => budget.available() - room,
            _ => Amount::ZERO,
        };
        Some(Promise { due: now + wait + time_for(shape, self.expected(shape) - left), rest: Amount::ZERO })
    }

    /// Returns whether it has no place for one more promise.
    pub(in crate::limits) const fn is_full(&self) -> bool {
        self.count >= LONGEST
    }

    /// Adds a promise.
    pub(in crate::limits) fn add(&mut self, promise: &Promise, call: &Expected) {
        self.owed += call.owed + promise.rest;
        self.held += call.held + promise.rest;
        self.count = self.count.saturating_add(1);
        self.end = self.end.max(promise.due);
    }

    /// Removes a promise that was taken up.
    pub(in crate::limits) fn take_up(&mut self, call: &Expected) {
        self.owed = self.owed - call.owed;
        self.held = self.held - call.held;
        self.count = self.count.saturating_sub(1);
        let missing = Ratio::ONE.ppm.saturating_sub(self.taken_up.ppm);
        self.taken_up.ppm = self.taken_up.ppm.saturating_add(missing.div_ceil(STEP));
    }

    /// Returns the expected charge of all promises, plus a part spared for the unforeseen.
    fn expected(&self, shape: &Shape) -> Amount {
        let (expected, count) = (self.taken_up.of(self.owed.0), u64::from(self.count).max(1));
        let mean = |amount: u64| amount.checked_div(count).unwrap_or(0);
        // Behind the first call, which is told exactly when it fits.
        let behind = expected.saturating_sub(mean(expected));
        let spared = match shape.algorithm {
            // An eighth, as long as the bucket can save it, and little more.
            Algorithm::TokenBucket => {
                (behind / SPARE).min(shape.capacity().0 / SPARE / 2).saturating_add(behind / SPARE / 4)
            }
            // A window cannot save anything for the next, so the amount to leave always makes it
            // smaller.
            Algorithm::SlidingWindow => {
                let unused = mean(self.held.0.saturating_sub(self.owed.0)).saturating_mul(2);
                let whole = mean(self.held.0).saturating_mul(3) / 4;
                let left = (shape.max.0 / SPARE / 2).saturating_add(unused).saturating_add(whole);
                let left = left.min(shape.max.0 / 2);
                times(behind, left, shape.max.0.saturating_sub(left))
            }
            Algorithm::FixedWindow | Algorithm::InFlight => 0,
        };
        Amount(expected.saturating_add(spared))
    }
}

/// Returns the term that contains a moment.
pub(in crate::limits) fn term_of(at: Timestamp) -> u64 {
    at.0.checked_div(TERM.0).unwrap_or(0)
}

/// Returns the first term that still counts.
pub(in crate::limits) fn first_term(now: Timestamp) -> u64 {
    term_of(Timestamp(now.0.saturating_sub(GRACE.0)))
}

/// Returns whether a moment is too far ahead to be promised.
pub(in crate::limits) fn is_too_far(due: Timestamp, now: Timestamp) -> bool {
    due > now + FARTHEST
}

/// Returns whether the limit gives back all of a window at once.
fn is_by_window(shape: &Shape) -> bool {
    shape.algorithm == Algorithm::FixedWindow
}

/// Returns the amount that the limit gives back between two moments.
fn given_back(shape: &Shape, from: Timestamp, to: Timestamp) -> Amount {
    if is_by_window(shape) {
        return shape.max.times(window::index(shape, to).saturating_sub(window::index(shape, from)));
    }
    Amount(times(to.since(from).0, shape.max.0, shape.window_nanos()))
}

/// Returns the time that the limit takes to give an amount back, like a bucket that lacks it.
fn time_for(shape: &Shape, amount: Amount) -> Span {
    let bucket = TokenBucket { spent: amount.0, ..TokenBucket::full(Timestamp(0)) };
    bucket.until_spent(shape, 0).unwrap_or(Span::MAX)
}

/// Multiplies by a fraction, rounded down.
fn times(number: u64, numerator: u64, denominator: u64) -> u64 {
    Product::of(number, numerator).div_rem(denominator).0
}
