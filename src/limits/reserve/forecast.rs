//! A forecast of a call's budgets, before anything is charged.
//!
//! In: limits, a subject, an estimate. Out: how full the budgets are, the room for output, the
//! exhausted tools. All of it may change before the call is reserved, so these are hints to ask for
//! less, not decisions. Not here: decisions (`reserve`).

use std::rc::Rc;

use crate::api::Usage;
use crate::limits::budget::Budget;
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Estimate, Limit, Subject};
use crate::limits::remembered::adaptive;
use crate::limits::reserve::refusal::Refusal;
use crate::limits::workflow;
use crate::limits::workflow::share::Workflow;
use crate::units::Amount;

/// Returns the limits on consumption that can refuse a call.
fn deciding<'l>(limits: &'l [Rc<Limit>], subject: &Subject<'l>) -> impl Iterator<Item = &'l Rc<Limit>> {
    let counts = |limit: &Limit| !limit.counts.is_in_flight() && !limit.is_of_tools() && !limit.shadow;
    let model = subject.model;
    limits.iter().filter(move |limit| counts(limit) && limit.applies_to(model))
}

/// Returns the used part of a caller's fullest budget, in millionths; more than a million in debt.
#[must_use]
pub fn fullness(limits: &[Rc<Limit>], subject: &Subject<'_>, budgets: &Budgets<'_>) -> u64 {
    let shares = deciding(limits, subject).map(|limit| {
        let key = limit.key(budgets.keys, subject);
        let (present, _) = adaptive::present(limit, subject, budgets);
        let spent = budgets.look(present.shape, &key, Budget::spent).unwrap_or_default();
        let millionths = u128::from(spent.0).saturating_mul(1_000_000);
        millionths.checked_div(u128::from(present.shape.capacity().0)).unwrap_or(0)
    });
    u64::try_from(shares.max().unwrap_or(0)).unwrap_or(u64::MAX)
}

/// Returns the number of output tokens that there is room for, if a call does not fit as it is.
/// `None` if it does, or if its input alone does not.
#[must_use]
pub fn room_for_output(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    estimate: &Estimate,
    workflow: Option<&Workflow>,
    budgets: &Budgets<'_>,
) -> Option<u64> {
    let rooms = deciding(limits, subject).filter_map(|limit| {
        let key = limit.key(budgets.keys, subject);
        let (present, _) = adaptive::present(limit, subject, budgets);
        let available = budgets.look(present.shape, &key, Budget::available).ok()?;
        let hold = limit.hold(estimate);
        let needed = workflow::needed(limit, subject, hold, workflow, budgets);
        // The share reserved for others is not available.
        let available = available - (limit.room(needed, &present, subject) - needed);
        // The amount that others of its workflow have charged for it counts as available.
        (needed > available).then(|| limit.room_for_output(estimate, available + (hold - needed)))
    });
    rooms.min().filter(|room| *room > 0)
}

/// Returns the limits on tools that would refuse one more call, with their refusals.
#[must_use]
pub fn spent_tools(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    budgets: &Budgets<'_>,
) -> Vec<(Rc<Limit>, Refusal)> {
    let of_tools = limits.iter().filter(|limit| limit.is_of_tools() && limit.applies_to(subject.model));
    of_tools
        .filter_map(|limit| Some((limit.clone(), workflow::look(limit, subject, Amount(1), None, budgets)?)))
        .collect()
}

impl Limit {
    /// Returns the most output tokens with which a call stays within this amount; 0 if its input
    /// alone exceeds it.
    fn room_for_output(&self, estimate: &Estimate, available: Amount) -> u64 {
        let fits = |output: u64| {
            let usage = estimate.known.plus(Usage { output, ..Usage::default() });
            (self.counts.amount)(&usage, &estimate.rates) <= available
        };
        // The amount grows with the output, so a binary search finds the last number that fits,
        // with one step per bit.
        let (mut fitting, mut step) = (0_u64, 1_u64 << 32);
        while step > 0 {
            let more = fitting.saturating_add(step);
            if fits(more) {
                fitting = more;
            }
            step >>= 1;
        }
        fitting
    }
}

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
