//! Leases: amounts of callers' global budgets that the service has charged in advance and this
//! process spends.
//!
//! ```text
//! first call: Short ──▶ asks the service itself ──▶ learn ──▶ lease to request ──▶ granted
//! next calls: take ──▶ LeaseOutcome (no call to the service) ──▶ LeaseCharge::correct_to
//!               └──▶ Short: asks itself | Spent: refused at once
//! ```
//!
//! In: a global [`Limit`] and the [`Subject`] it is counted for, amounts, the service's reports.
//! Out: a [`LeaseCharge`] or the reason why not, and the amount of lease to request. Not here:
//! asking, timeouts, calls without an answer (`rls`); the arithmetic (`state`).
//!
//! # Guarantees
//!
//! - Workers together never take more than was granted and put back: every step is one
//!   compare-and-swap in the table.
//! - An amount leased in one window is never spent in the next, as far as the service reports the
//!   ends of windows. If it never does, a window begins with the first call.
//! - One worker at a time requests more.
//! - A lease without a place in the table, or that the host cannot read or write, does not exist:
//!   calls ask for themselves. Its grants are then lost, but never given out twice.

mod promises;
mod state;

use std::rc::Rc;

use state::Lease;

use crate::config::Ratio;
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Standing, Subject};
use crate::limits::remembered::record;
use crate::store::{Change, Key};
use crate::units::{Amount, Span, Timestamp};

/// How much a lease holds; it is refilled as it is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// The share of the amount remaining at the service; of the whole budget, if the service does
    /// not report what remains.
    pub share: Ratio,
    /// The least lease in tokens, for limits that count tokens.
    pub at_least: Amount,
}

impl LeasePolicy {
    /// Requests no leases; keeps only amounts that calls of this process left over.
    pub const NOTHING: Self = Self { share: Ratio { ppm: 0 }, at_least: Amount::MAX };
}

/// The service's report on a budget's window, sent with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowStatus {
    /// The amount left in it, after the answer.
    pub remaining: Option<Amount>,
    /// The time until it ends.
    pub reset: Option<Span>,
}

/// The place of one caller's lease of a limit.
#[derive(Clone, Debug)]
pub struct Account {
    limit: Rc<Limit>,
    key: Key,
}

/// The outcome of taking an amount from a lease, with the standing of the budget afterwards, if
/// known.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// The call has it, and need not ask the service.
    Taken(LeaseCharge, Option<Standing>),
    /// The lease has less: the call must ask the service itself.
    Short,
    /// The lease has less, and the service has recently refused no larger amount. The span is the
    /// time until the window ends.
    Spent(Span, Option<Standing>),
}

/// An amount taken from a lease, to be corrected to the usage. If dropped, the amount stays taken.
#[derive(Debug)]
#[must_use = "an amount taken must be corrected to the usage"]
pub struct LeaseCharge {
    account: Account,
    amount: Amount,
    taken_at: Timestamp,
}

impl Account {
    /// Returns the account of a limit's lease for a subject.
    #[must_use]
    pub fn of(limit: &Rc<Limit>, subject: &Subject<'_>, budgets: &Budgets<'_>) -> Self {
        let dimensions = limit.per.iter().map(|dimension| (&**dimension, subject.value(dimension)));
        // No budget has this name, because the ids of limits contain a slash.
        let key = budgets.keys.key("lease", [("limit", limit.id.as_bytes())].into_iter().chain(dimensions));
        Self { limit: limit.clone(), key }
    }

    /// Takes an amount from the lease. The second value is the amount to request from the service,
    /// if this call should do so.
    #[must_use = "correct the amount taken to the usage, and request more lease if told to"]
    pub fn take(
        &self,
        amount: Amount,
        policy: &LeasePolicy,
        budgets: &Budgets<'_>,
    ) -> (LeaseOutcome, Option<Amount>) {
        let (limit, now) = (&*self.limit, budgets.now);
        let taken = self.change(budgets, |lease| {
            let Some(mut lease) = lease else {
                return (None, None);
            };
            let taken = lease.take(amount);
            if !taken && lease.is_refused(amount, now) {
                return (Some((lease, Outcome::Spent, None)), None);
            }
            let more = lease.more(policy, limit, now);
            let outcome = if taken { Outcome::Taken } else { Outcome::Short };
            (Some((lease, outcome, more)), Some(lease))
        });
        let Some((lease, outcome, more)) = taken.flatten() else {
            return (LeaseOutcome::Short, None);
        };
        let standing = || lease.standing(&self.limit, now);
        let taken = match outcome {
            Outcome::Taken => {
                LeaseOutcome::Taken(LeaseCharge { account: self.clone(), amount, taken_at: now }, standing())
            }
            Outcome::Short => LeaseOutcome::Short,
            Outcome::Spent => LeaseOutcome::Spent(lease.ends_in(now), standing()),
        };
        (taken, more)
    }

