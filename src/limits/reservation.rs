//! Holding what a call will cost, in all limits or none, and replacing it by what the call did cost.
//!
//! In: limits, a [`Subject`], an [`Estimate`]; later the usage. Out: [`Granted`] or [`Refusal`]. Not here: the arithmetic of one
//! budget.

use std::rc::Rc;

use super::budget::Wait;
use super::ledger::Ledger;
use super::limit::{Estimate, Limit, Standing, Subject};
use super::rates::Rates;
use crate::api::Usage;
use crate::config::Ratio;
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// A call may pass.
#[derive(Debug)]
pub struct Granted {
    /// What is held for it.
    pub reservation: Reservation,
    /// Where the budgets of its enforced limits stand now.
    pub standings: Vec<Standing>,
    /// Limits with `enforce: shadow` that would have refused it. They are not charged, as if they had.
    pub shadowed: Vec<Refusal>,
}

/// A call may not pass; nothing is held for it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The limit that has to be waited for longest, and where its budget stands.
    pub standing: Standing,
    /// What the call needs of it.
    pub needed: Amount,
    /// How long until that fits.
    pub wait: Wait,
    /// What it rests on.
    pub reason: Reason,
}

/// What a refusal rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The budget is known, and the call does not fit.
    Spent,
    /// Where the budget stands cannot be found out: what is not known to fit must not pass for free.
    Unknown,
}

/// How long a caller is told to wait when its budget cannot be read: long enough for contention to pass.
const WAIT_FOR_STORE: Span = Span::from_secs(1);

/// By which share of a budget a call's usage grows before the budget is looked at again.
const LOOK_EVERY: Ratio = Ratio { ppm: 10_000 };

/// The charges held for a call. It must be settled or kept; a value that is dropped, as all are when a VM dies, stays
/// charged until it has flowed back with its window.
#[derive(Debug)]
#[must_use = "what is held must be settled or kept"]
pub struct Reservation {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    limit: Rc<Limit>,
    key: Key,
    place: Place,
    counted_at: Timestamp,
    amount: Amount,
}

/// Whether limits that count requests would refuse a call whose body is not yet read. Nothing is held.
///
/// # Errors
/// The [`Refusal`].
pub fn would_refuse_at_once(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    ledger: &Ledger<'_>,
) -> Result<(), Refusal> {
    let at_once = limits.iter().filter(|limit| limit.is_known_at_once() && !limit.shadow);
    longest(at_once.filter_map(|limit| look(limit, subject, Amount(1), ledger))).map_or(Ok(()), Err)
}

/// Holds what a call is expected to cost in every limit that applies to it, or in none.
///
/// # Errors
/// The [`Refusal`] that has to be waited for longest; whatever had been held is given back.
pub fn reserve(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    estimate: &Estimate,
    ledger: &Ledger<'_>,
) -> Result<Granted, Refusal> {
    let applying: Vec<_> = limits.iter().filter(|limit| limit.applies_to(subject.model)).collect();
    let mut reservation = Reservation { held: Vec::with_capacity(applying.len()) };
    let mut standings = Vec::with_capacity(applying.len());
    let mut shadowed = Vec::new();
    // Limits that only watch come last, so that they never see a call that is refused.
    let (watching, enforced): (Vec<&Rc<Limit>>, _) = applying.into_iter().partition(|limit| limit.shadow);
    for (at, limit) in enforced.iter().enumerate() {
        match hold(limit, subject, estimate, ledger) {
            Ok((held, standing)) => {
                reservation.held.push(held);
                standings.push(standing);
            }
            Err(refusal) => {
                reservation.release(ledger);
                let rest = enforced.iter().skip(at.saturating_add(1));
                let further = rest.filter_map(|limit| look(limit, subject, limit.hold(estimate), ledger));
                return Err(longest(further.chain([refusal.clone()])).unwrap_or(refusal));
            }
        }
    }
    for limit in watching {
        match hold(limit, subject, estimate, ledger) {
            Ok((held, _)) => reservation.held.push(held),
            Err(refusal) => shadowed.push(refusal),
        }
    }
    Ok(Granted { reservation, standings, shadowed })
}

impl Reservation {
    /// Replaces what is held by what was used: too much comes back, too little becomes debt.
    pub fn settle(self, usage: &Usage, rates: &Rates, ledger: &Ledger<'_>) {
        for held in self.held {
            let used = (held.limit.counts.amount)(usage, rates);
            held.correct_to(used, ledger);
        }
    }

    /// A limit whose budget would be spent, beyond its capacity by more than this share of it, if the call ended now with this usage. What
    /// a call has used beyond what is held for it is charged on the way, so that budgets refill under a long call as they do between
    /// calls, and other calls see it. Limits that only watch stop nothing.
    pub fn overspent(
        &mut self,
        usage: &Usage,
        rates: &Rates,
        grace: Ratio,
        ledger: &Ledger<'_>,
    ) -> Option<Rc<Limit>> {
        let enforced = self.held.iter_mut().filter(|held| !held.limit.shadow);
        let overspent: Vec<_> =
            enforced.filter_map(|held| held.overspent(usage, rates, grace, ledger)).collect();
        overspent.into_iter().next()
    }

    /// Whether a budget may have come to its end since the call had used `before`: it has used most of what is held for it, and a
    /// hundredth of the budget since then.
    #[must_use]
    pub fn is_worth_a_look(&self, before: &Usage, now: &Usage, rates: &Rates) -> bool {
        self.held.iter().filter(|held| !held.limit.shadow).any(|held| {
            let amount = |usage| (held.limit.counts.amount)(usage, rates);
            let (before, now) = (amount(before), amount(now));
            let step = LOOK_EVERY.of(held.limit.shape.capacity().0).max(1);
            held.is_mostly_used(now) && (now - before).0 >= step
        })
    }

