//! Leases: what this process holds of callers' global budgets, charged at the service in advance
//! and spent here.
//!
//! ```text
//! first call: Short ──▶ asks the service for itself ──▶ learn ──▶ how much lease to ask for ──▶ granted
//! next calls: take ──▶ LeaseOutcome (no call to the service) ──▶ Ticket::correct_to
//!               └──▶ Short: asks for itself | Spent: refused at once
//! ```
//!
//! In: a global [`Limit`] and the [`Subject`] it is counted for, amounts, what the service told.
//! Out: a [`Ticket`], or why not, and how much more to ask for. Not here: asking, timeouts, what to
//! do without an answer (`rls`); the arithmetic (`state`).
//!
//! # What is promised
//!
//! - Workers together never take more than was granted and put back: every step is one
//!   compare-and-swap in the table.
//! - What was leased in one window is never spent in the next, as far as the service tells where
//!   windows end. One that never does is taken to begin a window with the first call.
//! - Of all workers one asks for more at a time.
//! - A lease that finds no room in the table, or that the host cannot read or write, is nothing:
//!   calls ask for themselves. What was granted is lost in that case, never given out twice.

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

/// How much a lease holds; what is left of it is filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// This much of what remains at the service; of the whole budget, if the service does not tell
    /// what remains.
    pub share: Ratio,
    /// But so many tokens at least, of limits that count tokens.
    pub at_least: Amount,
}

impl LeasePolicy {
    /// Never asks for a lease; keeps only amounts that calls of this process left over.
    pub const NOTHING: Self = Self { share: Ratio { ppm: 0 }, at_least: Amount::MAX };
}

/// The service's word on a budget's window, told with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowStatus {
    /// The amount left of it, after what the answer allowed.
    pub remaining: Option<Amount>,
    /// How long until its window ends.
    pub reset: Option<Span>,
}

/// Where one caller's lease of a limit is found.
#[derive(Clone, Debug)]
pub struct Account {
    limit: Rc<Limit>,
    key: Key,
}

/// The outcome for a call that wanted an amount from a lease. With it comes where the budget stands
/// afterwards, if known.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// It is the call's; the service need not be asked.
    Taken(Ticket, Option<Standing>),
    /// There is not so much: the call must ask the service for itself.
    Short,
    /// There is not so much, and the service has lately refused no more. So long until the window
    /// ends.
    Spent(Span, Option<Standing>),
}

/// An amount taken from a lease, to be corrected to what was used; dropped, it stays taken.
#[derive(Debug)]
#[must_use = "what was taken must be corrected to what was used"]
pub struct Ticket {
    account: Account,
    amount: Amount,
    taken_at: Timestamp,
}

impl Account {
    /// The lease of a limit for a subject.
    #[must_use]
    pub fn of(limit: &Rc<Limit>, subject: &Subject<'_>, budgets: &Budgets<'_>) -> Self {
        let dimensions = limit.per.iter().map(|dimension| (&**dimension, subject.value(dimension)));
        // No budget has this name: the identities of limits have a slash in them.
        let key = budgets.keys.key("lease", [("limit", limit.id.as_bytes())].into_iter().chain(dimensions));
        Self { limit: limit.clone(), key }
    }

