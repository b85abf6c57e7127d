//! Charges of one limit that a call shares with others of its workflow: a request that all of them
//! count as, or tokens that one of them has declared for all.
//!
//! In: as for any call, and its [`Workflow`]. Out: the charge, or a [`Refusal`]; later the share
//! settled, kept or given back. Not here: how calls find each other (`once`, `pool`), several
//! limits at once (`reserve`).
//!
//! Charge before sharing: look for charges of others, charge what is missing, then share the
//! charge. A call that finds that another came first gives its own charge back.

pub(in crate::limits) mod note;
pub(in crate::limits) mod once;
pub(in crate::limits) mod pool;
pub(in crate::limits) mod share;

use std::rc::Rc;

use crate::limits::budget::{Algorithm, Wait};
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::remembered::record::Unstored;
use crate::limits::reserve::attempt;
use crate::limits::reserve::charge::{Charge, ChargeOutcome};
use crate::limits::reserve::refusal::{Reason, Refusal, longest};
use crate::store::Place;
use crate::units::{Amount, Span};
use note::SharedCharge;
use once::{Claim, Claimed, Once};
use pool::{Draw, Pool};
use share::{Share, Workflow};

/// Charges an amount of one limit, as far as others of the workflow have not charged it.
pub(in crate::limits) fn hold(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    workflow: Option<&Workflow>,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<ChargeOutcome, Refusal> {
    // A charge shared with others does not wait in windows, because the others could not tell in
    // which window it will be used.
    let shared = if limit.shape.algorithm == Algorithm::TokenBucket { patience } else { Span::ZERO };
    let call = Call { limit, subject, amount, patience: shared, budgets };
    if let Some(once) = Once::of(limit, subject, budgets) {
        return call.count_once(once);
    }
    if let Some((pool, workflow)) = pool_of(limit, subject, workflow, budgets) {
        return call.hold_pooled(pool, workflow.declared);
    }
    Call { patience, ..call }.charge(amount)
}

/// Returns the part of an amount that a call would have to be charged.
pub(in crate::limits) fn needed(
    limit: &Limit,
    subject: &Subject<'_>,
    amount: Amount,
    workflow: Option<&Workflow>,
    budgets: &Budgets<'_>,
) -> Amount {
    if Once::of(limit, subject, budgets).is_some_and(|once| once.is_counted(budgets)) {
        return Amount::ZERO;
    }
    let Some((pool, workflow)) = pool_of(limit, subject, workflow, budgets) else { return amount };
    match pool.left(budgets) {
        Some(left) => amount - left,
        None => amount.max(workflow.declared.min(limit.shape.capacity())),
    }
}

/// Returns the refusal of an amount by a limit, if it refuses, without charging it.
pub(in crate::limits) fn look(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    workflow: Option<&Workflow>,
    budgets: &Budgets<'_>,
) -> Option<Refusal> {
    attempt::look(limit, subject, needed(limit, subject, amount, workflow, budgets), budgets)
}

fn pool_of<'w>(
    limit: &Limit,
    subject: &Subject<'_>,
    workflow: Option<&'w Workflow>,
    budgets: &Budgets<'_>,
) -> Option<(Pool, &'w Workflow)> {
    let workflow = workflow?;
    Some((Pool::of(limit, subject, &workflow.dimension, budgets)?, workflow))
}

/// Replaces the charge by the usage. The draw is used first; the unused part goes back to where it
/// came from.
pub(in crate::limits) fn settle(mut held: Charge, used: Amount, budgets: &Budgets<'_>) {
    match held.share.take().map(|share| *share) {
        None => held.correct_to(used, budgets),
        Some(Share::Counted(claim)) => claim.settle(budgets),
        Some(Share::Drawn(draw)) => {
            let unused = draw.amount - used;
            if !draw.put_back(unused, budgets) {
                held.part(&draw.charge, unused).correct_to(Amount::ZERO, budgets);
            }
            let rest = used - draw.amount;
            let more = draw.more(rest - held.amount, budgets);
            held.correct_to(rest - more, budgets);
        }
    }
}

/// Keeps the charge.
pub(in crate::limits) fn keep(mut held: Charge, budgets: &Budgets<'_>) {
    if let Some(Share::Counted(claim)) = held.share.take().map(|share| *share) {
        claim.settle(budgets);
    }
}

/// Gives back the charge, and what the call has charged for others, who go on without it.
pub(in crate::limits) fn release(mut held: Charge, budgets: &Budgets<'_>) {
    let shared = match held.share.take().map(|share| *share) {
        None => None,
        Some(Share::Counted(claim)) => claim.leave(budgets).map(|charge| held.part(&charge, Amount(1))),
        Some(Share::Drawn(draw)) if draw.has_opened => {
            Some(held.part(&draw.charge, draw.close(budgets) + draw.amount))
        }
        Some(Share::Drawn(draw)) => {
            let is_back = draw.put_back(draw.amount, budgets);
            (!is_back).then(|| held.part(&draw.charge, draw.amount))
        }
    };
    for held in shared.into_iter().chain([held]) {
        held.correct_to(Amount::ZERO, budgets);
    }
}

impl Charge {
    /// Returns a part of a charge to the same budget.
    fn part(&self, charge: &SharedCharge, amount: Amount) -> Self {
        let SharedCharge { place, counted_at, .. } = *charge;
        let (limit, key, rest) = (self.limit.clone(), self.key, Amount::ZERO);
        let (room, rate, share) = (amount, self.rate.clone(), None);
        Self { limit, key, place, counted_at, amount, rest, room, rate, share }
    }
}

