//! All charges of one call, here and at the rate limit service, until the call is settled.
//!
//! In: a reservation of local budgets, a holding of global ones. Out: both settled, kept or
//! released together, once. Not here: how a budget is corrected (`limits`, `rls`).

use super::context::Context;
use super::effects::Effects;
use crate::api::Usage;
use crate::api::answer::ToolsCalled;
use crate::limits::{Rates, Reservation, Used};
use crate::rls::Holding;
use crate::settings::Config;

/// The charges of a call. They must be settled, kept or released. Dropped charges, such as those of
/// a dead VM, stay until they have flowed back.
#[derive(Debug, Default)]
#[must_use = "charges must be settled, kept or released"]
pub(super) struct Charges {
    local: Reservation,
    global: Holding,
}

impl Charges {
    /// Returns charges to budgets of this process.
    pub(super) fn local(local: Reservation) -> Self {
        Self { local, global: Holding::default() }
    }

    /// Adds charges to more budgets of this process and to global ones.
    pub(super) fn with(mut self, more: Reservation, global: Holding) -> Self {
        self.local.join(more);
        Self { global, ..self }
    }

    /// Returns the charges to budgets of this process.
    pub(super) const fn here(&self) -> &Reservation {
        &self.local
    }

    pub(super) const fn here_mut(&mut self) -> &mut Reservation {
        &mut self.local
    }

    /// Replaces the charges by the usage.
    pub(super) fn settle(
        self,
        usage: &Usage,
        rates: &Rates,
        tools: &ToolsCalled,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        self.local.settle(&Used { usage, rates, tools }, context.budgets);
        if let Some(service) = &config.global {
            self.global.settle(usage, rates, service, context.budgets, &mut effects.tasks);
        }
    }

    /// Keeps the charges, because the usage is unknown.
    pub(super) fn keep(self, config: &Config, context: &Context<'_>, effects: &mut Effects) {
        self.local.keep(context.budgets);
        if let Some(service) = &config.global {
            self.global.keep(service, context.budgets, &mut effects.tasks);
        }
    }

    /// Gives everything back, because the call has not gone upstream.
    pub(super) fn release(self, config: &Config, context: &Context<'_>, effects: &mut Effects) {
        self.local.release(context.budgets);
        if let Some(service) = &config.global {
            self.global.release(service, context.budgets, &mut effects.tasks);
        }
    }
}