    /// Takes an amount from the lease. The second value: how much more to ask the service for, if
    /// this call is the one that should see to it.
    #[must_use = "what was taken must be corrected to what was used, and more be asked for"]
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
                LeaseOutcome::Taken(Ticket { account: self.clone(), amount, taken_at: now }, standing())
            }
            Outcome::Short => LeaseOutcome::Short,
            Outcome::Spent => LeaseOutcome::Spent(lease.ends_in(now), standing()),
        };
        (taken, more)
    }

    /// The service has allowed an amount to a call that asked for itself, and told where the budget
    /// stands. How much lease to ask for now, if this call is the one that should.
    #[must_use = "a caller that is told to ask for a lease must ask"]
    pub fn learn(
        &self,
        amount: Amount,
        told: WindowStatus,
        policy: &LeasePolicy,
        budgets: &Budgets<'_>,
    ) -> Option<Amount> {
        let (limit, now) = (&*self.limit, budgets.now);
        let learned = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.hear(told, limit, now);
            lease.charge(amount, limit);
            ((lease.more(policy, limit, now), lease.ends_in(now)), Some(lease))
        });
        let (more, ends_in) = learned?;
        self.charged(amount, ends_in, budgets);
        more
    }

    /// Records that the service refused an amount, to a call or as a lease, and returns the longest
    /// time until its window ends. After a refused lease, call [`Account::not_granted`] too.
    pub fn refused(&self, amount: Amount, told: WindowStatus, budgets: &Budgets<'_>) -> Span {
        let (limit, now) = (&*self.limit, budgets.now);
        let ends_in = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.refuse(amount, told, limit, now);
            (lease.ends_in(now), Some(lease))
        });
        ends_in.or(told.reset).unwrap_or(limit.shape.window)
    }

    /// The service has granted a lease of so much.
    pub fn granted(&self, amount: Amount, told: WindowStatus, budgets: &Budgets<'_>) {
        let (limit, now) = (&*self.limit, budgets.now);
        let ends_in = self.change(budgets, |lease| {
            let mut lease = lease.unwrap_or_else(|| Lease::begun(limit, now));
            lease.grant(amount, told, limit, now);
            (lease.ends_in(now), Some(lease))
        });
        if let Some(ends_in) = ends_in {
            self.charged(amount, ends_in, budgets);
        }
    }

    /// Promises a refused amount to its caller and returns the wait: until the window ends (in
    /// `ends_in`), or longer behind callers who were refused before. `least` is the part of a
    /// window that this process may expect.
    #[must_use = "what is promised must be told"]
    pub fn promise(&self, amount: Amount, ends_in: Span, least: Amount, budgets: &Budgets<'_>) -> Span {
        let room = self.known(budgets).map_or(Amount::ZERO, |lease| lease.charged(&self.limit)).max(least);
        promises::promise(&self.promises(budgets), &self.limit, amount, ends_in, room, budgets)
    }

    fn charged(&self, amount: Amount, ends_in: Span, budgets: &Budgets<'_>) {
        promises::charged(&self.promises(budgets), &self.limit, amount, ends_in, budgets);
    }

    /// The key of the queue of refused callers.
    fn promises(&self, budgets: &Budgets<'_>) -> Key {
        budgets.keys.key("promises", [("lease", &self.key.to_bytes()[..])])
    }

    /// No lease was granted, or no answer came: somebody else may ask.
    pub fn not_granted(&self, budgets: &Budgets<'_>) {
        self.change(budgets, |lease| {
            let mut lease = lease;
            if let Some(lease) = &mut lease {
                lease.asked_no_more();
            }
            ((), lease)
        });
    }

    /// Replaces an amount that was charged at `charged_at` by the amount used. A surplus goes to
    /// the lease, unless the window has ended. A lack comes from the lease as far as that goes; the
    /// rest is returned and must be reported to the service.
    #[must_use = "what the lease could not cover is not charged anywhere yet"]
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

    /// Where the budget stands as far as is known here; none if the service has told nothing of
    /// this window.
    #[must_use]
    pub fn standing(&self, budgets: &Budgets<'_>) -> Option<Standing> {
        self.known(budgets)?.standing(&self.limit, budgets.now)
    }

    fn known(&self, budgets: &Budgets<'_>) -> Option<Lease> {
        let now = budgets.now;
        budgets.table.peek(&self.key, now, |stored| Lease::open(stored?, &self.limit, now)).ok().flatten()
    }

    /// Changes the lease (none: untouched) to what `change` gives besides its answer. No answer if
    /// that could not be kept.
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

/// [`LeaseOutcome`], as it leaves the compare-and-swap.
#[derive(Clone, Copy)]
enum Outcome {
    Taken,
    Short,
    Spent,
}

impl Ticket {
    /// The amount that was taken.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        self.amount
    }

    /// Replaces the amount taken by the amount used, as [`Account::correct`] does.
    #[must_use = "what the lease could not cover is not charged anywhere yet"]
    pub fn correct_to(self, used: Amount, budgets: &Budgets<'_>) -> Amount {
        self.account.correct(self.amount, used, self.taken_at, budgets)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
