//! The steps in which a call is charged: limits whose budgets are in one line of the table take one
//! step together, limits that share charges with other calls of a workflow one each.
//!
//! In: limits with amounts. Out: [`Step`]s; of each, the charges or the refusals, with the places
//! of their limits in the list. Not here: all steps or none (`reserve`), a charge (`charge`).

use std::rc::Rc;

use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::reserve::attempt::{Attempt, charge_together};
use crate::limits::reserve::charge::ChargeOutcome;
use crate::limits::reserve::refusal::{Refusal, Refusals};
use crate::limits::workflow;
use crate::limits::workflow::share::Workflow;
use crate::store::SubjectHash;
use crate::units::{Amount, Span};

/// Limits that are charged in one step.
pub(super) enum Step<'a> {
    /// Their budgets are in one line of the table.
    Together(Vec<Attempt<'a>>),
    /// It may share a charge with other calls; with its place among the limits of the call.
    Alone(usize, &'a Rc<Limit>, Amount),
}

/// The call that takes the steps.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) workflow: Option<&'a Workflow>,
    pub(super) budgets: &'a Budgets<'a>,
}

impl<'a> Caller<'a> {
    /// Returns the steps that charge these limits, in the order of their first limits.
    pub(super) fn steps(self, wanted: impl Iterator<Item = (&'a Rc<Limit>, Amount)>) -> Vec<Step<'a>> {
        let Self { subject, workflow, budgets } = self;
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut last: Option<(&[Rc<str>], SubjectHash)> = None;
        for (at, (limit, amount)) in wanted.enumerate() {
            if workflow.is_some() || limit.once_per.is_some() {
                steps.push(Step::Alone(at, limit, amount));
                continue;
            }
            let hash = match last {
                Some((per, hash)) if per == limit.per => hash,
                _ => limit.hash_of(budgets.keys, subject),
            };
            last = Some((&limit.per, hash));
            let key = limit.key_of(hash, budgets.keys);
            let attempt = Attempt::under(key, at, limit, subject, amount, budgets);
            match steps.iter_mut().find_map(|step| step.beside(&attempt)) {
                Some(attempts) => attempts.push(attempt),
                None => steps.push(Step::Together(vec![attempt])),
            }
        }
        steps
    }

    /// Charges all limits of a step, or none.
    pub(super) fn charge(
        self,
        step: Step<'a>,
        patience: Span,
    ) -> Result<Vec<(usize, ChargeOutcome)>, Refusals> {
        let Self { subject, workflow, budgets } = self;
        match step {
            Step::Together(attempts) => charge_together(&attempts, patience, budgets),
            Step::Alone(at, limit, amount) => {
                let held = workflow::hold(limit, subject, amount, workflow, patience, budgets);
                held.map(|held| vec![(at, held)]).map_err(|refusal| Refusals::one(at, refusal))
            }
        }
    }

    /// Returns the refusals of the limits of a step, without charging any.
    pub(super) fn look(self, step: Step<'a>) -> Vec<(usize, Refusal)> {
        let Self { subject, workflow, budgets } = self;
        let limits = match step {
            Step::Together(attempts) => {
                attempts.iter().map(|attempt| (attempt.at, attempt.limit, attempt.amount)).collect()
            }
            Step::Alone(at, limit, amount) => vec![(at, limit, amount)],
        };
        let look =
            |(at, limit, amount)| Some((at, workflow::look(limit, subject, amount, workflow, budgets)?));
        limits.into_iter().filter_map(look).collect()
    }
}

impl<'a> Step<'a> {
    /// Returns the attempts of this step, if another one belongs to them.
    fn beside(&mut self, attempt: &Attempt<'_>) -> Option<&mut Vec<Attempt<'a>>> {
        match self {
            Self::Together(attempts) => {
                let is_beside = attempts.first().is_some_and(|first| first.key.is_beside(&attempt.key));
                is_beside.then_some(attempts)
            }
            Self::Alone(..) => None,
        }
    }
}
