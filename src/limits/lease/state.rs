//! The known state of one caller's global budget and its lease: the arithmetic, without the table.
//!
//! In: the stored payload, amounts, the service's reports, `now`. Out: the state after, its
//! payload, the amount of lease to request. All integers, saturating. Not here: storing, and whose
//! request it is (`lease`).
//!
//! Sources: envoyproxy/ratelimit (`utils.CalculateReset`) reports the end of a window in whole
//! seconds, rounded up; Limitador reports neither an end nor, in a status, the remaining amount.

use std::rc::Rc;

use super::{LeasePolicy, WindowStatus};
use crate::limits::budget::CLOCK_DISORDER;
use crate::limits::limit::{Limit, Standing};
use crate::store::{Entry, Payload, numbers_in, payload_of};
use crate::units::{Amount, Product, Span, Timestamp};

/// The time after which an unanswered request counts as lost, and another worker may request.
const ASKED_FOR: Span = Span::from_secs(2);

/// The longest time for which a refusal is believed. Other processes may have given back, or the
/// operator may have raised the limit.
const REFUSED_FOR: Span = Span::from_secs(10);

/// If the service does not report the ends of its windows, a refusal is believed for at most a 32nd
/// of a window (this power of two): the window may end unseen, and then everything fits again.
const REFUSED_FOR_PART: u32 = 5;

/// If less than this number of least leases remain, none is requested: a few processes would divide
/// the rest among them, and each refuse calls for which another has room.
const LEAST_LEASES: u64 = 4;

/// Ends further apart belong to two windows: a second because services report whole ones, and half
/// of one for the delay of the answer.
const SAME_END: Span = Span::from_millis(1_500);

/// One caller's lease, in a window that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Lease {
    /// The amount charged at the service and not yet taken.
    pub(in crate::limits) left: Amount,
    /// The amount left at the service, if reported.
    remaining: Option<Amount>,
    /// The end of the window.
    until: Timestamp,
    /// A worker is requesting more.
    asking: Soon,
    /// The smallest amount refused recently.
    refused: Amount,
    refused_until: Soon,
    /// The part of the budget charged to this process in the window: [`WHOLE`] is all.
    charged: u32,
}

/// The resolution of `charged`, which only decides how much of a window this process promises.
const WHOLE: u32 = (1 << CHARGED_BITS) - 1;
const CHARGED_BITS: u32 = 20;

/// The encoding of "nothing was refused" in a payload. Servers count 32 bits of micro-dollars,
/// which is less.
const REFUSED_NONE: u64 = (1 << (u64::BITS - CHARGED_BITS)) - 1;

impl Lease {
    /// Returns the stored lease, unless its window has ended, or ends so late that the clock must
    /// have been set back since.
    pub(in crate::limits) fn open(stored: &Payload, limit: &Limit, now: Timestamp) -> Option<Self> {
        let mut fields = numbers_in(stored);
        let left = Amount(fields.next()?);
        let remaining = Some(fields.next()?).filter(|remaining| *remaining != NONE).map(Amount);
        let until = Timestamp(fields.next()?);
        let (refused, charged) = unpack(fields.next()?);
        let (asking, refused_until) = Soon::unpack(fields.next()?);
        let ahead = until.since(now);
        let is_open = !ahead.is_zero() && ahead <= limit.shape.window + CLOCK_DISORDER;
        is_open.then_some(Self { left, remaining, until, asking, refused, refused_until, charged })
    }

    /// Returns a state without a lease, in a window about which nothing is known.
    pub(in crate::limits) fn begun(limit: &Limit, now: Timestamp) -> Self {
        Self {
            left: Amount::ZERO,
            remaining: None,
            until: now + limit.shape.window,
            asking: Soon::NEVER,
            refused: Amount::MAX,
            refused_until: Soon::NEVER,
            charged: 0,
        }
    }

