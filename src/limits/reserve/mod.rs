//! Reserves the expected cost of a call in all limits or none, and replaces it by the real cost.
//!
//! In: limits, a [`Subject`], an [`Estimate`]; later the usage. Out: [`Granted`] or [`Refusal`].
//! Not here: the arithmetic of one budget.

pub(in crate::limits) mod attempt;
pub(in crate::limits) mod charge;
mod correction;
pub(in crate::limits) mod forecast;
pub(in crate::limits) mod refusal;
pub(in crate::limits) mod slot_list;
pub(in crate::limits) mod slots;
mod step;

use std::rc::Rc;

use crate::api::Usage;
use crate::api::answer::ToolsCalled;
use crate::config::Ratio;
use crate::limits::budget::Wait;
use crate::limits::budgets::Budgets;
use crate::limits::limit::rates::Rates;
use crate::limits::limit::{Estimate, Limit, Standing, Subject, Used};
use crate::limits::remembered::adaptive;
use crate::limits::reserve::attempt::promise;
use crate::limits::reserve::charge::{Charge, ChargeOutcome};
use crate::limits::reserve::correction::correct;
use crate::limits::reserve::refusal::{Reason, Refusal, Refusals, longest};
use crate::limits::reserve::slot_list::Slot;
use crate::limits::reserve::step::Caller;
use crate::limits::workflow;
use crate::limits::workflow::share::Workflow;
use crate::units::{Amount, Span};

/// The admission of a call.
#[derive(Debug, Default)]
pub struct Granted {
    /// Its charges.
    pub reservation: Reservation,
    /// The present standing of the budgets of its enforced limits.
    pub standings: Vec<Standing>,
    /// Limits with `enforce: shadow` that would have refused it. They are not charged, as if they
    /// had.
    pub shadowed: Vec<Refusal>,
    /// Budgets that the call has brought beyond their warning, if that is news.
    pub crossed: Vec<Standing>,
    /// The refusal that it waits out, if it may wait: the one with the longest wait.
    pub waits_for: Option<Box<Refusal>>,
    /// The workflow whose pools it draws from.
    pub workflow: Option<Workflow>,
}

/// The growth of a call's usage, as a share of a budget, after which the budget is checked again.
const LOOK_EVERY: Ratio = Ratio { ppm: 10_000 };

/// The charges of a call. It must be settled or kept. A value that is dropped, as all are when a VM
/// dies, stays charged until it has flowed back with its window.
#[derive(Debug, Default)]
#[must_use = "a reservation must be settled or kept"]
pub struct Reservation {
    held: Vec<Charge>,
    /// Slots of calls in flight, given back however the call ends.
    slots: Vec<Rc<Slot>>,
}

