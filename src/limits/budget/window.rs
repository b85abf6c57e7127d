//! Windows: the fixed window, aligned to the calendar, and the sliding window, which still counts a
//! share of the last one.
//!
//! In: charges and refunds, and the window they belong to. Out: the amount spent, and the time
//! until it is less. Windows are numbered from the Unix epoch in UTC: a day starts at midnight, an
//! hour at its full hour. Not here: which time counts and what may be reserved (`budget`).
//!
//! The sliding window stores two numbers instead of every call: the charges of the present window,
//! and those of the last one, which count by the share of that window still within one window's
//! length before now. This assumes that the last window's calls were evenly spread. A window that
//! used more than `max` (a debt) passes the excess on to the next, which starts with it, and so on
//! until it is paid.

use super::shape::{Algorithm, Shape};
use crate::units::{Product, Span, Timestamp};

/// The charges of the present window, and the effect of earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Windows {
    /// The amount charged in this window itself.
    pub(in crate::limits) own: u64,
    /// The debt passed on by the last window.
    pub(in crate::limits) carried: u64,
    /// The part of its `max` that the last window used. Only the sliding window counts it.
    pub(in crate::limits) previous: u64,
}

impl Windows {
    /// Advances from the window of `from` to that of `to`. A step back changes nothing.
    pub(in crate::limits) fn advance(&mut self, shape: &Shape, from: Timestamp, to: Timestamp) {
        *self = self.after(shape, index(shape, to).saturating_sub(index(shape, from)));
    }

    /// Returns the state this number of windows later, if nothing more is charged.
    fn after(self, shape: &Shape, windows: u64) -> Self {
        let Some(paying) = windows.checked_sub(1) else {
            return self;
        };
        // Each window but the last has paid a full `max`.
        let unpaid = self.counted().saturating_sub(shape.max.0.saturating_mul(paying));
        Self { own: 0, carried: unpaid.saturating_sub(shape.max.0), previous: unpaid.min(shape.max.0) }
    }

    pub(in crate::limits) fn spent(&self, shape: &Shape, at: Timestamp) -> u64 {
        // Rounded up, against the caller.
        let share = Product::of(self.sliding(shape), remaining(shape, at)).div_ceil(shape.window_nanos());
        self.counted().saturating_add(share)
    }

    pub(in crate::limits) fn charge(&mut self, amount: u64) {
        self.own = self.own.saturating_add(amount);
    }

    /// Gives back to the charged window and returns the part that counted.
    ///
    /// In the present window all of it counts. In the last one it reduces first the debt passed on,
    /// then the window's own use, which equals a refund before its end. In an older one nothing
    /// counts.
    pub(in crate::limits) fn refund(
        &mut self,
        shape: &Shape,
        amount: u64,
        reserved_at: Timestamp,
        at: Timestamp,
    ) -> u64 {
        match index(shape, at).saturating_sub(index(shape, reserved_at)) {
            0 => take(&mut self.own, amount),
            1 => {
                let handed_on = take(&mut self.carried, amount);
                let used = take(&mut self.previous, amount.saturating_sub(handed_on));
                handed_on.saturating_add(used)
            }
            _ => 0,
        }
    }

    /// Returns the rest of the last window that is charged to, if an amount does not fit into it
    /// before it ends; otherwise zero.
    pub(in crate::limits) fn rest_before(&self, shape: &Shape, amount: u64) -> u64 {
        let used = self.counted().checked_rem(shape.max.0).unwrap_or(0);
        let rest = shape.max.0.saturating_sub(used);
        let before = match shape.algorithm {
            Algorithm::SlidingWindow if self.counted() >= shape.max.0 => shape.max.0,
            _ => self.sliding(shape),
        };
        if amount <= rest.saturating_sub(last_share(shape, before)) { 0 } else { rest }
    }

    /// Gives back such a rest, if its window is not over; otherwise it is lost.
    pub(in crate::limits) fn return_rest(
        &mut self,
        shape: &Shape,
        rest: u64,
        booked_at: Timestamp,
        at: Timestamp,
    ) -> u64 {
        if index(shape, at) > index(shape, booked_at) { 0 } else { take(&mut self.own, rest) }
    }

    /// Charges to this window an amount booked in advance, even if an earlier window passed it on
    /// or had room for it.
    pub(in crate::limits) fn go_on(
        &mut self,
        shape: &Shape,
        amount: u64,
        rest: u64,
        booked_at: Timestamp,
        at: Timestamp,
    ) {
        self.return_rest(shape, rest, booked_at, at);
        if index(shape, at) > index(shape, booked_at) {
            let handed_on = take(&mut self.carried, amount);
            take(&mut self.previous, amount.saturating_sub(handed_on));
            self.charge(amount);
        }
    }

    /// Returns the time until no more than `target` is spent, or `None` if that never comes.
    pub(in crate::limits) fn until_spent(&self, shape: &Shape, at: Timestamp, target: u64) -> Option<Span> {
        // First the window in which the fully counted amount leaves `target`: each window pays
        // `max`.
        let windows = match self.counted().saturating_sub(target) {
            0 => 0,
            _ if shape.max.is_zero() => return None,
            excess => excess.div_ceil(shape.max.0),
        };
        let then = self.after(shape, windows);
        let window = shape.window_nanos();

        // Then the position in it: at `fits` before its end, the last window's share is small
        // enough.
        let fits = match then.sliding(shape) {
            0 => window,
            sliding => {
                let room = target.saturating_sub(then.counted());
                Product::of(room, window).div_rem(sliding).0.min(window)
            }
        };
        let end = Product::of(window, windows).plus(remaining(shape, at));
        Some(Span(end.minus(fits).div_ceil(1)))
    }

    /// Returns the charges that count fully.
    pub(in crate::limits) fn counted(&self) -> u64 {
        self.own.saturating_add(self.carried)
    }

    /// Returns the charges that count by the share of the last window still within reach.
    fn sliding(&self, shape: &Shape) -> u64 {
        if shape.algorithm == Algorithm::SlidingWindow { self.previous } else { 0 }
    }
}

/// Returns whether an amount fits into a sliding window behind a full one, before it ends.
pub(in crate::limits) fn fits_behind_another(shape: &Shape, amount: u64) -> bool {
    amount <= shape.max.0.saturating_sub(last_share(shape, shape.max.0))
}

/// Returns the count of an earlier window in the last nanosecond of the present one.
fn last_share(shape: &Shape, before: u64) -> u64 {
    before.div_ceil(shape.window_nanos())
}

/// Returns the rest of the window at `at`, in nanoseconds: all of it at its start, one at its end.
pub(in crate::limits) fn remaining(shape: &Shape, at: Timestamp) -> u64 {
    let window = shape.window_nanos();
    window.saturating_sub(at.0.checked_rem(window).unwrap_or(0))
}

/// Returns the number of the window that contains a moment.
pub(in crate::limits) fn index(shape: &Shape, at: Timestamp) -> u64 {
    at.0.checked_div(shape.window_nanos()).unwrap_or(0)
}

fn take(from: &mut u64, amount: u64) -> u64 {
    let taken = amount.min(*from);
    *from = from.saturating_sub(taken);
    taken
}
