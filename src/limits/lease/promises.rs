//! The queue of refused callers for the coming windows of one budget: the window and the wait that
//! each is told.
//!
//! In: refusals, amounts charged to this process, `now`. Out: waits. Not here: admission. A promise
//! reserves nothing.
//!
//! If every refused caller is told the end of the window, all of them come then, and most are
//! refused again. So each refusal takes a place in a queue: each coming window has room for a
//! certain amount, and a caller who does not fit into the first is told the second.
//!
//! # Guarantees
//!
//! - Promises end with their window, whether or not their callers came.
//! - If this process was charged less than half of a window's room, it forgets the promises for
//!   later windows, because their callers do not come.
//! - No caller is told to wait more than [`MOST_AHEAD`] beyond the end of the present window.
//! - A window's room is the amount charged to this process in the refusing window or the one before
//!   it, because other processes promise the rest, or the amount that it may expect, if that is
//!   more. Until one whole window is known, it is at least half of the budget, because answers that
//!   charge this process are still under way at the first refusals.
//! - If the queue has no place in the table, or a budget evicts it, it is empty: all callers are
//!   told the end of the window.

use crate::limits::budgets::Budgets;
use crate::limits::limit::Limit;
use crate::limits::remembered::record;
use crate::store::{Change, Entry, Key, Payload, numbers_in, payload_of};
use crate::units::{Amount, Product, Span, Timestamp};

/// The longest wait behind others, beyond the end of the present window. A client that retries at
/// once takes another place each time; this bounds the cost to its neighbours.
const MOST_AHEAD: Span = Span::from_secs(600);

/// The queue for one caller's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promises {
    /// The end of the present window.
    until: Timestamp,
    /// The amount promised in the windows after it.
    ahead: Amount,
    /// The room of one window when the last promise was made.
    room: Amount,
    /// The amount charged to this process in the present window; `None` if the window began before
    /// the queue.
    charged: Option<Amount>,
    /// The same for the window before.
    before: Option<Amount>,
}

/// The encoding of an unknown amount in a payload.
const NONE: u64 = u64::MAX;

fn known(stored: u64) -> Option<Amount> {
    (stored != NONE).then_some(Amount(stored))
}

fn stored(known: Option<Amount>) -> u64 {
    known.map_or(NONE, |amount| amount.0.min(NONE.saturating_sub(1)))
}

impl Promises {
    fn open(stored: &Payload, limit: &Limit, now: Timestamp) -> Option<Self> {
        let mut fields = numbers_in(stored);
        let (until, ahead) = (Timestamp(fields.next()?), Amount(fields.next()?));
        let (room, charged, before) = (Amount(fields.next()?), known(fields.next()?), known(fields.next()?));
        let mut promises = Self { until, ahead, room, charged, before };
        promises.roll(limit.shape.window, now);
        // An end further ahead than any window was written before the clock was set back.
        let is_of_this_clock = promises.until.since(now) <= limit.shape.window.times(2);
        is_of_this_clock.then_some(promises)
    }

    /// Returns an empty queue.
    const fn none(until: Timestamp) -> Self {
        Self { until, ahead: Amount::ZERO, room: Amount::ZERO, charged: None, before: None }
    }

    /// Advances to the window of `now`.
    fn roll(&mut self, window: Span, now: Timestamp) {
        if now >= self.until {
            let windows = now.since(self.until).0.checked_div(window.0).unwrap_or(0);
            self.go_on(windows.saturating_add(1), window);
        }
    }

    /// Adopts a reported end of the present window. If it is half a window or more after the known
    /// end, it belongs to a later window.
    fn adopt(&mut self, until: Timestamp, window: Span) {
        let later = until.since(self.until) + Span(window.0 >> 1);
        let windows = later.0.checked_div(window.0).unwrap_or(0);
        if windows > 0 {
            self.go_on(windows, window);
        }
        self.until = until;
    }

    fn go_on(&mut self, windows: u64, window: Span) {
        let is_taken_up = windows == 1 && self.charged.is_none_or(|charged| charged.times(2) >= self.room);
        self.ahead = if is_taken_up { self.ahead - self.room } else { Amount::ZERO };
        self.until = self.until + window.times(windows);
        self.before = self.charged.filter(|_| windows == 1);
        self.charged = Some(Amount::ZERO);
    }

    /// Places an amount in the first window of the limit that has room for it: at least `room`.
    /// Returns the number of windows between the next one and that.
    fn place(&mut self, amount: Amount, room: Amount, limit: &Limit) -> u64 {
        let (window, half) = (limit.shape.window, Amount(limit.shape.max.0 / 2));
        let room = room.max(self.before.unwrap_or(half)).max(amount).max(Amount(1));
        // Promises keep their windows when the room of the windows turns out larger or smaller.
        let (ahead, _) = Product::of(self.ahead.0, room.0).div_rem(self.room.0);
        (self.ahead, self.room) = (Amount(ahead), room);
        let used = Amount(self.ahead.0.checked_rem(self.room.0).unwrap_or(0));
        let begin = if used + amount > self.room { self.ahead + (self.room - used) } else { self.ahead };
        let windows = begin.0.checked_div(self.room.0).unwrap_or(0);
        let most = MOST_AHEAD.0.checked_div(window.0).unwrap_or(0);
        if windows > most {
            return most;
        }
        self.ahead = begin + amount;
        windows
    }

    fn entry(&self, window: Span) -> Entry {
        let windows = self.ahead.0.checked_div(self.room.0).unwrap_or(0).saturating_add(1);
        Entry {
            payload: payload_of([
                self.until.0,
                self.ahead.0,
                self.room.0,
                stored(self.charged),
                stored(self.before),
            ]),
            idle_at: self.until + window.times(windows),
            fill: 0,
        }
    }
}

/// Promises a refused amount and returns the wait for the window in which it fits. The present
/// window ends in `ends_in`, and this process was charged `room` in it, or may expect that amount.
pub(in crate::limits) fn promise(
    key: &Key,
    limit: &Limit,
    amount: Amount,
    ends_in: Span,
    room: Amount,
    budgets: &Budgets<'_>,
) -> Span {
    let (window, until) = (limit.shape.window, budgets.now + ends_in);
    let placed = change(key, limit, budgets, |promises| {
        let mut promises = promises.unwrap_or_else(|| Promises::none(until));
        promises.adopt(until, window);
        (promises.place(amount, room, limit), Some(promises))
    });
    ends_in + window.times(placed.unwrap_or(0))
}

/// Records an amount that the service charged to this process, if there are promises. The present
/// window ends in `ends_in`.
pub(in crate::limits) fn charged(
    key: &Key,
    limit: &Limit,
    amount: Amount,
    ends_in: Span,
    budgets: &Budgets<'_>,
) {
    let until = budgets.now + ends_in;
    change(key, limit, budgets, |promises| {
        let charge = |mut promises: Promises| {
            promises.adopt(until, limit.shape.window);
            promises.charged = promises.charged.map(|charged| charged + amount);
            promises
        };
        ((), promises.map(charge))
    });
}

fn change<T>(
    key: &Key,
    limit: &Limit,
    budgets: &Budgets<'_>,
    change: impl Fn(Option<Promises>) -> (T, Option<Promises>),
) -> Option<T> {
    let changed = record::store(budgets, key, |stored| {
        let (answer, after) = change(stored.and_then(|stored| Promises::open(stored, limit, budgets.now)));
        let put = after.map(|promises| promises.entry(limit.shape.window));
        (answer, put.map_or(Change::Keep, Change::Put))
    });
    changed.ok()
}

#[cfg(test)]
#[path = "promises_tests.rs"]
mod tests;