    /// Records that the service allowed an amount to a call that asked itself, with its report.
    /// Returns the amount of lease to request now, if this call should do so.
    #[must_use = "a caller that is told to request a lease must do so"]
    pub fn learn(
        &self,
        amount: Amount,
        status: WindowStatus,
        policy: &LeasePolicy,
        budgets: &Budgets<'_>,
    ) -> Option<Amount> {
        let (limit, now) = (&*self.limit, budgets.now);
        let learned = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.observe(status, limit, now);
            lease.charge(amount, limit);
            ((lease.more(policy, limit, now), lease.ends_in(now)), Some(lease))
        });
        let (more, ends_in) = learned?;
        self.charged(amount, ends_in, budgets);
        more
    }

    /// Records that the service refused an amount, to a call or as a lease, and returns the longest
    /// time until its window ends. After a refused lease, call [`Account::not_granted`] too.
    pub fn refused(&self, amount: Amount, status: WindowStatus, budgets: &Budgets<'_>) -> Span {
        let (limit, now) = (&*self.limit, budgets.now);
        let ends_in = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.refuse(amount, status, limit, now);
            (lease.ends_in(now), Some(lease))
        });
        ends_in.or(status.reset).unwrap_or(limit.shape.window)
    }

    /// Records that the service granted a lease of this amount.
    pub fn granted(&self, amount: Amount, status: WindowStatus, budgets: &Budgets<'_>) {
        let (limit, now) = (&*self.limit, budgets.now);
        let ends_in = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.grant(amount, status, limit, now);
            (lease.ends_in(now), Some(lease))
        });
        if let Some(ends_in) = ends_in {
            self.charged(amount, ends_in, budgets);
        }
    }

    /// Promises a refused amount to its caller and returns the wait: until the window ends (in
    /// `ends_in`), or longer behind callers who were refused before. `least` is the part of a
    /// window that this process may expect.
    #[must_use = "the caller must be told its promise"]
    pub fn promise(&self, amount: Amount, ends_in: Span, least: Amount, budgets: &Budgets<'_>) -> Span {
        let room = self.known(budgets).map_or(Amount::ZERO, |lease| lease.charged(&self.limit)).max(least);
        promises::promise(&self.promises(budgets), &self.limit, amount, ends_in, room, budgets)
    }

    fn charged(&self, amount: Amount, ends_in: Span, budgets: &Budgets<'_>) {
        promises::charged(&self.promises(budgets), &self.limit, amount, ends_in, budgets);
    }

    /// Returns the key of the queue of refused callers.
    fn promises(&self, budgets: &Budgets<'_>) -> Key {
        budgets.keys.key("promises", [("lease", &self.key.to_bytes()[..])])
    }

    /// Records that a requested lease was not granted, or not answered, so that another worker may
    /// request one.
    pub fn not_granted(&self, budgets: &Budgets<'_>) {
        self.change(budgets, |lease| {
            let mut lease = lease;
            if let Some(lease) = &mut lease {
                lease.asked_no_more();
            }
            ((), lease)
        });
    }

    /// Replaces an amount charged at `charged_at` by the usage. A surplus goes to the lease, unless
    /// the window has ended. A deficit comes from the lease as far as possible; the rest is
    /// returned and must be reported to the service.
    #[must_use = "the amount that the lease could not cover is not charged yet"]
    pub fn correct(
        &self,
        charged: Amount,
        used: Amount,
        charged_at: Timestamp,
        budgets: &Budgets<'_>,
    ) -> Amount {
        let (surplus, lacking) = (charged - used, used - charged);
        if surplus.is_zero() && lacking.is_zero() {
            return Amount::ZERO;
        }
        let uncovered = self.change(budgets, |lease| {
            let Some(mut lease) = lease else { return (lacking, None) };
            lease.put_back(surplus, charged_at, &self.limit);
            (lease.take_more(lacking, charged_at, &self.limit), Some(lease))
        });
        uncovered.unwrap_or(lacking)
    }

    /// Returns the standing of the budget as known here, or `None` if the service has reported
    /// nothing about this window.
    #[must_use]
    pub fn standing(&self, budgets: &Budgets<'_>) -> Option<Standing> {
        self.known(budgets)?.standing(&self.limit, budgets.now)
    }

    fn known(&self, budgets: &Budgets<'_>) -> Option<Lease> {
        let now = budgets.now;
        budgets.table.peek(&self.key, now, |stored| Lease::open(stored?, &self.limit, now)).ok().flatten()
    }

    /// Changes the lease to the one that `change` returns beside its answer, if any. Returns `None`
    /// if it could not be stored.
    fn change<T>(
        &self,
        budgets: &Budgets<'_>,
        change: impl Fn(Option<Lease>) -> (T, Option<Lease>),
    ) -> Option<T> {
        // Never in the shared entry, where callers would spend each other's leases.
        let changed = record::store(budgets, &self.key, |stored| {
            let before = stored.and_then(|stored| Lease::open(stored, &self.limit, budgets.now));
            let (answer, after) = change(before);
            let put = after.filter(|after| Some(after) != before.as_ref());
            (answer, put.map_or(Change::Keep, |after| Change::Put(after.entry())))
        });
        changed.ok()
    }
}

/// The part of [`LeaseOutcome`] decided inside the compare-and-swap.
#[derive(Clone, Copy)]
enum Outcome {
    Taken,
    Short,
    Spent,
}

impl LeaseCharge {
    /// Returns the amount that was taken.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// Replaces the amount taken by the usage, as [`Account::correct`] does.
    #[must_use = "the amount that the lease could not cover is not charged yet"]
    pub fn correct_to(self, used: Amount, budgets: &Budgets<'_>) -> Amount {
        self.account.correct(self.amount, used, self.taken_at, budgets)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
