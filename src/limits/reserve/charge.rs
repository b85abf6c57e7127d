//! The charge of one call to one limit: followed while the call runs, corrected at its end.
//!
//! In: usage, as the call goes on and at its end. Out: corrected budgets. Not here: how it is made
//! (`attempt`), several limits of one call (`reserve`), shared charges of a workflow (`workflow`).

use std::rc::Rc;

use crate::config::Ratio;
use crate::limits::budget::Algorithm;
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Standing};
use crate::limits::remembered::adaptive;
use crate::limits::reserve::correction::{Correction, correct};
use crate::limits::reserve::refusal::Refusal;
use crate::limits::workflow::share::Share;
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// A charge to one budget for a call. A call has one for each of its limits, so fields that most
/// charges lack are boxed.
#[derive(Debug)]
pub(in crate::limits) struct Charge {
    pub(in crate::limits) limit: Rc<Limit>,
    pub(in crate::limits) key: Key,
    pub(in crate::limits) place: Place,
    pub(in crate::limits) counted_at: Timestamp,
    pub(in crate::limits) amount: Amount,
    /// The rest of a window that is also charged, as long as the call waits.
    pub(in crate::limits) rest: Amount,
    /// The room in the budget that it needed to pass.
    pub(in crate::limits) room: Amount,
    /// The key of the limit's rate, if it adapts.
    pub(in crate::limits) rate: Option<Box<Key>>,
    /// Its share in a charge of its workflow.
    pub(in crate::limits) share: Option<Box<Share>>,
}

/// A charge, and its consequences for the call.
#[derive(Debug)]
pub(in crate::limits) struct ChargeOutcome {
    pub(in crate::limits) held: Charge,
    pub(in crate::limits) standing: Standing,
    /// Whether the budget has crossed its warning with it.
    pub(in crate::limits) crossed: bool,
    pub(in crate::limits) waits_for: Option<Box<Refusal>>,
}

impl Charge {
    /// Lets a waiting call go on: its charge counts as of now.
    pub(in crate::limits) fn go_on(&mut self, budgets: &Budgets<'_>) {
        if self.limit.shape.algorithm == Algorithm::TokenBucket {
            return;
        }
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), budgets);
        let gone_on = budgets.change(shape, &self.key, Some(self.place), |budget| {
            budget.go_on(self.amount, self.rest, self.counted_at);
            (budget.counted_at(), true)
        });
        // If the write fails, the charge keeps its time.
        if let Ok(gone_on) = gone_on {
            (self.counted_at, self.rest) = (gone_on.value, Amount::ZERO);
        }
    }

    /// Returns the time until it would have had the room that it needs, whatever was charged after
    /// it.
    pub(in crate::limits) fn until_paid(&self, budgets: &Budgets<'_>) -> Span {
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), budgets);
        let until = budgets.look(shape, &self.key, |budget| budget.until_paid(self.amount, self.room));
        until.unwrap_or(Span::MAX)
    }

    /// Returns the amount drawn from its workflow's pool.
    fn drawn(&self) -> Amount {
        match self.share.as_deref() {
            Some(Share::Drawn(draw)) => draw.amount,
            Some(Share::Counted(_)) | None => Amount::ZERO,
        }
    }

    /// Returns whether the call has used at least half of its charge; with less it is far from its
    /// bound.
    pub(in crate::limits) fn is_mostly_used(&self, used: Amount) -> bool {
        used.0 >= (self.amount + self.drawn()).0.div_ceil(2)
    }

    /// Returns the limit, if a settlement with this usage would now overspend the budget. Usage
    /// beyond the charge is charged at once. A budget that cannot be read or written stops no
    /// stream.
    pub(in crate::limits) fn overspent(
        &mut self,
        used: Amount,
        grace: Ratio,
        budgets: &Budgets<'_>,
    ) -> Option<Rc<Limit>> {
        let mut used = used - self.drawn();
        match self.share.as_deref_mut() {
            // A request that all calls of a workflow count as.
            Some(Share::Counted(_)) => return None,
            Some(Share::Drawn(draw)) => used = used - draw.draw_more(used - self.amount, budgets),
            None => {}
        }
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), budgets);
        let capacity = shape.capacity().0;
        let most = capacity.saturating_add(grace.of(capacity));
        let (held, held_at) = (self.amount, self.counted_at);
        let looked = budgets.change(shape, &self.key, Some(self.place), |budget| {
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

    /// Corrects the charge to the usage.
    pub(in crate::limits) fn correct_to(self, used: Amount, budgets: &Budgets<'_>) {
        correct(self.correction(used, budgets).into_iter().collect(), budgets);
    }

    /// Returns the correction of the charge to the usage, if they differ.
    pub(in crate::limits) fn correction(&self, used: Amount, budgets: &Budgets<'_>) -> Option<Correction> {
        let Self { key, place, counted_at, amount, rest, .. } = *self;
        if used == amount && rest.is_zero() {
            return None;
        }
        let shape = adaptive::shape(&self.limit, self.rate.as_deref(), budgets);
        Some(Correction { shape, key, place, counted_at, amount, rest, used })
    }
}
