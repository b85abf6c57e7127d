//! Holding what a call will cost, in all limits or none, and replacing it by what the call did cost.
//!
//! In: limits, a [`Subject`], an [`Estimate`]; later the usage. Out: [`Granted`] or [`Refusal`]. Not here: the arithmetic of one
//! budget.

use std::rc::Rc;

use super::adaptive;
use super::budget::Wait;
use super::flights::Flight;
use super::ledger::Ledger;
use super::limit::{Estimate, Limit, Standing, Subject, Used};
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// A call may pass.
#[derive(Debug, Default)]
pub struct Granted {
    /// What is held for it.
    pub reservation: Reservation,
    /// Where the budgets of its enforced limits stand now.
    pub standings: Vec<Standing>,
    /// Limits with `enforce: shadow` that would have refused it. They are not charged, as if they had.
    pub shadowed: Vec<Refusal>,
    /// What it would have been refused by, if it may wait instead: the limit that has to be waited for longest.
    pub waits_for: Option<Refusal>,
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

/// The charges held for a call. It must be settled or kept; a value that is dropped, as all are when a VM dies, stays
/// charged until it has flowed back with its window.
#[derive(Debug, Default)]
#[must_use = "what is held must be settled or kept"]
pub struct Reservation {
    held: Vec<Held>,
    /// Places among the calls in flight; given back however the call ends.
    flights: Vec<Rc<Flight>>,
}

#[derive(Debug)]
struct Held {
    limit: Rc<Limit>,
    key: Key,
    place: Place,
    counted_at: Timestamp,
    amount: Amount,
    /// How much of the budget had to be left for it to be let pass.
    room: Amount,
    /// Where the limit's rate is kept, if it adapts.
    rate: Option<Key>,
}

/// Whether limits that count requests would refuse a call whose body is not yet read, even if it waited as long as it may. Nothing is
/// held.
///
/// # Errors
/// The [`Refusal`].
pub fn would_refuse_at_once(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    patience: Span,
    ledger: &Ledger<'_>,
) -> Result<(), Refusal> {
    let counts = |limit: &&Rc<Limit>| limit.is_known_at_once() && !limit.counts.is_in_flight();
    let at_once = limits.iter().filter(|limit| counts(limit) && !limit.shadow);
    let refusals = at_once.filter_map(|limit| look(limit, subject, Amount(1), ledger));
    longest(refusals.filter(|refusal| !refusal.is_within(patience))).map_or(Ok(()), Err)
}

/// Takes a place among the calls in flight in every limit that counts them and applies whatever the body says, or in none.
///
/// # Errors
/// The [`Refusal`].
pub fn take_off(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    ledger: &Ledger<'_>,
) -> Result<Granted, Refusal> {
    let at_once = limits.iter().filter(|limit| limit.is_in_flight_at_once());
    let one = |_: &Rc<Limit>| Amount(1);
    Granted::default().add(at_once, subject, one, Span::ZERO, ledger)
}

/// Holds what a call is expected to cost in every limit that applies to it, or in none, besides what it has been `granted` before. If
/// it does not fit at once but would within `patience`, it is held all the same, and the call has to wait so long.
///
/// # Errors
/// The [`Refusal`] that has to be waited for longest; whatever had been held is given back.
pub fn reserve(
    granted: Granted,
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    estimate: &Estimate,
    patience: Span,
    ledger: &Ledger<'_>,
) -> Result<Granted, Refusal> {
    let applying =
        limits.iter().filter(|limit| limit.applies_to(subject.model) && !limit.is_in_flight_at_once());
    granted.add(applying, subject, |limit| limit.hold(estimate), patience, ledger)
}

impl Granted {
    /// Holds an amount in each of these limits too, or else nothing at all.
    fn add<'l>(
        mut self,
        limits: impl Iterator<Item = &'l Rc<Limit>>,
        subject: &Subject<'_>,
        amount: impl Fn(&Rc<Limit>) -> Amount,
        patience: Span,
        ledger: &Ledger<'_>,
    ) -> Result<Self, Refusal> {
        // Limits that only watch come last, so that they never see a call that is refused.
        let (watching, enforced): (Vec<&Rc<Limit>>, Vec<_>) = limits.partition(|limit| limit.shadow);
        for (at, limit) in enforced.iter().enumerate() {
            match hold(limit, subject, amount(limit), patience, ledger) {
                Ok(held) => {
                    self.waits_for = longest(self.waits_for.into_iter().chain(held.waits_for));
                    self.standings.push(held.standing);
                    self.reservation.take(held.held, ledger);
                }
                Err(refusal) => {
                    self.reservation.release(ledger);
                    let rest = enforced.iter().skip(at.saturating_add(1));
                    let further = rest.filter_map(|limit| look(limit, subject, amount(limit), ledger));
                    return Err(longest(further.chain([refusal.clone()])).unwrap_or(refusal));
                }
            }
        }
        for limit in watching {
            match hold(limit, subject, amount(limit), Span::ZERO, ledger) {
                Ok(held) => self.reservation.take(held.held, ledger),
                Err(refusal) => self.shadowed.push(refusal),
            }
        }
        Ok(self)
    }
}

