//! One call's need of one global limit, and the meaning of its answers.
//!
//! In: a [`GlobalLimit`] and a call's estimate; the leases; the service's [`Decision`]. Out: the
//! hits to ask for, a refusal, the standing of the budget, tasks. Not here: several limits of one
//! call (`holding`).

use super::descriptor::Descriptor;
use super::protocol::{Decision, Hits};
use super::service::Service;
use super::task::{LeaseRequest, Report, Task};
use crate::limits::{
    Account, Budgets, Estimate, GlobalLimit, LeaseCharge, LeaseOutcome, Reason, Refusal, Standing, Subject,
    Wait, WindowStatus,
};
use crate::units::{Amount, Span, Timestamp};

/// One call's need of one global limit.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) global: GlobalLimit,
    pub(super) of: Descriptor,
    /// The account of its lease, if there are leases.
    pub(super) account: Option<Account>,
    pub(super) amount: Amount,
}

/// How the leases of this process cover a part.
pub(super) enum Coverage {
    /// It needs nothing.
    Nothing,
    /// A lease covers it.
    Lease(LeaseCharge, Option<Standing>),
    /// It is refused.
    Refused(Refusal),
    /// The service must be asked.
    Open,
}

impl Part {
    pub(super) fn of(
        global: &GlobalLimit,
        subject: &Subject<'_>,
        estimate: &Estimate,
        service: &Service,
        budgets: &Budgets<'_>,
    ) -> Self {
        let limit = &global.limit;
        let account = service.kept_here().map(|_| Account::of(limit, subject, budgets));
        let amount = limit.hold(estimate);
        Self { global: global.clone(), of: Descriptor::of(limit, subject), account, amount }
    }

    pub(super) fn take(&self, service: &Service, budgets: &Budgets<'_>, tasks: &mut Vec<Task>) -> Coverage {
        let limit = &self.global.limit;
        if self.amount.is_zero() {
            return Coverage::Nothing;
        }
        if self.amount > limit.shape.capacity() {
            // The service is not asked for an amount that it must refuse, because it might charge
            // it.
            let known = self.account.as_ref().and_then(|account| account.standing(budgets));
            let (full, window) = (limit.shape.capacity(), limit.shape.window);
            let standing = known.unwrap_or_else(|| self.stands_at(full, window));
            return Coverage::Refused(self.refusal(standing, Wait::Never));
        }
        let (Some(account), Some(policy)) = (&self.account, service.kept_here()) else {
            return Coverage::Open;
        };
        let (taken, more) = account.take(self.amount, &policy, budgets);
        tasks.extend(more.map(|amount| self.lease_request(account, amount)));
        match taken {
            LeaseOutcome::Taken(ticket, standing) => Coverage::Lease(ticket, standing),
            LeaseOutcome::Short => Coverage::Open,
            LeaseOutcome::Spent(ends_in, standing) => {
                let standing = standing.unwrap_or_else(|| self.stands_at(Amount::ZERO, ends_in));
                Coverage::Refused(self.refusal(standing, Wait::For(ends_in)))
            }
        }
    }

    /// Returns the sort key for limits that are asked in turn.
    ///
    /// When a limit refuses, the limits before it were charged for nothing. Limits with short
    /// windows come first, because they recover soonest. Of equal windows, the limit with room for
    /// the fewest calls of this size comes first, because it is the likeliest to refuse.
    pub(super) fn turn(&self) -> (Span, u64) {
        let shape = self.global.limit.shape;
        (shape.window, shape.capacity().0.checked_div(self.amount.0).unwrap_or(u64::MAX))
    }

    pub(super) fn hits(&self) -> Hits<'_> {
        Hits { of: &self.of, hits: self.hits_of(self.amount), given_back: false }
    }

    pub(super) fn hits_of(&self, amount: Amount) -> u64 {
        self.global.limit.counts.unit.wholes_ceil(amount)
    }

    pub(super) fn report(&self, hits: u64, given_back: bool, until: Timestamp) -> Option<Task> {
        (hits > 0).then(|| Task::Report(Report { of: self.of.clone(), hits, given_back, until }))
    }

    pub(super) fn told(&self, decision: &Decision) -> WindowStatus {
        let unit = self.global.limit.counts.unit;
        WindowStatus { remaining: decision.remaining.map(|hits| unit.amount(hits)), reset: decision.reset }
    }

    /// Records the standing of the budget, for leases.
    pub(super) fn learn(
        &self,
        decision: &Decision,
        service: &Service,
        budgets: &Budgets<'_>,
        tasks: &mut Vec<Task>,
    ) {
        let (Some(account), Some(policy)) = (&self.account, service.kept_here()) else { return };
        let more = account.learn(self.amount, self.told(decision), &policy, budgets);
        tasks.extend(more.map(|amount| self.lease_request(account, amount)));
    }

    pub(super) fn refused_by(&self, decision: &Decision, budgets: &Budgets<'_>) -> Refusal {
        let told = self.told(decision);
        let wait = match &self.account {
            Some(account) => account.refused(self.amount, told, budgets),
            None => told.reset.unwrap_or(self.global.limit.shape.window),
        };
        let standing = self.stands_at(told.remaining.unwrap_or_default(), wait);
        self.refusal(standing, Wait::For(wait))
    }

    pub(super) fn refusal(&self, standing: Standing, wait: Wait) -> Refusal {
        Refusal { standing, needed: self.amount, wait, reason: Reason::Spent }
    }

    pub(super) fn standing(&self, decision: &Decision) -> Option<Standing> {
        let told = self.told(decision);
        let reset = told.reset.unwrap_or(self.global.limit.shape.window);
        told.remaining.map(|remaining| self.stands_at(remaining, reset))
    }

    pub(super) fn stands_at(&self, remaining: Amount, reset: Span) -> Standing {
        let limit = self.global.limit.clone();
        let available = remaining.min(limit.shape.capacity());
        Standing { spent: limit.shape.capacity() - available, limit, available, reset }
    }

    pub(super) fn lease_request(&self, account: &Account, amount: Amount) -> Task {
        let unit = self.global.limit.counts.unit;
        Task::Lease(LeaseRequest { of: self.of.clone(), unit, account: account.clone(), amount })
    }
}