    pub(in crate::limits) fn entry(&self) -> Entry {
        let remaining = self.remaining.map_or(NONE, |remaining| remaining.0.min(NONE.saturating_sub(1)));
        let soon = Soon::pack(self.asking, self.refused_until);
        Entry {
            payload: payload_of([
                self.left.0,
                remaining,
                self.until.0,
                pack(self.refused, self.charged),
                soon,
            ]),
            idle_at: self.until,
            fill: u8::MAX,
        }
    }

    /// Takes an amount if the lease has all of it.
    pub(in crate::limits) fn take(&mut self, amount: Amount) -> bool {
        let fits = amount <= self.left;
        if fits {
            self.left = self.left - amount;
        }
        fits
    }

    /// Takes as much as possible of the additional need of a call of this window, and returns the
    /// rest.
    pub(in crate::limits) fn take_more(
        &mut self,
        amount: Amount,
        taken_at: Timestamp,
        limit: &Limit,
    ) -> Amount {
        if !self.is_of_this_window(taken_at, limit) {
            return amount;
        }
        let lacking = amount - self.left;
        self.left = self.left - amount;
        lacking
    }

    /// Puts back an amount charged at a moment of this window.
    pub(in crate::limits) fn put_back(&mut self, amount: Amount, charged_at: Timestamp, limit: &Limit) {
        if self.is_of_this_window(charged_at, limit) {
            self.left += amount;
        }
    }

    /// Returns whether this window had begun at a moment. It had not if its end is more than its
    /// length away.
    fn is_of_this_window(&self, moment: Timestamp, limit: &Limit) -> bool {
        self.until <= moment + limit.shape.window
    }

    /// Adopts the service's report. In a new window nothing of the old one counts.
    ///
    /// Of several reported ends of one window, the earliest is the closest to the truth, because
    /// they are rounded up, and late by the delay of the answer. An end further ahead than a
    /// window's length is of another limit, and is ignored.
    pub(in crate::limits) fn observe(&mut self, status: WindowStatus, limit: &Limit, now: Timestamp) {
        let window = limit.shape.window;
        if let Some(reset) = status.reset.filter(|reset| !reset.is_zero() && *reset <= window + SAME_END) {
            let until = now + reset.min(window);
            if until > self.until + SAME_END {
                *self = Self { until, asking: self.asking, ..Self::begun(limit, now) };
            }
            self.until = self.until.min(until);
        }
        self.remaining = status.remaining.or(self.remaining);
    }

    /// Records a granted lease.
    pub(in crate::limits) fn grant(
        &mut self,
        amount: Amount,
        status: WindowStatus,
        limit: &Limit,
        now: Timestamp,
    ) {
        self.observe(status, limit, now);
        self.charge(amount, limit);
        self.left += amount;
        if status.remaining.is_none() {
            self.remaining = self.remaining.map(|remaining| remaining - amount);
        }
        self.asked_no_more();
    }

    /// Records an amount that the service charged to this process, for a lease or for a call.
    pub(in crate::limits) fn charge(&mut self, amount: Amount, limit: &Limit) {
        let parts = Product::of(amount.0, WHOLE.into()).div_ceil(limit.shape.capacity().0.max(1));
        self.charged = u32::try_from(parts).unwrap_or(WHOLE).saturating_add(self.charged).min(WHOLE);
    }

    /// Returns the amount charged to this process in the window, rounded.
    pub(in crate::limits) fn charged(&self, limit: &Limit) -> Amount {
        Amount(Product::of(limit.shape.capacity().0, self.charged.into()).div_rem(WHOLE.into()).0)
    }

    /// Records a refused amount: less than that remains.
    pub(in crate::limits) fn refuse(
        &mut self,
        amount: Amount,
        status: WindowStatus,
        limit: &Limit,
        now: Timestamp,
    ) {
        self.observe(status, limit, now);
        if status.remaining.is_none() {
            self.remaining = self.remaining.map(|remaining| remaining.min(amount - Amount(1)));
        }
        if amount <= self.refused || !self.refused_until.is_ahead(REFUSED_FOR, now) {
            let believed = match status.reset {
                Some(_) => REFUSED_FOR,
                None => REFUSED_FOR.min(Span(limit.shape.window.0 >> REFUSED_FOR_PART)),
            };
            self.refused = amount;
            self.refused_until = Soon::in_(believed, now);
        }
    }

