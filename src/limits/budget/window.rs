//! Windows: the fixed one, aligned to the calendar, and the sliding one, which still counts a share
//! of the last.
//!
//! In: what is charged and given back, and which window it is. Out: what is spent, and when it will
//! be less. Windows are numbered from the Unix epoch in UTC: a day starts at midnight, an hour at
//! its full hour. Not here: which time counts and what may be reserved (`budget`).
//!
//! The sliding window counts two numbers instead of every call: all of the present window, and of
//! the last one as much as its share that still lies within one window's length before now. That
//! takes the last window's calls for evenly spread. A window that used more than `max` (a debt)
//! hands the excess on to the next, which starts with it; so do the next ones until it is paid.

use super::shape::{Algorithm, Shape};
use crate::units::{Span, Timestamp};

/// The charges of the window that the state is of, and what earlier ones left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct Windows {
    /// Charged in this window itself.
    pub(in crate::limits) own: u64,
    /// Debt that the last window handed on.
    pub(in crate::limits) carried: u64,
    /// The part of its `max` that the last window used; counts for the sliding window only.
    pub(in crate::limits) previous: u64,
}

impl Windows {
    /// Goes from the window of `from` to that of `to`; a step back changes nothing.
    pub(in crate::limits) fn advance(&mut self, shape: &Shape, from: Timestamp, to: Timestamp) {
        *self = self.after(shape, index(shape, to).saturating_sub(index(shape, from)));
    }

    /// As it will be so many windows later if nothing more is charged.
    fn after(self, shape: &Shape, windows: u64) -> Self {
        let Some(paying) = windows.checked_sub(1) else {
            return self;
        };
        // All windows but the last have paid a full one each.
        let unpaid = self.counted().saturating_sub(shape.max.0.saturating_mul(paying));
        Self { own: 0, carried: unpaid.saturating_sub(shape.max.0), previous: unpaid.min(shape.max.0) }
    }

    pub(in crate::limits) fn spent(&self, shape: &Shape, at: Timestamp) -> u64 {
        let weighted = u128::from(self.sliding(shape)).saturating_mul(u128::from(remaining(shape, at)));
        // Rounded up, against the caller; the share of a 64-bit number is one.
        let share = u64::try_from(weighted.div_ceil(u128::from(shape.window_nanos()))).unwrap_or(u64::MAX);
        self.counted().saturating_add(share)
    }

    pub(in crate::limits) fn charge(&mut self, amount: u64) {
        self.own = self.own.saturating_add(amount);
    }

    /// Gives back to the window that was charged and says how much of it counted.
    ///
    /// To the present window as such; to the last one first from what it handed on, then from what
    /// it used of its own, which gives exactly what giving back before its end would have; to an
    /// older one nothing.
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

    /// The rest of the last window that is charged to, if an amount does not fit into that
    /// before it ends.
    pub(in crate::limits) fn rest_before(&self, shape: &Shape, amount: u64) -> u64 {
        let used = self.counted().checked_rem(shape.max.0).unwrap_or(0);
        let rest = shape.max.0.saturating_sub(used);
        let before = match shape.algorithm {
            Algorithm::SlidingWindow if self.counted() >= shape.max.0 => shape.max.0,
            _ => self.sliding(shape),
        };
        if amount <= rest.saturating_sub(last_share(shape, before)) { 0 } else { rest }
    }

    /// Gives back such a rest, if its window is not over: then it has been lost with it.
    pub(in crate::limits) fn return_rest(
        &mut self,
        shape: &Shape,
        rest: u64,
        booked_at: Timestamp,
        at: Timestamp,
    ) -> u64 {
        if index(shape, at) > index(shape, booked_at) { 0 } else { take(&mut self.own, rest) }
    }

    /// Charges to this window what was booked in advance, also where an earlier one has handed it
    /// on or that it had room for it.
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

    /// How long until no more than `target` is spent; none if that never comes.
    pub(in crate::limits) fn until_spent(&self, shape: &Shape, at: Timestamp, target: u64) -> Option<Span> {
        // First the window in which what is counted in full leaves `target`: each one pays `max`.
        let windows = match self.counted().saturating_sub(target) {
            0 => 0,
            _ if shape.max.is_zero() => return None,
            excess => excess.div_ceil(shape.max.0),
        };
        let then = self.after(shape, windows);
        let window = u128::from(shape.window_nanos());

        // Then how near its end: at `fits` before it, the last window's share has become small
        // enough.
        let room = u128::from(target.saturating_sub(then.counted()));
        let fits = room.saturating_mul(window).checked_div(u128::from(then.sliding(shape)));
        let end = window.saturating_mul(u128::from(windows)).saturating_add(u128::from(remaining(shape, at)));
        let nanos = end.saturating_sub(fits.map_or(window, |fits| fits.min(window)));
        Some(Span(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// The charges that count in full.
    pub(in crate::limits) fn counted(&self) -> u64 {
        self.own.saturating_add(self.carried)
    }

    /// The charges that count by the share of the last window that is still within reach.
    fn sliding(&self, shape: &Shape) -> u64 {
        if shape.algorithm == Algorithm::SlidingWindow { self.previous } else { 0 }
    }
}

/// Whether an amount fits into a sliding window behind a full one, before it ends.
pub(in crate::limits) fn fits_behind_another(shape: &Shape, amount: u64) -> bool {
    amount <= shape.max.0.saturating_sub(last_share(shape, shape.max.0))
}

/// The count of an earlier window in the last nanosecond of the present one.
fn last_share(shape: &Shape, before: u64) -> u64 {
    before.div_ceil(shape.window_nanos())
}

/// The rest of the window at `at`, in nanoseconds: all of it at its start, one at its last.
pub(in crate::limits) fn remaining(shape: &Shape, at: Timestamp) -> u64 {
    let window = shape.window_nanos();
    window.saturating_sub(at.0.checked_rem(window).unwrap_or(0))
}

/// The number of the window that a moment is in.
pub(in crate::limits) fn index(shape: &Shape, at: Timestamp) -> u64 {
    at.0.checked_div(shape.window_nanos()).unwrap_or(0)
}

fn take(from: &mut u64, amount: u64) -> u64 {
    let taken = amount.min(*from);
    *from = from.saturating_sub(taken);
    taken
}
