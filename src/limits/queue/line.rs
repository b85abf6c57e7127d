//! Moments promised one behind the other: the arithmetic of a queue.
//!
//! In: a budget, amounts, the time; what is promised for each term. Out: the next moment to
//! promise, and what newcomers must leave. Not here: where queues are stored (`queue`).
//!
//! Two promises lie apart by the time that the limit takes to give back what the later call is
//! expected to be charged. In a calendar window all that fit are due at its start. A client does
//! not say that it will stay away, so a promise counts until its term is over: the queue holds
//! totals, and each term the promises in it.

use crate::config::Ratio;
use crate::limits::budget::token_bucket::TokenBucket;
use crate::limits::budget::window;
use crate::limits::budget::{Algorithm, Budget, Shape, Wait};
use crate::units::{Amount, Span, Timestamp};

/// The most that a caller may be late for its promise: `retry-after` is in whole seconds, and calls
/// take a while to arrive.
const GRACE: Span = Span::from_secs(2);

/// The farthest moment that is promised. Few clients wait for an hour, and this bounds the harm
/// that clients who never come back do to others of the same budget.
const FARTHEST: Span = Span::from_secs(3600);

/// The most calls in a queue, so that refused calls fill only a little of the table.
const LONGEST: u32 = 1_000;

/// The queue forgets promises by terms of this length.
const TERM: Span = Span::from_secs(2);

/// The time that a promise still counts after its moment, at most.
pub(in crate::limits) const COUNTS_FOR: Span = Span::from_secs(4);
const _: () = assert!(COUNTS_FOR.0 == GRACE.0 + TERM.0);

/// The most terms that the queue reads at once: as many as promises can be in, twice.
const MOST_TERMS: u64 = 3_600;

/// Newcomers leave no more than what the limit gives back in this time. A client waits for a minute
/// (`reply`), so a promise farther ahead must not keep a budget idle that others could use.
const KEPT_FOR: Span = Span::from_secs(60);

/// Each caller who comes, or stays away, moves the expected share of those who come by an eighth of
/// the difference.
const STEP: u64 = 8;

/// The least expected share of callers who come, so that the queue soon believes a crowd that
/// obeys.
const LEAST_TAKEN_UP: Ratio = Ratio { ppm: 1_000_000 / 64 };

/// The part of what is promised that the queue spares: an eighth, and of a bucket's capacity a
/// sixteenth at most. Without it, one call that uses more than expected, or ends later, would break
/// every promise behind it.
const SPARE: u64 = 8;

/// All promises of one budget together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Queue {
    /// The amount that the promised calls are expected to be charged.
    pub(in crate::limits) owed: Amount,
    /// The amount that will be held for them.
    pub(in crate::limits) held: Amount,
    /// The last promised moment.
    pub(in crate::limits) end: Timestamp,
    /// The first term whose promises still count.
    pub(in crate::limits) from: u64,
    pub(in crate::limits) count: u32,
    /// How much of what is promised is taken up, by what the queue has seen.
    pub(in crate::limits) taken_up: Ratio,
}

/// The expected amounts of one promised call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Expected {
    /// The amount that it will be charged.
    pub(in crate::limits) owed: Amount,
    /// The amount held for it meanwhile: it passes only where that fits.
    pub(in crate::limits) held: Amount,
}

/// The promises of one term: they are forgotten together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Term {
    pub(in crate::limits) owed: Amount,
    pub(in crate::limits) held: Amount,
    pub(in crate::limits) count: u64,
    /// When it need not be read any more.
    pub(in crate::limits) until: Timestamp,
}