    /// Returns whether the service would refuse an amount, because it has recently refused no
    /// larger one.
    pub(in crate::limits) fn is_refused(&self, amount: Amount, now: Timestamp) -> bool {
        amount >= self.refused && self.refused_until.is_ahead(REFUSED_FOR, now)
    }

    /// Returns the amount to request from the service now; the caller must request it. The lease is
    /// refilled to its size, so that at most one lease is unspent, apart from refunds of calls
    /// under way.
    pub(in crate::limits) fn more(
        &mut self,
        policy: &LeasePolicy,
        limit: &Limit,
        now: Timestamp,
    ) -> Option<Amount> {
        let want = self.want(policy, limit)?;
        let is_enough = self.left.times(2) >= want;
        let lacking = want - self.left;
        if is_enough || self.asking.is_ahead(ASKED_FOR, now) || self.is_refused(lacking, now) {
            return None;
        }
        self.asking = Soon::in_(ASKED_FOR, now);
        Some(lacking)
    }

    /// Records that no request is under way any more.
    pub(in crate::limits) fn asked_no_more(&mut self) {
        self.asking = Soon::NEVER;
    }

    /// Returns the size of a lease, or `None` if too few least leases remain.
    fn want(&self, policy: &LeasePolicy, limit: &Limit) -> Option<Amount> {
        let remaining = self.remaining.unwrap_or(limit.shape.max);
        let share = Amount(policy.share.of(remaining.0));
        let least = if limit.counts.unit.has_least_lease { policy.at_least } else { Amount::ZERO };
        let is_shared = share >= least || least.times(LEAST_LEASES) <= remaining;
        is_shared.then_some(share.max(least))
    }

    /// Returns the time until the window ends.
    pub(in crate::limits) fn ends_in(&self, now: Timestamp) -> Span {
        self.until.since(now)
    }

    /// Returns the standing of the budget, if the service reports the remaining amount.
    pub(in crate::limits) fn standing(&self, limit: &Rc<Limit>, now: Timestamp) -> Option<Standing> {
        let capacity = limit.shape.capacity();
        let available = (self.remaining? + self.left).min(capacity);
        Some(Standing {
            limit: limit.clone(),
            available,
            spent: capacity - available,
            reset: self.ends_in(now),
        })
    }
}

/// The encoding of an unknown amount.
const NONE: u64 = u64::MAX;

/// Packs two numbers into one of a payload.
fn pack(refused: Amount, charged: u32) -> u64 {
    (refused.0.min(REFUSED_NONE) << CHARGED_BITS) | u64::from(charged.min(WHOLE))
}

fn unpack(both: u64) -> (Amount, u32) {
    let refused = Some(both >> CHARGED_BITS).filter(|refused| *refused != REFUSED_NONE);
    (refused.map_or(Amount::MAX, Amount), low(both & u64::from(WHOLE)))
}

/// A moment at most some seconds ahead when written, in units of 2^20 ns (1.05 ms). Its lower 32
/// bits are kept, so that two moments fit into one number of a payload.
///
/// They wrap after 52 days. If a caller of a longer window returns exactly then, an old request or
/// refusal counts for some seconds again, and nothing is charged by it. If the clock was set back,
/// the moment does not count as ahead either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Soon(u32);

impl Soon {
    const NEVER: Self = Self(0);

    fn in_(span: Span, now: Timestamp) -> Self {
        Self(Self::ticks(now + span).max(1))
    }

    /// Returns whether the moment is ahead, if it was written for at most `span` ahead.
    fn is_ahead(self, span: Span, now: Timestamp) -> bool {
        let ahead = self.0.wrapping_sub(Self::ticks(now));
        self != Self::NEVER && ahead > 0 && ahead <= Self::ticks(Timestamp(0) + span).saturating_add(1)
    }

