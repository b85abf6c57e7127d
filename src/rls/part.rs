//! What a call needs of one global limit, and what its answers mean for that.
//!
//! In: a [`GlobalLimit`] and a call's estimate; what leases have; the service's [`Decision`]. Out: what is asked for, a refusal, where the
//! budget stands, errands. Not here: several limits of one call (`holding`).

use super::descriptor::Descriptor;
use super::errand::{Errand, LeaseRequest, Report, amount_of, hits_of};
use super::protocol::{Decision, Hits};
use super::service::Service;
use crate::limits::{
    Account, Estimate, GlobalLimit, Ledger, Reason, Refusal, Standing, Subject, Taken, Ticket, Told, Wait,
};
use crate::units::{Amount, Span, Timestamp};

/// What a call needs of one global limit.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) global: GlobalLimit,
    pub(super) of: Descriptor,
    /// Where its lease is, if there are leases.
    pub(super) account: Option<Account>,
    pub(super) amount: Amount,
}

/// What the leases of this process make of a part.
pub(super) enum Took {
    /// It needs nothing.
    Nothing,
    /// It has what it needs.
    Lease(Ticket, Option<Standing>),
    /// It cannot have it.
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
        ledger: &Ledger<'_>,
    ) -> Self {
        let limit = &global.limit;
        let account = service.kept_here().map(|_| Account::of(limit, subject, ledger));
        let amount = limit.hold(estimate);
        Self { global: global.clone(), of: Descriptor::of(limit, subject), account, amount }
    }

    pub(super) fn take(&self, service: &Service, ledger: &Ledger<'_>, errands: &mut Vec<Errand>) -> Took {
        let limit = &self.global.limit;
        if self.amount.is_zero() {
            return Took::Nothing;
        }
        if self.amount > limit.shape.capacity() {
            // The service is not asked for what it must refuse: it might charge it all the same.
            let known = self.account.as_ref().and_then(|account| account.standing(ledger));
            let (full, window) = (limit.shape.capacity(), limit.shape.window);
            let standing = known.unwrap_or_else(|| self.stands_at(full, window));
            return Took::Refused(self.refusal(standing, Wait::Never));
        }
        let (Some(account), Some(policy)) = (&self.account, service.kept_here()) else { return Took::Open };
        let (taken, more) = account.take(self.amount, &policy, ledger);
        errands.extend(more.map(|amount| self.lease_request(account, amount)));
        match taken {
            Taken::Taken(ticket, standing) => Took::Lease(ticket, standing),
            Taken::Short => Took::Open,
            Taken::Spent(ends_in, standing) => {
                let standing = standing.unwrap_or_else(|| self.stands_at(Amount::ZERO, ends_in));
                Took::Refused(self.refusal(standing, Wait::For(ends_in)))
            }
        }
    }

    /// Sorts limits into the order in which they are asked in turn.
    ///
    /// When a limit refuses, the limits before it have been charged for nothing. Limits with short
    /// windows come first, because they get that back soonest. Of equal windows, the limit with
    /// room for the fewest calls of this size comes first, because it is the likeliest to refuse.
    pub(super) fn turn(&self) -> (Span, u64) {
        let shape = self.global.limit.shape;
        (shape.window, shape.capacity().0.checked_div(self.amount.0).unwrap_or(u64::MAX))
    }

    pub(super) fn hits(&self) -> Hits<'_> {
        Hits { of: &self.of, hits: self.hits_of(self.amount), given_back: false }
    }

    pub(super) fn hits_of(&self, amount: Amount) -> u64 {
        hits_of(self.global.limit.counts.unit, amount)
    }

    pub(super) fn report(&self, hits: u64, given_back: bool, until: Timestamp) -> Option<Errand> {
        (hits > 0).then(|| Errand::Report(Report { of: self.of.clone(), hits, given_back, until }))
    }

    pub(super) fn told(&self, decision: &Decision) -> Told {
        let unit = self.global.limit.counts.unit;
        Told { remaining: decision.remaining.map(|hits| amount_of(unit, hits)), reset: decision.reset }
    }

    /// Remembers where the budget stands, for leases.
    pub(super) fn learn(
        &self,
        decision: &Decision,
        service: &Service,
        ledger: &Ledger<'_>,
        errands: &mut Vec<Errand>,
    ) {
        let (Some(account), Some(policy)) = (&self.account, service.kept_here()) else { return };
        let more = account.learn(self.amount, self.told(decision), &policy, ledger);
        errands.extend(more.map(|amount| self.lease_request(account, amount)));
    }

    pub(super) fn refused_by(&self, decision: &Decision, ledger: &Ledger<'_>) -> Refusal {
        let told = self.told(decision);
        let wait = match &self.account {
            Some(account) => account.refused(self.amount, told, ledger),
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

    pub(super) fn lease_request(&self, account: &Account, amount: Amount) -> Errand {
        let unit = self.global.limit.counts.unit;
        Errand::Lease(LeaseRequest { of: self.of.clone(), unit, account: account.clone(), amount })
    }
}