    /// Whether a call that has used so much may have come to the end of a budget at all.
    #[must_use]
    pub fn is_mostly_used(&self, usage: &Usage, rates: &Rates) -> bool {
        let mut enforced = self.held.iter().filter(|held| !held.limit.shadow);
        enforced.any(|held| held.is_mostly_used((held.limit.counts.amount)(usage, rates)))
    }

    /// Leaves charged what is held: nobody can tell what was used.
    pub fn keep(self) {
        drop(self);
    }

    /// Holds what another reservation of the same call holds, too.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
    }

    /// Gives back everything, the request too: a refused call consumes nothing.
    pub fn release(self, ledger: &Ledger<'_>) {
        for held in self.held {
            held.correct_to(Amount::ZERO, ledger);
        }
    }
}

impl Held {
    /// A call that has used less than half of what is held for it is far from what it may use.
    const fn is_mostly_used(&self, used: Amount) -> bool {
        used.0 >= self.amount.0.div_ceil(2)
    }

    /// Its limit, if the budget would be overspent by a settlement now. A budget that cannot be read or written stops nobody.
    fn overspent(
        &mut self,
        usage: &Usage,
        rates: &Rates,
        grace: Ratio,
        ledger: &Ledger<'_>,
    ) -> Option<Rc<Limit>> {
        let Self { limit, key, place, counted_at, amount } = self;
        let (used, held, held_at) = ((limit.counts.amount)(usage, rates), *amount, *counted_at);
        let capacity = limit.shape.capacity().0;
        let most = capacity.saturating_add(grace.of(capacity));
        let looked = ledger.change(limit.shape, key, Some(*place), |budget| {
            let grows = used > held;
            if grows {
                budget.charge(used - held);
            }
            let mut settled = *budget;
            settled.refund(held - used, held_at);
            ((settled.spent().0 > most, budget.counted_at()), grows)
        });
        let (is_overspent, now) = looked.ok()?.value;
        if used > held {
            (*amount, *counted_at) = (used, now);
        }
        is_overspent.then(|| limit.clone())
    }

    fn correct_to(self, used: Amount, ledger: &Ledger<'_>) {
        let Self { limit, key, place, counted_at, amount } = self;
        if used == amount {
            return;
        }
        let corrected = ledger.change(limit.shape, &key, Some(place), |budget| {
            if used > amount {
                budget.charge(used - amount);
                return ((), true);
            }
            let returned = budget.refund(amount - used, counted_at);
            ((), !returned.is_zero())
        });
        if corrected.is_err() {
            ledger.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(1));
        }
    }
}

fn hold(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    estimate: &Estimate,
    ledger: &Ledger<'_>,
) -> Result<(Held, Standing), Refusal> {
    let key = limit.key(ledger.keys, subject);
    let amount = limit.hold(estimate);
    let updated = ledger.change(limit.shape, &key, None, |budget| {
        let reserved = budget.reserve(amount);
        let standing = limit.standing(budget);
        let outcome = match reserved {
            Ok(()) => Ok((budget.counted_at(), standing)),
            Err(refused) => {
                Err(Refusal { standing, needed: amount, wait: refused.wait, reason: Reason::Spent })
            }
        };
        let changed = outcome.is_ok();
        (outcome, changed)
    });
    match updated {
        Ok(updated) => {
            let (counted_at, standing) = updated.value?;
            Ok((Held { limit: limit.clone(), key, place: updated.place, counted_at, amount }, standing))
        }
        Err(_) => Err(unavailable(limit, amount, ledger)),
    }
}

/// Whether a limit refuses an amount, without charging it.
fn look(limit: &Rc<Limit>, subject: &Subject<'_>, amount: Amount, ledger: &Ledger<'_>) -> Option<Refusal> {
    let key = limit.key(ledger.keys, subject);
    let refusal = ledger.look(limit.shape, &key, |budget| match budget.wait_for(amount) {
        Wait::For(Span::ZERO) => None,
        wait => {
            Some(Refusal { standing: limit.standing(budget), needed: amount, wait, reason: Reason::Spent })
        }
    });
    refusal.unwrap_or_else(|_| Some(unavailable(limit, amount, ledger)))
}

/// A budget that cannot be read refuses.
fn unavailable(limit: &Rc<Limit>, needed: Amount, ledger: &Ledger<'_>) -> Refusal {
    ledger.count(|tally| tally.failed_reservations = tally.failed_reservations.saturating_add(1));
    Refusal::unknown(limit, needed, WAIT_FOR_STORE)
}

impl Refusal {
    /// Nobody knows where the budget stands; it is worth asking again after `wait`.
    #[must_use]
    pub fn unknown(limit: &Rc<Limit>, needed: Amount, wait: Span) -> Self {
        let standing =
            Standing { limit: limit.clone(), available: Amount::ZERO, spent: Amount::ZERO, reset: wait };
        Self { standing, needed, wait: Wait::For(wait), reason: Reason::Unknown }
    }
}

/// The refusal that has to be waited for longest.
#[must_use]
pub fn longest(refusals: impl Iterator<Item = Refusal>) -> Option<Refusal> {
    refusals.max_by_key(|refusal| match refusal.wait {
        Wait::For(span) => span,
        Wait::Never => Span::MAX,
    })
}

#[cfg(test)]
#[path = "reservation_tests.rs"]
mod tests;