/// A moment, and what else becomes unusable for others by it.
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
    /// A call that holds an amount and is expected to be charged another.
    pub(in crate::limits) fn of(shape: &Shape, held: Amount, charged: Amount) -> Self {
        // Calls that come together at the start of a calendar window cannot rely on what others
        // will give back.
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

    /// The queue as it is `now`: without the promises that nobody came for, of which `term` tells.
    pub(in crate::limits) fn seen(mut self, now: Timestamp, term: impl Fn(u64) -> Option<Term>) -> Self {
        let first = first_term(now);
        // A queue beyond what is ever promised is from a clock that has been set back, or of
        // another shape.
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

    /// The amount that newcomers must leave of the budget: what is promised, and not given back
    /// before it is due.
    pub(in crate::limits) fn keeps(&self, shape: &Shape, now: Timestamp) -> Amount {
        if self.count == 0 {
            return Amount::ZERO;
        }
        let due = self.expected(shape) - given_back(shape, now, self.end);
        // A call passes only where all that is held for it fits.
        let held = u128::from(due.0).saturating_mul(u128::from(self.held.0));
        let held = held.div_ceil(u128::from(self.owed.0).max(1));
        let kept = Amount(u64::try_from(held).unwrap_or(u64::MAX)).max(due);
        // A calendar window gives back at its start what promises keep then.
        if is_by_window(shape) { kept } else { kept.min(given_back(shape, now, now + KEPT_FOR)) }
    }

    /// When to promise a call that it passes that needs so much room, behind all others; none if it
    /// never does.
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
        // What a bucket has left shortens its queue. A window cannot keep it: it is for newcomers.
        let left = match shape.algorithm {
            Algorithm::TokenBucket => budget.available() - room,
            _ => Amount::ZERO,
        };
        Some(Promise { due: now + wait + time_for(shape, self.expected(shape) - left), rest: Amount::ZERO })
    }

    /// Whether it has no place for one more promise.
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

    /// A promise has been taken up.
    pub(in crate::limits) fn take_up(&mut self, call: &Expected) {
        self.owed = self.owed - call.owed;
        self.held = self.held - call.held;
        self.count = self.count.saturating_sub(1);
        let missing = Ratio::ONE.ppm.saturating_sub(self.taken_up.ppm);
        self.taken_up.ppm = self.taken_up.ppm.saturating_add(missing.div_ceil(STEP));
    }

    /// The amount that will be charged of what is promised, with a part spared for the unforeseen.
    fn expected(&self, shape: &Shape) -> Amount {
        let (expected, count) = (self.taken_up.of(self.owed.0), u64::from(self.count).max(1));
        let mean = |amount: u64| amount.checked_div(count).unwrap_or(0);
        // Behind the first call: it is told exactly when it fits.
        let behind = expected.saturating_sub(mean(expected));
        let spared = match shape.algorithm {
            // An eighth, as long as the bucket can keep it, and little more.
            Algorithm::TokenBucket => {
                (behind / SPARE).min(shape.capacity().0 / SPARE / 2).saturating_add(behind / SPARE / 4)
            }
            // A window cannot keep anything for the next: what is to be left always makes it
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

/// The term that a moment is in.
pub(in crate::limits) fn term_of(at: Timestamp) -> u64 {
    at.0.checked_div(TERM.0).unwrap_or(0)
}

/// The first term that still counts.
pub(in crate::limits) fn first_term(now: Timestamp) -> u64 {
    term_of(Timestamp(now.0.saturating_sub(GRACE.0)))
}

/// Whether a moment is too far ahead to be promised.
pub(in crate::limits) fn is_too_far(due: Timestamp, now: Timestamp) -> bool {
    due > now + FARTHEST
}

/// Whether the limit gives back all of a window at once.
fn is_by_window(shape: &Shape) -> bool {
    shape.algorithm == Algorithm::FixedWindow
}

/// The amount that the limit gives back between two moments.
fn given_back(shape: &Shape, from: Timestamp, to: Timestamp) -> Amount {
    if is_by_window(shape) {
        return shape.max.times(window::index(shape, to).saturating_sub(window::index(shape, from)));
    }
    Amount(times(to.since(from).0, shape.max.0, shape.window_nanos()))
}

/// How long the limit takes to give an amount back: as long as a bucket that lacks it.
fn time_for(shape: &Shape, amount: Amount) -> Span {
    let bucket = TokenBucket { spent: amount.0, ..TokenBucket::full(Timestamp(0)) };
    bucket.until_spent(shape, 0).unwrap_or(Span::MAX)
}

/// A number times a fraction, rounded down.
fn times(number: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(number).saturating_mul(u128::from(numerator));
    let quotient = product.checked_div(u128::from(denominator)).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}
