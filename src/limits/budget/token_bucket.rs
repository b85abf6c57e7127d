//! The token bucket: `max` per window flows back continuously, and at most `burst` can be spent at
//! once.
//!
//! In: charges and refunds, the time that passed. Out: the amount spent, and the time until it is
//! less. It stores the amount *missing* from a full bucket, so that a debt is no special case and a
//! changed `burst` keeps the charges. Not here: which time counts and what may be reserved
//! (`budget`).

use super::shape::Shape;
use crate::units::{Product, Span, Timestamp};

/// A token bucket, as the amount missing from a full one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct TokenBucket {
    /// The amount missing from a full bucket; more than the burst is a debt.
    pub(in crate::limits) spent: u64,
    /// The refill beyond the last whole unit, in units of 1 / window nanoseconds: always less than
    /// the window, and zero in a full bucket. With it rounding never adds up, however often the
    /// bucket is read.
    pub(in crate::limits) fraction: u64,
    /// The last time at which it was full. A charge made before has been refilled since and is not
    /// given back again.
    pub(in crate::limits) full_at: Timestamp,
}

impl TokenBucket {
    pub(in crate::limits) const fn full(at: Timestamp) -> Self {
        Self { spent: 0, fraction: 0, full_at: at }
    }

    /// Advances from one moment to the other. A step back gives nothing back.
    pub(in crate::limits) fn advance(&mut self, shape: &Shape, from: Timestamp, to: Timestamp) {
        let window = shape.window_nanos();
        // A window shortened by a new configuration leaves less than one unit of the old fraction.
        let fraction = self.fraction.min(window.saturating_sub(1));
        let (refilled, fraction) = Product::of(to.since(from).0, shape.max.0).plus(fraction).div_rem(window);
        self.spent = self.spent.saturating_sub(refilled);
        self.fraction = fraction;
        self.full_at = self.full_at.min(to);
        self.note_if_full(to);
    }

    pub(in crate::limits) fn charge(&mut self, amount: u64) {
        self.spent = self.spent.saturating_add(amount);
    }

    /// Gives back an amount charged at `reserved_at` and returns the part that counted.
    pub(in crate::limits) fn refund(&mut self, amount: u64, reserved_at: Timestamp, at: Timestamp) -> u64 {
        if self.full_at > reserved_at {
            return 0;
        }
        let returned = amount.min(self.spent);
        self.spent = self.spent.saturating_sub(returned);
        self.note_if_full(at);
        returned
    }

    /// Returns the time until no more than `target` is spent, or `None` if that never comes.
    pub(in crate::limits) fn until_spent(&self, shape: &Shape, target: u64) -> Option<Span> {
        let missing = self.spent.saturating_sub(target);
        if missing == 0 {
            return Some(Span::ZERO);
        }
        // The first nanosecond at which the whole units of the refill reach the missing amount.
        let flow = Product::of(missing, shape.window_nanos()).minus(self.fraction);
        (!shape.max.is_zero()).then(|| Span(flow.div_ceil(shape.max.0)))
    }

    fn note_if_full(&mut self, at: Timestamp) {
        if self.spent == 0 {
            self.fraction = 0;
            self.full_at = at;
        }
    }
}
