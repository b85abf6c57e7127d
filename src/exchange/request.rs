//! The request's half of an exchange: who calls, what it will cost, whether it may pass.
//!
//! In: the head, then the body. Out: a refusal, or a call sent on with its reservation. Not here: the response.

use std::rc::Rc;

use serde_json::json;

use super::asking;
use super::response::Sent;
use super::{Effects, Fact, HeaderEdit, Means, Next, State};
use crate::api::Peek;
use crate::api::{Body, Call, Piece, Prompt, Request, Unread, Usage};
use crate::coding::{self, Encoding, Failure};
use crate::identity::{Caller, Head};
use crate::limits::{self, Estimate, Granted, Reason, Refusal, Standing, Subject, Wait};
use crate::metrics::{self, Labels};
use crate::reply::{self, Reply};
use crate::settings::Config;
use crate::tiers::Tier;
use crate::units::Span;

/// How much of a name is repeated in a log line.
const LONGEST_LOGGED: usize = 128;

/// How long a body is taken to be that passes and does not tell: a minute of sound as MP3.
const UNKNOWN_LENGTH: u64 = 1_000_000;

/// A call whose headers are known and whose body is awaited.
pub(super) struct Reading {
    pub(super) call: Call,
    caller: Caller,
    pub(super) tier: Rc<Tier>,
    length: Option<u64>,
    encoding: Encoding,
    /// The request carries a signature of itself, so nothing of it may be changed.
    pub(super) signed: bool,
    /// The request is not held while the rate limit service is asked: its body is too long, or may be.
    pub(super) passes: bool,
    /// A form that passes, in which the model is looked for.
    form: Option<Peek>,
    /// What the call holds already: its places among the calls in flight.
    pub(super) granted: Granted,
}

/// The headers of a call have come.
pub(super) fn read_head(
    config: &Config,
    head: &dyn Head,
    ended: bool,
    means: &mut Means<'_>,
    effects: &mut Effects,
) -> State {
    let method = head.header(":method").unwrap_or_default();
    let path = head.header(":path").unwrap_or_default();
    let Some(call) = config.routes.recognise(&method, &path) else { return State::Done };
    let dialect = call.format.dialect;
    if head.header("upgrade").is_some() {
        return bad_request(reply::upgrade(dialect), effects);
    }
    let caller = match config.identity.read(head) {
        Ok(caller) => caller,
        Err(missing) => {
            effects.count(&metrics::CALLS, &kind("unidentified"), 1);
            effects.log =
                Some(json!({ "event": "unidentified", "missing": &*missing.dimension }).to_string());
            effects.next = Next::Reply(reply::unidentified(dialect, &missing));
            return State::Done;
        }
    };
    let (tier, known) = config.tiers.of(&caller);
    effects.count(&metrics::UNKNOWN_TIER, &Labels::default(), u64::from(!known));
    effects.facts.push((Fact::Tier, tier.name.to_string()));
    let signed = is_signed(head, &path);
    if !signed {
        // Plain answers are the cheapest to read.
        effects.headers.push(HeaderEdit::set("accept-encoding", "identity"));
    }
    let mut reading = Reading {
        call,
        caller,
        tier,
        length: content_length(head),
        encoding: Encoding::parse(&head.header("content-encoding").unwrap_or_default()),
        signed,
        passes: false,
        form: None,
        granted: Granted::default(),
    };
    let model = reading.call.model.clone().unwrap_or_default();
    match reading.decide_at_once(&model, means) {
        Ok(granted) => reading.granted = granted,
        Err(refusal) => {
            let label = means.models.label(&model, means.ledger);
            return reading.refuse(&refusal, &model, label, means, effects);
        }
    }
    match reading.call.format.body {
        Body::Free => {
            let nothing = Request { known: Some(Usage::default()), ..Request::default() };
            reading.decide_on(config, &nothing, true, false, means, effects)
        }
        Body::Passed => {
            let guess = (reading.call.format.guess)(reading.length.unwrap_or(UNKNOWN_LENGTH));
            reading.form = Peek::new(&head.header("content-type").unwrap_or_default(), "model");
            reading.passes = reading.length.is_none_or(|length| length > config.counting.hold_up_to);
            reading.decide_on(config, &guess, false, false, means, effects)
        }
        Body::Held if ended => reading.decide(config, b"", false, means, effects),
        Body::Held => match reading.length.filter(|length| *length > config.counting.hold_up_to) {
            Some(length) => {
                effects.count(&metrics::UNREAD, &kind("oversize"), 1);
                reading.passes = true;
                reading.decide_by_length(config, length, means, effects)
            }
            None => {
                effects.next = Next::ReadBody;
                State::Reading(Box::new(reading))
            }
        },
    }
}

