//! A call that its limits admitted: its facts and its charges.
//!
//! In: the results of admission. Out: an [`Admitted`], or a [`NotAdmitted`] that is refused after
//! its local budgets were charged. Not here: the decision (`admission`, `decision`, `queue`), the
//! answer (`response`).

use std::rc::Rc;

use super::call::Call;
use super::charges::Charges;
use super::context::{Abort, Context};
use super::effects::{Effects, HeaderEdit};
use super::refusal::{Asked, BusyUpstream, OverLimit, Refusal};
use super::upstream::Upstream;
use crate::api::Peek;
use crate::api::answer::ToolsCalled;
use crate::limits::{self, Estimate, Reservation, Standing};
use crate::metrics::{self, Labels};
use crate::rls::{HeaderValue, Holding};
use crate::settings::Config;
use crate::tokens::TokenCount;
use crate::units::Timestamp;

/// A call that may go upstream, now or after waiting.
pub(super) struct Admitted {
    pub(super) call: Call,
    pub(super) model: String,
    /// The model's label in metrics.
    pub(super) label: Rc<str>,
    pub(super) estimate: Estimate,
    /// The count of the input before any correction, if it covers all of the input.
    pub(super) uncorrected: Option<TokenCount>,
    pub(super) charges: Charges,
    /// The standing of its budgets at that time.
    pub(super) standings: Vec<Standing>,
    /// The limit that would have refused it if it did not wait.
    pub(super) waits_for: Option<Box<limits::Refusal>>,
    pub(super) reserved_at: Timestamp,
    pub(super) upstream: Option<Box<Upstream>>,
    /// A form that passes, in which the model is searched.
    pub(super) form: Option<Peek>,
    /// The tools that an MCP request calls.
    pub(super) called: Option<ToolsCalled>,
    /// Whether Tollgate, not the client, asked the upstream for the usage.
    pub(super) hides_usage: bool,
    /// Headers to add to the response.
    pub(super) response_headers: Vec<HeaderEdit>,
}

impl Admitted {
    pub(super) fn labels(&self, kind: &'static str) -> Labels {
        self.call.labels(&self.label, kind)
    }

    /// Returns the time until which it waits for its upstream, if it does.
    pub(super) fn waits_for_upstream(&self) -> Option<Timestamp> {
        self.upstream.as_ref()?.wait_until()
    }

    /// Adds the charges and headers of its global limits.
    pub(super) fn with_global(
        self,
        standings: Vec<Standing>,
        holding: Holding,
        stand_ins: Reservation,
        headers: impl IntoIterator<Item = HeaderEdit>,
    ) -> Self {
        Self {
            standings: self.standings.into_iter().chain(standings).collect(),
            charges: self.charges.with(stand_ins, holding),
            response_headers: self.response_headers.into_iter().chain(headers).collect(),
            ..self
        }
    }

    /// Searches the model in a form that passes. Limits could not know it, but the price can.
    pub(super) fn read_request_piece(&mut self, piece: &[u8], config: &Config) {
        let Some(form) = &mut self.form else { return };
        form.feed(piece);
        if let Some(model) = form.value().filter(|model| *model != self.model) {
            self.model = model.to_owned();
            self.estimate.rates = config.rates(model);
        }
    }

    /// Ends the call before it has gone upstream: it costs nothing.
    pub(super) fn end_unsent(
        self,
        abort: Option<Abort>,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        effects.count(&metrics::CALLS, &self.labels(Abort::ending(abort)), 1);
        self.charges.release(config, context, effects);
    }

    /// Gives the model a label of its own, because the upstream has answered.
    pub(super) fn learn_label(&mut self, context: &mut Context<'_>) {
        self.label = context.models.learn(&self.model, context.budgets);
    }
}

/// A call that is refused after its local budgets were charged.
pub(super) struct NotAdmitted {
    admitted: Box<Admitted>,
    why: Why,
}

enum Why {
    OverLimit(limits::Refusal, Vec<HeaderValue>),
    UpstreamBusy(BusyUpstream),
}

impl NotAdmitted {
    /// Creates the refusal by a limit, with the headers that the rate limit service adds to the
    /// response.
    pub(super) const fn over_limit(
        admitted: Box<Admitted>,
        refusal: limits::Refusal,
        headers: Vec<HeaderValue>,
    ) -> Self {
        Self { admitted, why: Why::OverLimit(refusal, headers) }
    }

    /// Creates the refusal of a call whose upstream is busy for longer than the call may wait.
    pub(super) const fn upstream_busy(admitted: Box<Admitted>, busy: BusyUpstream) -> Self {
        Self { admitted, why: Why::UpstreamBusy(busy) }
    }

    pub(super) fn refuse(self, config: &Config, context: &Context<'_>, effects: &mut Effects) {
        let Admitted { call, model, label, charges, .. } = *self.admitted;
        let asked = Asked { call: &call, model, label };
        let refusal = match self.why {
            Why::OverLimit(refusal, headers) => {
                Refusal::OverLimit(asked, Box::new(OverLimit { headers, ..OverLimit::by(refusal) }))
            }
            Why::UpstreamBusy(busy) => Refusal::UpstreamBusy(asked, busy),
        };
        refusal.refuse(charges, config, context, effects);
    }
}
