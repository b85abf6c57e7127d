//! Decides on a call whose request is known: takes tools away, softens it, reserves what it will cost, or refuses it.
//!
//! ```text
//! Draft ──▶ tools that are spent (tools) ──▶ a cheaper model, less output (softening) ──▶ reserve ──▶ global limits (asking)
//! ```
//!
//! In: what a request asks for, or is guessed to. Out: the call sent on with its reservation and with edits of its request, or a refusal. Not
//! here: reading the request (`request`).

use super::asking;
use super::request::Reading;
use super::response::Sent;
use super::softening::Softened;
use super::stop::Watch;
use super::{Editable, Effects, Fact, Means, State};
use crate::api::{Body, Request, Usage};
use crate::limits::{self, Estimate, Subject};
use crate::settings::Config;
use crate::tokens::Counted;
use crate::units::Span;

/// What a request asks for.
pub(super) struct Draft<'a> {
    pub(super) request: &'a Request<'a>,
    /// Its body, decoded, if it is there and is JSON.
    pub(super) body: Option<&'a [u8]>,
    /// What of it can still be changed.
    pub(super) editable: Editable,
    /// Whether its input can be counted rather than guessed.
    pub(super) exact: bool,
}

impl<'a> Draft<'a> {
    /// A request whose body is not read.
    pub(super) const fn unread(guess: &'a Request<'a>) -> Self {
        Self { request: guess, body: None, editable: Editable::Nothing, exact: false }
    }

    /// Whether the body can be changed.
    pub(super) fn is_editable(&self) -> bool {
        self.editable != Editable::Nothing
    }

    /// The body, if it can be changed.
    pub(super) fn editable_body(&self) -> Option<&'a [u8]> {
        self.body.filter(|_| self.is_editable())
    }
}

impl Reading {
    /// Decides on what the request asks for, or is guessed to.
    pub(super) fn decide_on(
        mut self,
        config: &Config,
        draft: &Draft<'_>,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let request = draft.request;
        let model = self.call.model.clone().or_else(|| request.model.as_deref().map(str::to_owned));
        let model = model.unwrap_or_default();
        let mut softened = Softened::new(model);
        if let Err(refusal) = self.take_tools_away(draft, &mut softened, means, effects) {
            let model = &softened.model;
            core::mem::take(&mut self.granted).reservation.release(means.ledger);
            let label = means.models.label(model, means.ledger);
            return self.refuse(&refusal, model, label, means, effects);
        }
        self.soften(draft, &mut softened, means);
        let (mut estimate, counted) = self.estimate(config, draft, &softened, means);
        self.clamp(draft, &mut softened, &mut estimate, means);
        let asking = request.ask_for_usage.clone().filter(|_| self.call.may_ask_for_usage);
        let mut asking = asking.filter(|_| softened.may_be_asked_for_usage(draft, self.call.format));
        if asking.is_some() && !draft.is_editable() {
            softened.skipped.push("usage");
            asking = None;
        }
        let is_whole = estimate.exact && request.known.is_none_or(|known| known.all_input() == 0);
        let upstream = match self.check_upstream(&softened.model, config, means, effects) {
            Ok(upstream) => upstream,
            Err(state) => return state,
        };
        let mut sent = match self.reserve(draft, &softened, estimate, means, effects) {
            Ok(sent) => sent,
            Err(state) => return state,
        };
        sent.hide_usage = asking.is_some();
        sent.upstream = upstream.map(Box::new);
        sent.watch = config.streams.stop_at_limit.then(|| Box::new(Watch::of(&self.caller, &config.streams)));
        sent.uncorrected = is_whole.then_some(counted);
        sent.form = self.form.take();
        sent.added_headers.extend(softened.header());
        let (label, tier) = (sent.label.clone(), self.tier.name.clone());
        let state = asking::begin(Box::new(self), sent, config, means, effects);
        if matches!(state, State::Sent(_) | State::Asking(_) | State::Waiting(_)) {
            effects.body.extend(asking);
            softened.carry_out(&tier, &label, effects);
        }
        state
    }

    /// What the call is expected to use, and what was counted of its input, before any correction.
    fn estimate(
        &self,
        config: &Config,
        draft: &Draft<'_>,
        softened: &Softened,
        means: &mut Means<'_>,
    ) -> (Estimate, Counted) {
        let (request, model) = (draft.request, softened.model.as_str());
        let counted = means.counter.prompt(&request.prompt, model, &config.counting.exactness);
        let correction = config.counting.calibration.factor(model, means.ledger);
        let input = counted.scaled(correction).usage();
        // What providers give for nothing has no price per call either.
        let requests = u64::from(self.call.format.body != Body::Free);
        let reserve = &config.counting.output_reserve;
        let estimate = Estimate {
            known: Usage { requests, ..input.plus(request.known.unwrap_or_default()) },
            output_is_known: request.known.is_some(),
            exact: draft.exact && !request.more_input,
            max_output: softened.max_output(request),
            expected_output: reserve.expected(model, &self.tier.name, means.ledger),
            at_most: reserve.at_most,
            rates: config.rates(model),
        };
        (estimate, counted)
    }

    /// How long the call may wait. What passes is not held, so it cannot wait.
    pub(super) fn patience(&self) -> Span {
        if self.passes { Span::ZERO } else { self.tier.graded.patience() }
    }

    /// Reserves the local budgets; or the state of a call that is refused.
    fn reserve(
        &mut self,
        draft: &Draft<'_>,
        softened: &Softened,
        estimate: Estimate,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> Result<Box<Sent>, State> {
        let model = softened.model.as_str();
        let label = means.models.label(model, means.ledger);
        effects.facts.push((Fact::CountedInput, estimate.known.all_input().to_string()));
        let granted = core::mem::take(&mut self.granted);
        let limits = &self.tier.limits;
        let subject = Subject { body: draft.body.unwrap_or_default(), ..self.subject(model) };
        match limits::reserve(granted, limits, &subject, &estimate, self.patience(), means.ledger) {
            Err(refusal) => Err(self.refuse(&refusal, model, label, means, effects)),
            Ok(granted) => {
                self.report_standings(&granted.shadowed, &granted.standings, &label, effects);
                self.log_crossings(&granted.crossed, model, effects);
                Ok(Box::new(Sent::new(self, model, label, estimate, granted, means.ledger.now())))
            }
        }
    }
}