impl Reading {
    /// What can be decided before the body is read: whether requests are left, and a place among the calls in flight.
    fn decide_at_once(&self, model: &str, means: &Means<'_>) -> Result<Granted, Refusal> {
        let (limits, subject) = (&self.tier.limits, self.subject(model));
        limits::would_refuse_at_once(limits, &subject, self.tier.graded.patience(), means.ledger)?;
        limits::take_off(limits, &subject, means.ledger)
    }

    /// Whether anything is held for the call already.
    pub(super) const fn is_held(&self) -> bool {
        !self.granted.reservation.is_empty()
    }

    /// The call has ended before its body was there.
    pub(super) fn end(self, means: &Means<'_>) {
        self.granted.reservation.release(means.ledger);
    }

    /// The body has come: count it, reserve, and send the call on or refuse it.
    pub(super) fn decide(
        self,
        config: &Config,
        body: &[u8],
        editable: bool,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let mut decoded = Vec::new();
        let is_coded = self.encoding != Encoding::Identity;
        if is_coded {
            let bound = usize::try_from(config.counting.decode_up_to).unwrap_or(usize::MAX);
            decoded = match coding::decode_whole(&self.encoding, body, bound) {
                Ok(decoded) => decoded,
                Err(Failure::TooLarge { .. }) => {
                    effects.count(&metrics::UNREAD, &kind("oversize"), 1);
                    return self.decide_by_length(config, config.counting.decode_up_to, means, effects);
                }
                Err(Failure::Unknown | Failure::Broken { .. }) => {
                    effects.count(&metrics::UNREAD, &kind("encoded"), 1);
                    return self.decide_by_length(config, body.len() as u64, means, effects);
                }
            };
        }
        let body = if is_coded { &decoded } else { body };
        let request = match (self.call.format.read)(body) {
            Ok(request) => request,
            Err(Unread::Ambiguous { member }) => {
                self.granted.reservation.release(means.ledger);
                return bad_request(reply::ambiguous(self.call.format.dialect, member), effects);
            }
            Err(Unread::Malformed) => {
                effects.count(&metrics::UNREAD, &kind("malformed"), 1);
                Request { prompt: Prompt(vec![Piece::Unread(body)]), ..Request::default() }
            }
        };
        let editable = editable && !self.signed && !is_coded;
        self.decide_on(config, &request, true, editable, means, effects)
    }

    /// Decides by a guess at the input, where the body cannot be read: compressed JSON has about as many bytes as tokens.
    fn decide_by_length(
        self,
        config: &Config,
        bytes: u64,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let mut guess = (self.call.format.guess)(bytes);
        if self.encoding != Encoding::Identity {
            guess.prompt = Prompt(vec![Piece::Tokens(bytes)]);
        }
        self.decide_on(config, &guess, false, false, means, effects)
    }

    /// Decides on what the request asks for, or is guessed to.
    fn decide_on(
        mut self,
        config: &Config,
        request: &Request<'_>,
        exact: bool,
        editable: bool,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let model = self.call.model.clone().or_else(|| request.model.as_deref().map(str::to_owned));
        let model = model.unwrap_or_default();
        let counted = means.counter.prompt(&request.prompt, &model, &config.counting.exactness);
        let correction = config.counting.calibration.factor(&model, means.ledger);
        let input = counted.scaled(correction).usage();
        // What providers give for nothing has no price per call either.
        let requests = u64::from(self.call.format.body != Body::Free);
        let reserve = &config.counting.output_reserve;
        let estimate = Estimate {
            known: Usage { requests, ..input.plus(request.known.unwrap_or_default()) },
            output_is_known: request.known.is_some(),
            exact: exact && !request.more_input,
            max_output: request.max_output,
            expected_output: reserve.expected(&model, &self.tier.name, means.ledger),
            at_most: reserve.at_most,
            rates: config.rates(&model),
        };
        let asking = request.ask_for_usage.clone().filter(|_| self.call.may_ask_for_usage);
        let (edit, skipped) = if editable { (asking, false) } else { (None, asking.is_some()) };
        let is_whole = estimate.exact && request.known.is_none_or(|known| known.all_input() == 0);
        let upstream = match self.check_upstream(&model, config, means, effects) {
            Ok(upstream) => upstream,
            Err(state) => return state,
        };
        let mut sent = match self.reserve(&model, estimate, edit.is_some(), means, effects) {
            Ok(sent) => sent,
            Err(state) => return state,
        };
        sent.upstream = upstream;
        sent.uncorrected = is_whole.then_some(counted);
        sent.form = self.form.take();
        let state = asking::begin(Box::new(self), Box::new(sent), config, means, effects);
        if matches!(state, State::Sent(_) | State::Asking(_) | State::Waiting(_)) {
            effects.count(&metrics::EDITS_SKIPPED, &Labels::default(), u64::from(skipped));
            effects.body.extend(edit);
        }
        state
    }

    /// How long the call may wait. What passes is not held, so it cannot wait.
    pub(super) fn patience(&self) -> Span {
        if self.passes { Span::ZERO } else { self.tier.graded.patience() }
    }