impl Reservation {
    /// Replaces what is held by what was used: too much comes back, too little becomes debt.
    pub fn settle(self, used: &Used<'_>, ledger: &Ledger<'_>) {
        for held in self.held {
            let amount = held.limit.used(used);
            held.correct_to(amount, ledger);
        }
        land(&self.flights, ledger);
    }

    /// Leaves charged what is held: nobody can tell what was used.
    pub fn keep(self, ledger: &Ledger<'_>) {
        land(&self.flights, ledger);
    }

    /// Holds what another reservation of the same call holds, too.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.flights.extend(other.flights);
    }

    /// Gives back everything, the request too: a refused call consumes nothing.
    pub fn release(self, ledger: &Ledger<'_>) {
        for held in self.held {
            held.correct_to(Amount::ZERO, ledger);
        }
        land(&self.flights, ledger);
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty() && self.flights.is_empty()
    }

    /// How long until all that is charged to its budgets is paid: a call that waits need not wait longer.
    #[must_use]
    pub fn until_paid(&self, ledger: &Ledger<'_>) -> Span {
        let enforced = self.held.iter().filter(|held| !held.limit.shadow);
        let spans = enforced.map(|held| held.until_paid(ledger));
        spans.max().unwrap_or(Span::ZERO)
    }

    /// The upstream has refused the call: limits that adapt allow less from now on. Which ones.
    pub fn slow_down(&self, ledger: &Ledger<'_>) -> Vec<Rc<Limit>> {
        let slower = self
            .held
            .iter()
            .filter(|held| held.rate.is_some_and(|rate| adaptive::decrease(&rate, held.counted_at, ledger)));
        slower.map(|held| held.limit.clone()).collect()
    }

    fn take(&mut self, held: Held, ledger: &Ledger<'_>) {
        if !held.limit.counts.is_in_flight() {
            self.held.push(held);
            return;
        }
        let flight = Rc::new(Flight::new(held.limit, held.key, held.place, held.counted_at));
        ledger.watch(&flight);
        self.flights.push(flight);
    }
}

fn land(flights: &[Rc<Flight>], ledger: &Ledger<'_>) {
    flights.iter().for_each(|flight| flight.land(ledger));
}

impl Held {
    fn correct_to(self, used: Amount, ledger: &Ledger<'_>) {
        let Self { limit, key, place, counted_at, amount, rate, room: _ } = self;
        if used == amount {
            return;
        }
        let shape = adaptive::shape(&limit, rate.as_ref(), ledger);
        let corrected = ledger.change(shape, &key, Some(place), |budget| {
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

    fn until_paid(&self, ledger: &Ledger<'_>) -> Span {
        let shape = adaptive::shape(&self.limit, self.rate.as_ref(), ledger);
        let until = ledger.look(shape, &self.key, |budget| budget.until_paid(self.amount, self.room));
        until.unwrap_or(Span::MAX)
    }
}

/// What is held of one limit, and what that means for the call.
struct Taken {
    held: Held,
    standing: Standing,
    waits_for: Option<Refusal>,
}

fn hold(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    patience: Span,
    ledger: &Ledger<'_>,
) -> Result<Taken, Refusal> {
    let key = limit.key(ledger.keys, subject);
    let (present, rate) = adaptive::present(limit, subject, ledger);
    let room = limit.room(amount, &present, subject);
    let kept = room - amount;
    let updated = ledger.change(present.shape, &key, None, |budget| {
        let before = *budget;
        let reserved = budget.reserve_with_room(amount, room, patience);
        let standing = |budget: &_| present.standing(budget).without(kept);
        let refusal =
            |wait| Refusal { standing: standing(&before), needed: amount, wait, reason: Reason::Spent };
        let outcome = match reserved {
            Ok(Span::ZERO) => Ok((budget.counted_at(), standing(budget), None)),
            Ok(wait) => Ok((budget.counted_at(), standing(budget), Some(refusal(Wait::For(wait))))),
            Err(refused) => Err(refusal(refused.wait)),
        };
        let changed = outcome.is_ok();
        (outcome, changed)
    });
    match updated {
        Ok(updated) => {
            let (counted_at, standing, waits_for) = updated.value?;
            let place = updated.place;
            let held = Held { limit: limit.clone(), key, place, counted_at, amount, room, rate };
            Ok(Taken { held, standing, waits_for })
        }
        Err(_) => Err(unavailable(limit, amount, ledger)),
    }
}

/// Whether a limit refuses an amount, without charging it.
fn look(limit: &Rc<Limit>, subject: &Subject<'_>, amount: Amount, ledger: &Ledger<'_>) -> Option<Refusal> {
    let key = limit.key(ledger.keys, subject);
    let (present, _) = adaptive::present(limit, subject, ledger);
    let room = limit.room(amount, &present, subject);
    let refusal = ledger.look(present.shape, &key, |budget| match budget.wait_for(room) {
        Wait::For(Span::ZERO) => None,
        wait => {
            let standing = present.standing(budget).without(room - amount);
            Some(Refusal { standing, needed: amount, wait, reason: Reason::Spent })
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
    /// Whether the call would fit if it waited so long, which calls in flight are not waited for.
    fn is_within(&self, patience: Span) -> bool {
        matches!(self.wait, Wait::For(span) if span <= patience) && self.reason == Reason::Spent
    }

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
