//! What must be in the budgets: an account of all calls that knows nothing of tables and windows.
//!
//! In: the steps of calls, as the simulation sees them from outside. Out: for each limit and
//! tenant, the least and the most that may be charged at this moment. Not here: the budgets
//! themselves (`world` compares).

use crate::plan::TENANTS;

/// A limit of the simulated configuration. It is per tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) counts: &'static str,
    pub(crate) max: u64,
    pub(crate) algorithm: Option<&'static str>,
    pub(crate) window: &'static str,
    /// Whether all calls of a workflow count as one.
    pub(crate) once: bool,
}

/// The most limits of a configuration.
pub(crate) const LIMITS: usize = 5;

/// The tokens of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

impl Limit {
    /// Returns what a call with these tokens uses.
    pub(crate) fn used(&self, tokens: Tokens) -> u64 {
        match self.counts {
            "requests" => 1,
            "tokens" => tokens.input + tokens.output,
            "input_tokens" => tokens.input,
            // A slot is free when its call ends.
            "concurrent_requests" => 0,
            other => panic!("{other}"),
        }
    }

    /// Returns what is held for a call that may use these tokens.
    pub(crate) fn held(&self, tokens: Tokens, capacity: u64) -> u64 {
        if self.is_in_flight() { 1 } else { self.used(tokens).min(capacity) }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.counts == "concurrent_requests"
    }
}

/// The least and the most that a call may have charged to a budget at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Bounds {
    pub(crate) const fn exactly(amount: u64) -> Self {
        Self { least: amount, most: amount }
    }

    /// Returns the bounds while one amount replaces the other.
    pub(crate) fn to(self, amount: u64) -> Self {
        Self { least: self.least.min(amount), most: self.most.max(amount) }
    }
}

/// One call's account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) tenant: usize,
    pub(crate) workflow: Option<u8>,
    pub(crate) charged: [Bounds; LIMITS],
    pub(crate) held: [u64; LIMITS],
    /// Whether it went upstream.
    pub(crate) has_passed: bool,
    /// The tokens that it may have charged for its workflow.
    pub(crate) declared: u64,
}

/// The accounts of all calls.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<Account>,
}

impl Ledger {
    /// Returns what may be charged to the budget of a limit for a tenant.
    pub(crate) fn charged(&self, place: usize, limit: &Limit, tenant: usize) -> Bounds {
        let of_tenant = self.accounts.iter().filter(|account| account.tenant == tenant);
        let mut sum = of_tenant.clone().fold(Bounds::default(), |sum, account| Bounds {
            least: sum.least + account.charged[place].least,
            most: sum.most + account.charged[place].most,
        });
        if limit.once {
            let charged = of_tenant.clone().filter(|account| account.charged[place].least > 0);
            let mut workflows: Vec<_> = charged.map(|account| account.workflow).collect();
            workflows.sort_unstable();
            workflows.dedup();
            sum.least = workflows.len() as u64;
        }
        if limit.counts == "tokens" {
            sum.most += of_tenant.map(|account| account.declared).sum::<u64>();
        }
        sum
    }

    /// Returns what all calls but one have surely had charged to a budget, now and at an earlier
    /// moment: for each call the smaller of both, without its debt if `forgives` says so.
    pub(crate) fn charged_throughout(&self, before: &Self, place: usize, but: usize, forgives: bool) -> u64 {
        let tenant = self.accounts[but].tenant;
        let both = self.accounts.iter().zip(&before.accounts).enumerate();
        both.filter(|(call, (account, _))| *call != but && account.tenant == tenant)
            .map(|(_, (now, before))| {
                let least = now.charged[place].least.min(before.charged[place].least);
                if forgives { least.min(now.held[place]) } else { least }
            })
            .sum()
    }

    /// Returns the most that all calls but one may have had charged to a budget, now or at an
    /// earlier moment.
    pub(crate) fn charged_at_most(&self, since: &Self, place: usize, but: usize) -> u64 {
        let tenant = self.accounts[but].tenant;
        let both = self.accounts.iter().zip(&since.accounts).enumerate();
        both.filter(|(call, (account, _))| *call != but && account.tenant == tenant)
            .map(|(_, (now, since))| now.charged[place].most.max(since.charged[place].most))
            .sum()
    }

    /// Raises what a call may have had charged to what another ledger says.
    pub(crate) fn widen(&mut self, call: usize, other: &Self) {
        let charged = self.accounts[call].charged.iter_mut().zip(other.accounts[call].charged);
        charged.for_each(|(own, other)| own.most = own.most.max(other.most));
    }

    pub(crate) fn copy(&self) -> Self {
        Self { accounts: self.accounts.clone() }
    }

    /// Returns a table of all accounts, for a report.
    pub(crate) fn shown(&self, limits: &[Limit]) -> String {
        let mut text = String::new();
        for (call, account) in self.accounts.iter().enumerate() {
            text += &format!("  call {call} of {}:", TENANTS[account.tenant]);
            for (limit, Bounds { least, most }) in limits.iter().zip(account.charged) {
                text += &format!(" {} {least}..={most}", limit.counts);
            }
            text.push('\n');
        }
        text
    }
}
