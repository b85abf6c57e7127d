//! What one call holds of one limit: charged before it, followed while it runs, corrected at its end.
//!
//! In: a limit, a subject, an amount; later what was used. Out: [`Held`], or a [`Refusal`]. Not here: several limits of one call
//! (`reservation`), what calls hold together (`workflow`), the arithmetic of a budget (`budget`).

use std::rc::Rc;

use super::adaptive;
use super::budget::{Algorithm, Booked, Wait};
use super::ledger::Ledger;
use super::limit::{Limit, Standing, Subject};
use super::reservation::{Reason, Refusal};
use super::workflow::{self, Share, Workflow};
use crate::config::Ratio;
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// How long a caller is told to wait when its budget cannot be read: long enough for contention to pass.
const WAIT_FOR_STORE: Span = Span::from_secs(1);

/// What is charged to one budget for a call. A call has one of these for each of its limits, so what most of them lack is boxed.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) limit: Rc<Limit>,
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) counted_at: Timestamp,
    pub(super) amount: Amount,
    /// The rest of a window that is charged besides, as long as the call waits.
    pub(super) rest: Amount,
    /// How much of the budget had to be left for it to be let pass.
    pub(super) room: Amount,
    /// Where the limit's rate is kept, if it adapts.
    pub(super) rate: Option<Box<Key>>,
    /// What it holds besides, together with others of its workflow.
    pub(super) share: Option<Box<Share>>,
}

/// What is held of one limit, and what that means for the call.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) held: Held,
    pub(super) standing: Standing,
    /// Whether the budget has come beyond its warning by it.
    pub(super) crossed: bool,
    pub(super) waits_for: Option<Box<Refusal>>,
}

/// Charges an amount to the budget of a limit, for this call alone.
pub(super) fn charge(
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
        let standing = |budget: &_| present.standing(budget).without(kept);
        let refusal =
            |wait| Refusal { standing: standing(&before), needed: amount, wait, reason: Reason::Spent };
        let (rest, waits_for) = match budget.reserve_with_room(amount, room, patience) {
            Ok(Booked { rest, wait }) => {
                (rest, (!wait.is_zero()).then(|| Box::new(refusal(Wait::For(wait)))))
            }
            Err(refused) => return (Err(refusal(refused.wait)), false),
        };
        let crossed = budget.note(present.warning());
        (Ok((budget.counted_at(), rest, standing(budget), crossed, waits_for)), true)
    });
    let Ok(updated) = updated else { return Err(unavailable(limit, amount, ledger)) };
    let (counted_at, rest, standing, crossed, waits_for) = updated.value?;
    let (limit, place) = (limit.clone(), updated.place);
    let held = Held { limit, key, place, counted_at, amount, rest, room, rate, share: None };
    Ok(Taken { held, standing, crossed, waits_for })
}

/// Whether a limit refuses an amount, without charging it.
pub(super) fn look(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    workflow: Option<&Workflow>,
    ledger: &Ledger<'_>,
) -> Option<Refusal> {
    let amount = workflow::needed(limit, subject, amount, workflow, ledger);
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
pub(super) fn unavailable(limit: &Rc<Limit>, needed: Amount, ledger: &Ledger<'_>) -> Refusal {
    ledger.count(|tally| tally.failed_reservations = tally.failed_reservations.saturating_add(1));
    Refusal::unknown(limit, needed, WAIT_FOR_STORE)
}

impl Held {
    /// The call has waited and goes on: what is held counts as of now.
    pub(super) fn go_on(&mut self, ledger: &Ledger<'_>) {
        if self.limit.shape.algorithm == Algorithm::TokenBucket {
            return;
        }
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), ledger);
        let gone_on = ledger.change(shape, &self.key, Some(self.place), |budget| {
            budget.go_on(self.amount, self.rest, self.counted_at);
            (budget.counted_at(), true)
        });
        // What cannot be written stays charged when it was.
        if let Ok(gone_on) = gone_on {
            (self.counted_at, self.rest) = (gone_on.value, Amount::ZERO);
        }
    }

    /// How long until it would have had the room that it needs, whatever was charged after it.
    pub(super) fn until_paid(&self, ledger: &Ledger<'_>) -> Span {
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), ledger);
        let until = ledger.look(shape, &self.key, |budget| budget.until_paid(self.amount, self.room));
        until.unwrap_or(Span::MAX)
    }

    /// What it holds of what its workflow has declared.
    fn drawn(&self) -> Amount {
        match self.share.as_deref() {
            Some(Share::Drawn(draw)) => draw.amount,
            Some(Share::Counted(_)) | None => Amount::ZERO,
        }
    }

    /// A call that has used less than half of what is held for it is far from what it may use.
    pub(super) fn is_mostly_used(&self, used: Amount) -> bool {
        used.0 >= (self.amount + self.drawn()).0.div_ceil(2)
    }

    /// Its limit, if the budget would be overspent by a settlement of so much now. What is used beyond what is held is charged at once. A
    /// budget that cannot be read or written stops nobody.
    pub(super) fn overspent(&mut self, used: Amount, grace: Ratio, ledger: &Ledger<'_>) -> Option<Rc<Limit>> {
        let mut used = used - self.drawn();
        match self.share.as_deref_mut() {
            // A request that all calls of a workflow count as.
            Some(Share::Counted(_)) => return None,
            Some(Share::Drawn(draw)) => used = used - draw.draw_more(used - self.amount, ledger),
            None => {}
        }
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), ledger);
        let capacity = shape.capacity().0;
        let most = capacity.saturating_add(grace.of(capacity));
        let (held, held_at) = (self.amount, self.counted_at);
        let looked = ledger.change(shape, &self.key, Some(self.place), |budget| {
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
            (self.amount, self.counted_at) = (used, now);
        }
        is_overspent.then(|| self.limit.clone())
    }

    /// Makes what is charged what was used.
    pub(super) fn correct_to(self, used: Amount, ledger: &Ledger<'_>) {
        let Self { limit, key, place, counted_at, amount, rest, rate, .. } = self;
        if used == amount && rest.is_zero() {
            return;
        }
        let shape = adaptive::shape(&limit, rate.as_deref(), ledger);
        let corrected = ledger.change(shape, &key, Some(place), |budget| {
            if used > amount {
                budget.charge(used - amount);
                return ((), true);
            }
            let returned = budget.leave(amount - used, rest, counted_at);
            ((), !returned.is_zero())
        });
        if corrected.is_err() {
            ledger.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(1));
        }
    }
}