    fn ticks(at: Timestamp) -> u32 {
        low((at.0 >> 20) & u64::from(u32::MAX))
    }

    fn pack(high: Self, low: Self) -> u64 {
        (u64::from(high.0) << 32) | u64::from(low.0)
    }

    fn unpack(both: u64) -> (Self, Self) {
        (Self(low(both >> 32)), Self(low(both & u64::from(u32::MAX))))
    }
}

/// Converts a number below 2^32.
fn low(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);
    const SECOND: Span = Span::from_secs(1);

    #[test]
    fn a_moment_is_ahead_until_it_comes() {
        let soon = Soon::in_(ASKED_FOR, NOW);

        assert!(soon.is_ahead(ASKED_FOR, NOW));
        assert!(soon.is_ahead(ASKED_FOR, NOW + Span::from_millis(1_998)));
        assert!(!soon.is_ahead(ASKED_FOR, NOW + ASKED_FOR));
        assert!(!Soon::NEVER.is_ahead(ASKED_FOR, NOW));
    }

    #[test]
    fn a_moment_farther_ahead_than_it_was_written_for_is_of_another_clock() {
        let soon = Soon::in_(ASKED_FOR, NOW + SECOND);

        assert!(!soon.is_ahead(ASKED_FOR, NOW));
    }

    #[test]
    fn a_moment_is_ahead_also_where_the_ticks_come_round() {
        let turn = Timestamp(1 << 52);
        for millis in 0..2_000 {
            let now = Timestamp(turn.0 - Span::from_millis(millis).0);
            assert!(Soon::in_(ASKED_FOR, now).is_ahead(ASKED_FOR, now), "{millis} ms before");
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let limit = Limit::example("tpm", "tokens", 1_000);
        let mut lease = Lease::begun(&limit, NOW);
        assert_eq!(Lease::open(&lease.entry().payload, &limit, NOW), Some(lease));

        lease.grant(
            Amount(7),
            WindowStatus { remaining: Some(Amount(800)), reset: Some(SECOND) },
            &limit,
            NOW,
        );
        lease.refuse(Amount(900), WindowStatus::default(), &limit, NOW);
        lease.asking = Soon::in_(ASKED_FOR, NOW);

        assert_eq!(Lease::open(&lease.entry().payload, &limit, NOW), Some(lease));
        assert_eq!(lease.entry().idle_at, NOW + SECOND);
    }

    #[test]
    fn what_was_charged_is_kept_to_a_millionth_of_the_budget_and_rounded_up() {
        for (max, amounts, charged) in [
            (1_000, &[300, 150][..], 450..=451),
            (1_000, &[1_000, 1_000], 1_000..=1_000),
            (u64::MAX, &[u64::MAX / 2], u64::MAX / 2..=u64::MAX / 2 + (u64::MAX >> 19)),
            (100_000_000, &[27; 10], 270..=1_000),
        ] {
            let limit = Limit::example("tpm", "tokens", max);
            let mut lease = Lease::begun(&limit, NOW);
            for amount in amounts {
                lease.charge(Amount(*amount), &limit);
            }
            lease.refuse(Amount(max), WindowStatus::default(), &limit, NOW);
            let read = Lease::open(&lease.entry().payload, &limit, NOW).unwrap();
            assert!(charged.contains(&read.charged(&limit).0), "{} of {max}", read.charged(&limit));
        }
    }

    #[test]
    fn more_than_can_be_counted_is_known_to_remain() {
        let limit = Limit::example("tpm", "tokens", 1_000);
        let mut lease = Lease::begun(&limit, NOW);
        lease.observe(WindowStatus { remaining: Some(Amount::MAX), reset: None }, &limit, NOW);

        let read = Lease::open(&lease.entry().payload, &limit, NOW).unwrap();

        assert_eq!(read.remaining, Some(Amount(u64::MAX - 1)));
    }
}