/// Checks whether limits on requests would refuse a call whose body is not yet read, even if it
/// waited for `patience`. Charges nothing.
///
/// # Errors
/// The [`Refusal`].
pub fn would_refuse_at_once(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<(), Refusal> {
    let counts = |limit: &&Rc<Limit>| limit.is_known_at_once() && !limit.counts.is_in_flight();
    let at_once = limits.iter().filter(|limit| counts(limit) && !limit.shadow);
    let refusals = at_once.filter_map(|limit| workflow::look(limit, subject, Amount(1), None, budgets));
    let refused = Refusals::of(refusals.filter(|refusal| !refusal.is_within(patience)).enumerate());
    refused.map_or(Ok(()), |refused| Err(refused.promised(limits, subject, |_| Amount(1), budgets)))
}

/// Acquires a slot in every limit on calls in flight that applies regardless of the body, or in
/// none.
///
/// # Errors
/// The [`Refusal`].
pub fn acquire_slots(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let at_once = limits.iter().filter(|limit| limit.is_in_flight_at_once());
    let wanted: Vec<_> = at_once.map(|limit| (limit, Amount(1))).collect();
    Granted::default().add(&wanted, subject, Span::ZERO, budgets).map_err(Refusals::longest)
}

/// Reserves the expected cost of a call in every limit that applies to it, or in none, in addition
/// to what was `granted` before. A call that does not fit now but would within `patience` is
/// reserved all the same, and must wait for that time.
///
/// # Errors
/// The [`Refusal`] with the longest wait. All charges are given back.
pub fn reserve(
    granted: Granted,
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    estimate: &Estimate,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let applying =
        limits.iter().filter(|limit| limit.applies_to(subject.model) && !limit.is_in_flight_at_once());
    let wanted: Vec<_> = applying.map(|limit| (limit, limit.hold(estimate))).collect();
    let expected = |limit: &Limit| limit.expected(estimate);
    let granted = granted.add(&wanted, subject, patience, budgets);
    granted.map_err(|refused| refused.promised(limits, subject, expected, budgets))
}

/// Reserves the tool calls that a request makes itself, in every limit that counts them, or in
/// none.
///
/// # Errors
/// The [`Refusal`] with the longest wait.
pub fn reserve_tools(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    tools: &ToolsCalled,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let counting = limits.iter().filter(|limit| limit.is_of_tools());
    let calls = counting.map(|limit| (limit, limit.calls_of(tools)));
    let wanted: Vec<_> = calls.filter(|(_, calls)| !calls.is_zero()).collect();
    Granted::default().add(&wanted, subject, Span::ZERO, budgets).map_err(Refusals::longest)
}

impl Refusals {
    /// Returns the refusal with the longest wait, at a moment that all of these `limits` promise to
    /// the call, if they can.
    fn promised(
        mut self,
        limits: &[Rc<Limit>],
        subject: &Subject<'_>,
        expected: impl Fn(&Limit) -> Amount,
        budgets: &Budgets<'_>,
    ) -> Refusal {
        let mut refusals: Vec<_> = self.iter_mut().collect();
        if refusals.iter().any(|refusal| refusal.wait == Wait::Never || refusal.reason == Reason::Unknown) {
            return self.longest();
        }
        refusals.sort_by_key(|refusal| core::cmp::Reverse(refusal.span()));
        let mut due = budgets.now;
        for refusal in refusals {
            let Some(limit) = limits.iter().find(|limit| limit.id == refusal.standing.limit.id) else {
                continue;
            };
            let expected = expected(limit).min(refusal.needed);
            // If one limit promises nothing, those with shorter waits need not either.
            let Some(wait) = promise(limit, subject, refusal.needed, expected, due, budgets) else { break };
            // A limit without a longer wait is not the one to name.
            if budgets.now + wait > due {
                due = budgets.now + wait;
                (refusal.wait, refusal.reason) = (Wait::For(wait), Reason::Promised);
            }
        }
        self.longest()
    }
}

impl Granted {
    /// Charges these amounts of these limits too, or nothing at all.
    fn add(
        mut self,
        wanted: &[(&Rc<Limit>, Amount)],
        subject: &Subject<'_>,
        patience: Span,
        budgets: &Budgets<'_>,
    ) -> Result<Self, Refusals> {
        let draws_from = self.workflow.clone();
        let workflow = draws_from.as_ref();
        let caller = Caller { subject, workflow, budgets };
        let enforced = wanted.iter().copied().filter(|(limit, _)| !limit.shadow);
        let mut steps = caller.steps(enforced).into_iter();
        let mut charged = Vec::with_capacity(wanted.len());
        while let Some(step) = steps.next() {
            match caller.charge(step, patience) {
                Ok(more) => charged.extend(more),
                Err(refusals) => {
                    charged.into_iter().for_each(|(_, charge)| self.take(charge, budgets));
                    self.reservation.release(budgets);
                    return Err(refusals.and(steps.flat_map(|step| caller.look(step))));
                }
            }
        }
        charged.sort_by_key(|(at, _)| *at);
        charged.into_iter().for_each(|(_, charge)| self.take(charge, budgets));
        // Shadow limits come last, so that they never see a call that is refused.
        for (limit, amount) in wanted.iter().filter(|(limit, _)| limit.shadow) {
            match workflow::hold(limit, subject, *amount, workflow, Span::ZERO, budgets) {
                Ok(held) => self.reservation.take(held.held, budgets),
                Err(refusal) => self.shadowed.push(refusal),
            }
        }
        Ok(self)
    }

    fn take(&mut self, charge: ChargeOutcome, budgets: &Budgets<'_>) {
        let ChargeOutcome { held, standing, crossed, waits_for } = charge;
        self.waits_for = longest(self.waits_for.take().into_iter().chain(waits_for));
        self.crossed.extend(crossed.then(|| standing.clone()));
        self.standings.push(standing);
        self.reservation.take(held, budgets);
    }
}

impl Reservation {
    /// Replaces the charges by the usage: a surplus comes back, a deficit becomes debt.
    pub fn settle(self, used: &Used<'_>, budgets: &Budgets<'_>) {
        let mut corrections = Vec::with_capacity(self.held.len().saturating_add(self.slots.len()));
        for held in self.held {
            let amount = held.limit.used(used);
            if held.share.is_some() {
                workflow::settle(held, amount, budgets);
            } else {
                corrections.extend(held.correction(amount, budgets));
            }
        }
        corrections.extend(self.slots.iter().map(|slot| slot.release()));
        correct(corrections, budgets);
    }

    /// Returns a limit whose budget would be overspent by more than `grace` of its capacity if the
    /// call ended now with this usage. Usage beyond the charges is charged on the way, so that
    /// budgets refill during a long call as they do between calls, and other calls see it. Shadow
    /// limits stop no stream.
    pub fn overspent(
        &mut self,
        usage: &Usage,
        rates: &Rates,
        grace: Ratio,
        budgets: &Budgets<'_>,
    ) -> Option<Rc<Limit>> {
        let enforced = self.held.iter_mut().filter(|held| !held.limit.shadow);
        let overspent: Vec<_> = enforced
            .filter_map(|held| {
                let used = (held.limit.counts.amount)(usage, rates);
                held.overspent(used, grace, budgets)
            })
            .collect();
        overspent.into_iter().next()
    }

    /// Returns whether a budget may have been exhausted since the call had used `before`: the call
    /// has used most of its charge, and a hundredth of the budget since then.
    #[must_use]
    pub fn is_worth_a_look(&self, before: &Usage, now: &Usage, rates: &Rates) -> bool {
        self.held.iter().filter(|held| !held.limit.shadow).any(|held| {
            let amount = |usage| (held.limit.counts.amount)(usage, rates);
            let (before, now) = (amount(before), amount(now));
            let step = LOOK_EVERY.of(held.limit.shape.capacity().0).max(1);
            held.is_mostly_used(now) && (now - before).0 >= step
        })
    }

    /// Returns whether a call with this usage may have exhausted a budget at all.
    #[must_use]
    pub fn is_mostly_used(&self, usage: &Usage, rates: &Rates) -> bool {
        let mut enforced = self.held.iter().filter(|held| !held.limit.shadow);
        enforced.any(|held| held.is_mostly_used((held.limit.counts.amount)(usage, rates)))
    }

    /// Keeps the charges, because the usage is unknown.
    pub fn keep(self, budgets: &Budgets<'_>) {
        for held in self.held {
            workflow::keep(held, budgets);
        }
        correct(self.slots.iter().map(|slot| slot.release()).collect(), budgets);
    }

    /// Adds the charges of another reservation of the same call.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.slots.extend(other.slots);
    }

    /// Gives everything back, including the request, because a refused call costs nothing.
    pub fn release(self, budgets: &Budgets<'_>) {
        let mut corrections = Vec::new();
        for held in self.held {
            if held.share.is_some() {
                workflow::release(held, budgets);
            } else {
                corrections.extend(held.correction(Amount::ZERO, budgets));
            }
        }
        corrections.extend(self.slots.iter().map(|slot| slot.release()));
        correct(corrections, budgets);
    }

    /// Lets a waiting call go on: its charges count as of now.
    pub fn go_on(&mut self, budgets: &Budgets<'_>) {
        self.held.iter_mut().for_each(|held| held.go_on(budgets));
    }

    /// Returns whether nothing is charged.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty() && self.slots.is_empty()
    }

    /// Returns the time until all charges to its budgets are paid. A waiting call need not wait
    /// longer.
    #[must_use]
    pub fn until_paid(&self, budgets: &Budgets<'_>) -> Span {
        let enforced = self.held.iter().filter(|held| !held.limit.shadow);
        let spans = enforced.map(|held| held.until_paid(budgets));
        spans.max().unwrap_or(Span::ZERO)
    }

    /// Decreases adaptive limits after the upstream has refused the call. Returns those that
    /// decreased.
    pub fn slow_down(&self, budgets: &Budgets<'_>) -> Vec<Rc<Limit>> {
        let slower = self.held.iter().filter(|held| {
            held.rate.as_deref().is_some_and(|rate| adaptive::decrease(rate, held.counted_at, budgets))
        });
        slower.map(|held| held.limit.clone()).collect()
    }

    fn take(&mut self, held: Charge, budgets: &Budgets<'_>) {
        if !held.limit.counts.is_in_flight() {
            self.held.push(held);
            return;
        }
        let slot = Rc::new(Slot::new(held.limit, held.key, held.place, held.counted_at));
        budgets.watch(&slot);
        self.slots.push(slot);
    }
}

#[cfg(test)]
mod tests;