    /// Reserves the local budgets; or the state of a call that is refused.
    fn reserve(
        &mut self,
        model: &str,
        estimate: Estimate,
        hide_usage: bool,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> Result<Sent, State> {
        let label = means.models.label(model, means.ledger);
        effects.facts.push((Fact::CountedInput, estimate.known.all_input().to_string()));
        let granted = core::mem::take(&mut self.granted);
        let (limits, subject) = (&self.tier.limits, self.subject(model));
        match limits::reserve(granted, limits, &subject, &estimate, self.patience(), means.ledger) {
            Err(refusal) => Err(self.refuse(&refusal, model, label, means, effects)),
            Ok(granted) => {
                self.report_standings(&granted.shadowed, &granted.standings, &label, effects);
                let (format, tier) = (self.call.format, self.tier.clone());
                let now = means.ledger.now();
                Ok(Sent::new(format, tier, model, label, estimate, granted, now, hide_usage))
            }
        }
    }

    /// Counts what limits say of a call that they let through.
    pub(super) fn report_standings(
        &self,
        shadowed: &[Refusal],
        standings: &[Standing],
        model: &Rc<str>,
        effects: &mut Effects,
    ) {
        for refusal in shadowed {
            let labels = self.labels(&refusal.standing.limit.name, model.clone());
            effects.count(&metrics::SHADOW_REFUSALS, &labels, 1);
        }
        for standing in standings.iter().filter(|standing| standing.is_past_warning()) {
            effects.count(&metrics::WARNINGS, &self.labels(&standing.limit.name, model.clone()), 1);
        }
    }

    pub(super) fn refuse(
        &self,
        refusal: &Refusal,
        model: &str,
        label: Rc<str>,
        means: &Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let labels = self.labels(&refusal.standing.limit.name, label);
        effects.count(&metrics::REFUSALS, &labels, 1);
        effects.count(&metrics::CALLS, &Labels { kind: "refused", ..labels }, 1);
        effects.facts.push((Fact::RefusedBy, refusal.standing.limit.name.to_string()));
        effects.log = Some(self.log_line(refusal, model));
        effects.headers.clear();
        effects.next = Next::Reply(reply::refused(
            self.call.format.dialect,
            refusal,
            model,
            means.ledger.now(),
            means.jitter,
        ));
        State::Done
    }

    /// What an operator needs to understand a refusal: no prompt, and of secrets only their hashes.
    fn log_line(&self, Refusal { standing, needed, wait, reason }: &Refusal, model: &str) -> String {
        let limit = &standing.limit;
        let subject = self.subject(model);
        let per: serde_json::Map<String, serde_json::Value> = limit
            .per
            .iter()
            .map(|dimension| {
                let value =
                    String::from_utf8_lossy(subject.value(dimension)).chars().take(LONGEST_LOGGED).collect();
                (dimension.to_string(), serde_json::Value::String(value))
            })
            .collect();
        json!({
            "event": "refused",
            "tier": &*self.tier.name,
            "limit": &*limit.name,
            "counts": limit.counts.name,
            "per": per,
            "api": self.call.format.name,
            "model": model.chars().take(LONGEST_LOGGED).collect::<String>(),
            "max": limit.shape.max.0,
            "available": (*reason == Reason::Spent).then_some(standing.available.0),
            "needed": needed.0,
            "wait_ms": match wait {
                Wait::Never => None,
                Wait::For(span) => Some(span.as_millis_ceil()),
            },
        })
        .to_string()
    }

    pub(super) fn subject<'s>(&'s self, model: &'s str) -> Subject<'s> {
        Subject { caller: &self.caller, model, api: self.call.format.name }
    }

    fn labels(&self, limit: &Rc<str>, model: Rc<str>) -> Labels {
        Labels {
            tier: Some(self.tier.name.clone()),
            limit: Some(limit.clone()),
            model: Some(model),
            kind: "",
        }
    }
}

/// Whether a signature covers the request, as AWS Signature Version 4 does, in a header or in the query.
fn is_signed(head: &dyn Head, path: &[u8]) -> bool {
    let by_header =
        head.header("authorization").is_some_and(|value| value.trim_ascii_start().starts_with(b"AWS4-"));
    by_header || memchr::memmem::find(path, b"X-Amz-Signature=").is_some()
}

fn bad_request(reply: Reply, effects: &mut Effects) -> State {
    effects.count(&metrics::CALLS, &kind("bad_request"), 1);
    effects.headers.clear();
    effects.next = Next::Reply(reply);
    State::Done
}

fn kind(kind: &'static str) -> Labels {
    Labels { kind, ..Labels::default() }
}

fn content_length(head: &dyn Head) -> Option<u64> {
    core::str::from_utf8(&head.header("content-length")?).ok()?.trim().parse().ok()
}
