//! Upstreams that want to be left alone: what their answers ask for is remembered, and further calls wait or are refused.
//!
//! In: a call that is about to be sent, or its answer's head. Out: a refusal, until when to wait, what is remembered. Not here: what is
//! remembered and for how long (`limits::busy`), holding requests (`waiting`).
//!
//! Calls that wait are spread over a tenth more of the time that they wait, for an upstream that has just come back would refuse a crowd.

use std::rc::Rc;

use serde_json::json;

use super::request::{Reading, logged};
use super::response::Sent;
use super::{Effects, Means, Next, State};
use crate::api::{Format, Pause};
use crate::identity::Head;
use crate::limits::{Busy, Busyness, UPSTREAM_DIMENSION};
use crate::metrics::{self, Labels};
use crate::reply;
use crate::settings::{Config, Upstreams};
use crate::tiers::Tier;
use crate::units::{Span, Timestamp};

/// What a call knows of its upstream.
pub(super) struct Upstream {
    config: Upstreams,
    busy: Busy,
    name: Vec<u8>,
    /// The upstream had refused calls before this one was sent, and nothing shows yet that it has recovered.
    recovering: bool,
    /// Until when the call waits for it.
    pub(super) wait_until: Option<Timestamp>,
}

/// What refusals tell of a call.
pub(super) struct Who<'a> {
    pub(super) format: &'static Format,
    pub(super) tier: &'a Rc<Tier>,
    pub(super) model: &'a str,
    pub(super) label: Rc<str>,
}

impl Upstream {
    /// What is known of the upstream of a call for this model, if anything is remembered of upstreams.
    pub(super) fn of(reading: &Reading, model: &str, config: &Config, means: &Means<'_>) -> Option<Self> {
        let config = config.upstreams?;
        let name = reading.subject(model).value(UPSTREAM_DIMENSION).to_vec();
        let busy = Busy::of(&name, model, means.ledger);
        Some(Self { config, busy, name, recovering: false, wait_until: None })
    }

    /// Whether a call that waits since then, and may for so long, can be sent now or has to wait.
    ///
    /// # Errors
    /// How long the upstream will be busy, if that is longer than the call may wait.
    pub(super) fn check(&mut self, since: Timestamp, patience: Span, means: &Means<'_>) -> Result<(), Span> {
        let now = means.ledger.now();
        self.wait_until = None;
        self.recovering = false;
        match self.busy.look(self.config.longest, means.ledger) {
            Busyness::Free => {}
            Busyness::Recovering => self.recovering = true,
            Busyness::Until(until) => {
                let patience = if self.config.calls_wait { patience } else { Span::ZERO };
                let (wait, deadline) = (until.since(now), since + patience);
                if until > deadline {
                    return Err(wait);
                }
                self.recovering = true;
                self.wait_until = Some((until + Span(wait.0 / 10).jittered(means.jitter)).min(deadline));
            }
        }
        Ok(())
    }

    /// Refuses a call because its upstream is busy for so long.
    pub(super) fn refuse(
        &self,
        who: &Who<'_>,
        wait: Span,
        means: &Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let labels = Labels {
            tier: Some(who.tier.name.clone()),
            model: Some(who.label.clone()),
            kind: "refused",
            ..Labels::default()
        };
        effects.count(&metrics::UPSTREAM_BUSY, &labels, 1);
        effects.count(&metrics::CALLS, &labels, 1);
        effects.log.push(self.log_line("refused_for_upstream", who.model, wait));
        effects.headers.clear();
        effects.body.clear();
        effects.next = Next::Reply(reply::busy(who.format.dialect, who.model, wait, means.jitter));
        State::Done
    }

    /// What an operator needs to understand it.
    fn log_line(&self, event: &str, model: &str, wait: Span) -> String {
        let name = String::from_utf8_lossy(&self.name);
        json!({
            "event": event,
            "upstream": logged(&name),
            "model": logged(model),
            "wait_ms": wait.as_millis_ceil(),
        })
        .to_string()
    }
}

impl Reading {
    /// What is known of the upstream; or the state of a call that is refused because that is busy, before it touches any budget.
    pub(super) fn check_upstream(
        &mut self,
        model: &str,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Upstream>, State> {
        let Some(mut upstream) = Upstream::of(self, model, config, means) else { return Ok(None) };
        match upstream.check(means.ledger.now(), self.patience(), means) {
            Ok(()) => Ok(Some(upstream)),
            Err(wait) => {
                core::mem::take(&mut self.granted).reservation.release(means.ledger);
                let label = means.models.label(model, means.ledger);
                let who = Who { format: self.call.format, tier: &self.tier, model, label };
                Err(upstream.refuse(&who, wait, means, effects))
            }
        }
    }
}

impl Sent {
    /// Heeds what the head of an answer says of its upstream. Answers that Envoy gives itself say nothing of it.
    pub(super) fn heed(&self, status: u16, head: &dyn Head, means: &Means<'_>, effects: &mut Effects) {
        let now = means.ledger.now();
        if (200..300).contains(&status) {
            if let Some(upstream) = self.upstream.as_ref().filter(|upstream| upstream.recovering) {
                upstream.busy.recover(upstream.config.longest, means.ledger);
            }
            return;
        }
        let Some(pause) = Pause::asked_for(status, head, now).filter(|_| is_of_upstream(head)) else {
            return;
        };
        for limit in self.reservation.slow_down(means.ledger) {
            let labels = Labels { limit: Some(limit.name.clone()), ..self.labels("") };
            effects.count(&metrics::RATE_DECREASES, &labels, 1);
        }
        let Some(upstream) = &self.upstream else { return };
        effects.count(&metrics::UPSTREAM_BUSY, &self.labels("told"), 1);
        let told = upstream.busy.tell(pause, upstream.config.longest, means.ledger);
        if let Some((true, until)) = told {
            effects.log.push(upstream.log_line("upstream_busy", &self.model, until.since(now)));
        }
    }
}

/// The upstream of a call: the cluster of the route that Envoy has chosen for it.
pub(super) fn upstream(head: &dyn Head) -> Option<Vec<u8>> {
    head.property(&["xds", "cluster_name"])
}

/// Whether an answer is the upstream's own: Envoy's page "Response code details" has the word.
fn is_of_upstream(head: &dyn Head) -> bool {
    head.property(&["response", "code_details"]).is_some_and(|details| details == b"via_upstream")
}
