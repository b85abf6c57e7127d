//! Upstreams that ask for a pause: Tollgate remembers it, and further calls wait or are refused.
//!
//! In: a call that is about to be sent, or its answer's head. Out: the time until which the call
//! waits, or the time for which the upstream is busy. Not here: the records of pauses
//! (`limits::remembered`), holding requests (`queue`).
//!
//! Each wait gets up to 10 % jitter, because an upstream that has just come back would refuse a
//! crowd.

use super::call::Call;
use super::context::Context;
use super::refusal::BusyUpstream;
use crate::api::Pause;
use crate::identity::Head;
use crate::limits::{Busy, Busyness, UPSTREAM_DIMENSION};
use crate::settings::{Config, Upstreams};
use crate::units::{Span, Timestamp};

/// The upstream of a call.
pub(super) struct Upstream {
    config: Upstreams,
    busy: Busy,
    name: Vec<u8>,
    /// The upstream had refused calls before this one was sent, and no answer shows yet that it has
    /// recovered.
    is_recovering: bool,
    /// The time until which the call waits for it.
    wait_until: Option<Timestamp>,
}

impl Upstream {
    /// Returns the upstream of a call for this model, if `upstreams` is configured and the call may
    /// wait for it.
    ///
    /// # Errors
    /// The busy upstream.
    pub(super) fn of(
        call: &Call,
        model: &str,
        config: &Config,
        context: &Context<'_>,
    ) -> Result<Option<Self>, BusyUpstream> {
        let Some(config) = config.upstreams else { return Ok(None) };
        let name = call.subject(model).value(UPSTREAM_DIMENSION).to_vec();
        let busy = Busy::of(&name, model, context.budgets);
        let mut upstream = Self { config, busy, name, is_recovering: false, wait_until: None };
        upstream.check(context.now(), call.patience(), context)?;
        Ok(Some(upstream))
    }

    /// Checks whether a call that waits since `since`, and may wait for `patience`, can be sent
    /// now.
    ///
    /// # Errors
    /// The upstream is busy for longer than the call may wait.
    pub(super) fn check(
        &mut self,
        since: Timestamp,
        patience: Span,
        context: &Context<'_>,
    ) -> Result<(), BusyUpstream> {
        let now = context.now();
        self.wait_until = None;
        self.is_recovering = false;
        match self.busy.look(self.config.longest, context.budgets) {
            Busyness::Free => {}
            Busyness::Recovering => self.is_recovering = true,
            Busyness::Until(until) => {
                let patience = if self.config.calls_wait { patience } else { Span::ZERO };
                let (wait, deadline) = (until.since(now), since + patience);
                if until > deadline {
                    return Err(self.busy_for(wait));
                }
                self.is_recovering = true;
                self.wait_until = Some((until + Span(wait.0 / 10).jittered(context.jitter)).min(deadline));
            }
        }
        Ok(())
    }

    /// Returns the time until which the call waits for it, if it does.
    pub(super) const fn wait_until(&self) -> Option<Timestamp> {
        self.wait_until
    }

    /// Returns the evidence for a refusal because of it.
    pub(super) fn busy_for(&self, wait: Span) -> BusyUpstream {
        BusyUpstream { name: self.name.clone(), wait }
    }

    /// Records that an answer shows that it accepts calls.
    pub(super) fn observe_success(&self, context: &Context<'_>) {
        if self.is_recovering {
            self.busy.recover(self.config.longest, context.budgets);
        }
    }

    /// Records that an answer asks for a pause. Returns whether that is news, and the end of the
    /// pause; `None` if it could not be stored.
    pub(super) fn observe_pause(&self, pause: Pause, context: &Context<'_>) -> Option<(bool, Timestamp)> {
        self.busy.tell(pause, self.config.longest, context.budgets)
    }
}

/// Returns the name of a call's upstream: the cluster of the route that Envoy has chosen for it.
pub(super) fn name(head: &dyn Head) -> Option<Vec<u8>> {
    head.property(&["xds", "cluster_name"])
}