impl ChargeOutcome {
    fn with(self, share: Share) -> Self {
        Self { held: Charge { share: Some(Box::new(share)), ..self.held }, ..self }
    }
}

/// A call before one limit.
struct Call<'a> {
    limit: &'a Rc<Limit>,
    subject: &'a Subject<'a>,
    amount: Amount,
    patience: Span,
    budgets: &'a Budgets<'a>,
}

impl Call<'_> {
    /// Charges an amount for this call alone.
    fn charge(&self, amount: Amount) -> Result<ChargeOutcome, Refusal> {
        attempt::charge(self.limit, self.subject, amount, self.patience, self.budgets)
    }

    /// Returns the charge just made, for others to rely on.
    fn charged(&self, taken: &ChargeOutcome) -> SharedCharge {
        let Charge { place, counted_at, .. } = taken.held;
        let wait = match taken.waits_for.as_ref().map(|refusal| refusal.wait) {
            Some(Wait::For(span)) => span,
            Some(Wait::Never) | None => Span::ZERO,
        };
        SharedCharge { place, counted_at, made_at: self.budgets.now, wait }
    }

    fn count_once(&self, once: Once) -> Result<ChargeOutcome, Refusal> {
        if let Some(claim) = once.join(self.budgets) {
            return self.rely_on(claim);
        }
        let mut taken = match self.charge(self.amount) {
            Ok(taken) => taken,
            // The rest may have been taken by another call of this very workflow.
            Err(refusal) => return once.join(self.budgets).map_or(Err(refusal), |claim| self.rely_on(claim)),
        };
        match once.claim(self.charged(&taken), self.budgets) {
            Ok(Claimed::First(claim)) => {
                // The charge belongs to the workflow from now on, not to the call.
                taken.held.amount = Amount::ZERO;
                Ok(taken.with(Share::Counted(claim)))
            }
            Ok(Claimed::Joined(claim)) => {
                taken.held.correct_to(Amount::ZERO, self.budgets);
                self.rely_on(claim)
            }
            Err(Unstored) => Ok(taken),
        }
    }

    /// Counts by another call's request.
    fn rely_on(&self, claim: Claim) -> Result<ChargeOutcome, Refusal> {
        let due = claim.charge.due_in(self.budgets.now);
        self.wait_for(Amount::ZERO, due, Share::Counted(claim))
    }

    fn hold_pooled(&self, pool: Pool, declared: Amount) -> Result<ChargeOutcome, Refusal> {
        if let Some(draw) = pool.draw(self.amount, self.budgets) {
            return self.draw_from(draw);
        }
        if declared.is_zero() {
            return self.charge(self.amount);
        }
        let declared = declared.min(self.limit.shape.capacity());
        let mut taken = match self.charge(declared.max(self.amount)) {
            Ok(taken) => taken,
            Err(refusal) => {
                let draw = pool.draw(self.amount, self.budgets);
                return draw.map_or(Err(refusal), |draw| self.draw_from(draw));
            }
        };
        let charged = self.charged(&taken);
        let until = pool::lives_until(&taken.standing, &charged);
        match pool.open(declared, until, charged, self.amount, self.budgets) {
            Ok(draw) if draw.has_opened => {
                taken.held.amount = self.amount - draw.amount;
                Ok(taken.with(Share::Drawn(draw)))
            }
            Ok(draw) => {
                taken.held.correct_to(Amount::ZERO, self.budgets);
                self.draw_from(draw)
            }
            Err(Unstored) => {
                taken.held.correct_to(Amount::ZERO, self.budgets);
                self.charge(self.amount)
            }
        }
    }

    /// Combines a draw with a charge of the missing amount.
    fn draw_from(&self, draw: Draw) -> Result<ChargeOutcome, Refusal> {
        let due = if draw.amount.is_zero() { Span::ZERO } else { draw.charge.due_in(self.budgets.now) };
        self.wait_for(self.amount - draw.amount, due, Share::Drawn(draw))
    }

    /// Charges an amount in addition to a share that becomes due in `due`.
    fn wait_for(&self, amount: Amount, due: Span, share: Share) -> Result<ChargeOutcome, Refusal> {
        let mut taken = match self.charge(amount) {
            Ok(taken) => taken.with(share),
            Err(refusal) => {
                release(self.holding(share), self.budgets);
                return Err(refusal);
            }
        };
        if due.is_zero() {
            return Ok(taken);
        }
        let (standing, wait) = (taken.standing.clone(), Wait::For(due));
        let refusal = Refusal { standing, needed: self.amount, wait, reason: Reason::Spent };
        if due > self.patience {
            release(taken.held, self.budgets);
            return Err(refusal);
        }
        taken.waits_for = longest(taken.waits_for.into_iter().chain([Box::new(refusal)]));
        Ok(taken)
    }

    /// Returns a charge that is only a share.
    fn holding(&self, share: Share) -> Charge {
        Charge {
            limit: self.limit.clone(),
            key: self.limit.key(self.budgets.keys, self.subject),
            place: Place::Own,
            counted_at: self.budgets.now,
            amount: Amount::ZERO,
            rest: Amount::ZERO,
            room: Amount::ZERO,
            rate: None,
            share: Some(Box::new(share)),
        }
    }
}

#[cfg(test)]
mod tests;
