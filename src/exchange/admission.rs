//! Admission: the steps of a call from its headers to its upstream.
//!
//! ```text
//! head ──▶ slots ──▶ body ──▶ tools ──▶ soften ──▶ upstream ──▶ reserve ──▶ decision ──▶ queue
//!          (each step may refuse: `refusal` gives back what is charged, and answers)
//! ```
//!
//! In: the request's headers and body, later the rate limit service's answers. Out: the next
//! [`State`]. Not here: the work of each step, which is in plain functions of the modules named
//! above.

use std::borrow::Cow;

use super::admitted::{Admitted, NotAdmitted};
use super::call::{Call, kind};
use super::charges::Charges;
use super::context::{Context, Editable};
use super::decision::{self, Progress};
use super::effects::{Effects, Next};
use super::fact::{Fact, Value};
use super::head::Limited;
use super::parsed::{self, ParsedCall};
use super::refusal::{Asked, OverLimit, Refusal};
use super::response::Responding;
use super::rpc::RpcRequest;
use super::socket::Socket;
use super::softening::Softened;
use super::state::{AwaitingBody, State};
use super::upstream::Upstream;
use super::{head, queue, standings, tools};
use crate::api::{Body, Edit, Peek, Request, Usage};
use crate::coding::Encoding;
use crate::identity::Head;
use crate::limits::{self, Estimate, Granted, Subject};
use crate::metrics;
use crate::settings::Config;
use crate::tokens::TokenCount;

/// The assumed length in bytes of a body that passes and has no length: a minute of sound as MP3.
const UNKNOWN_LENGTH: u64 = 1_000_000;

/// Handles the headers of a request.
pub(super) fn on_head(
    config: &Config,
    headers: &dyn Head,
    ended: bool,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    let (call, metering) = match head::read(config, headers, ended, effects) {
        Ok(Some(Limited::Call(call))) => (call, None),
        Ok(Some(Limited::Socket(call, metering))) => (call, Some(metering)),
        Ok(None) => return State::Done,
        Err(refusal) => return refuse(refusal, Charges::default(), config, context, effects),
    };
    let granted = match acquire_slots(&call, context) {
        Ok(granted) => granted,
        Err(refusal) => return refuse(refusal, Charges::default(), config, context, effects),
    };
    if let Some(metering) = metering {
        return State::Socket(Box::new(Socket::new(call, metering, granted.reservation, config)));
    }
    let length = call.length;
    let awaiting = AwaitingBody { call, granted, read_lines: context.budgets.take_read_lines() };
    match awaiting.call.format().body {
        Body::Free => {
            let nothing = Request { known: Some(Usage::default()), ..Request::default() };
            let parsed = ParsedCall { is_exact: true, ..ParsedCall::unread(nothing) };
            admit(awaiting, &parsed, None, config, context, effects)
        }
        Body::Passed => {
            let parsed = ParsedCall::unread((awaiting.call.format().guess)(length.unwrap_or(UNKNOWN_LENGTH)));
            let form = Peek::new(&headers.header("content-type").unwrap_or_default(), "model");
            admit(awaiting, &parsed, form, config, context, effects)
        }
        Body::Held if ended => on_body(awaiting, b"", Editable::Nothing, config, context, effects),
        Body::Held if awaiting.call.passes => {
            effects.count(&metrics::UNREAD, &kind("oversize"), 1);
            admit_unread(awaiting, length.unwrap_or_default(), config, context, effects)
        }
        Body::Held => {
            effects.next = Next::ReadBody;
            State::AwaitingBody(Box::new(awaiting))
        }
    }
}

/// Checks the limits that need no body: limits on requests, and slots of calls in flight.
fn acquire_slots<'c>(call: &'c Call, context: &mut Context<'_>) -> Result<Granted, Refusal<'c>> {
    let workflow = call.workflow.clone();
    if call.is_rpc() {
        return Ok(Granted { workflow, ..Granted::default() });
    }
    let model = call.api.model.as_deref().unwrap_or_default();
    let (limits, subject) = (&call.tier.limits, call.subject(model));
    let slots =
        limits::would_refuse_at_once(limits, &subject, call.tier.degradation.patience(), context.budgets)
            .and_then(|()| limits::acquire_slots(limits, &subject, context.budgets));
    match slots {
        Ok(granted) => Ok(Granted { workflow, ..granted }),
        Err(refusal) => Err(over_limit(call, model, refusal, context)),
    }
}

/// Handles the whole body of a request.
pub(super) fn on_body(
    awaiting: AwaitingBody,
    body: &[u8],
    editable: Editable,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    let decoded;
    let mut body = body;
    if awaiting.call.encoding != Encoding::Identity {
        match parsed::decoded(&awaiting.call, body, config, effects) {
            Ok(whole) => {
                decoded = whole;
                body = &decoded;
            }
            Err(length) => return admit_unread(awaiting, length, config, context, effects),
        }
    }
    if awaiting.call.is_rpc() {
        let request = RpcRequest::read(&awaiting.call, body, effects);
        return admit_rpc(awaiting, request, config, context, effects);
    }
    // The check of a whole text is several times faster than the search for its invalid bytes.
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    match ParsedCall::read(&awaiting.call, body, &text, editable, effects) {
        Ok(parsed) => admit(awaiting, &parsed, None, config, context, effects),
        Err(refusal) => {
            refuse(refusal, Charges::local(awaiting.granted.reservation), config, context, effects)
        }
    }
}

/// Admits a call by the length of a body that is not read.
fn admit_unread(
    awaiting: AwaitingBody,
    length: u64,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    if awaiting.call.is_rpc() {
        return admit_rpc(awaiting, Ok(RpcRequest::unread()), config, context, effects);
    }
    let parsed = ParsedCall::guessed(&awaiting.call, length);
    admit(awaiting, &parsed, None, config, context, effects)
}

/// Admits an LLM call, or refuses it.
pub(super) fn admit(
    awaiting: AwaitingBody,
    parsed: &ParsedCall<'_>,
    form: Option<Peek>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    let AwaitingBody { call, mut granted, read_lines } = awaiting;
    context.budgets.remember(read_lines);
    let model = call.api.model.clone().or_else(|| parsed.request.model.as_deref().map(str::to_owned));
    let model = model.unwrap_or_default();
    let prepared = match prepare(&call, &mut granted, model, parsed, config, context, effects) {
        Ok(prepared) => prepared,
        Err(refusal) => {
            return refuse(refusal, Charges::local(granted.reservation), config, context, effects);
        }
    };
    let Prepared { softened, ask_for_usage, estimate, uncorrected, upstream, reserved } = prepared;
    let label = context.models.label(&softened.model, context.budgets);
    let admitted = Box::new(Admitted {
        model: softened.model.clone(),
        label: label.clone(),
        estimate,
        uncorrected,
        charges: Charges::local(reserved.reservation),
        standings: reserved.standings,
        waits_for: reserved.waits_for,
        reserved_at: context.now(),
        upstream: upstream.map(Box::new),
        form,
        called: None,
        hides_usage: ask_for_usage.is_some(),
        response_headers: softened.header().into_iter().collect(),
        call,
    });
    let tier = admitted.call.tier.clone();
    let decided = decision::begin(admitted, config, context, effects);
    let state = go_on(decided, config, context, effects);
    if !matches!(state, State::Done) {
        effects.body.extend(ask_for_usage);
        softened.apply(&tier, &label, effects);
    }
    state
}

/// A call that passed its local limits.
struct Prepared {
    softened: Softened,
    ask_for_usage: Option<Edit>,
    estimate: Estimate,
    uncorrected: Option<TokenCount>,
    upstream: Option<Upstream>,
    reserved: Granted,
}

/// Runs every step that needs no answer of the rate limit service. If one refuses, `granted` is
/// still to be given back.
fn prepare<'c>(
    call: &'c Call,
    granted: &mut Granted,
    model: String,
    parsed: &ParsedCall<'_>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Result<Prepared, Refusal<'c>> {
    let hidden = tools::hide(call, parsed, &model, context, effects);
    let hidden = hidden.map_err(|refusal| over_limit(call, &model, refusal, context))?;
    let mut softened = Softened::of(call, parsed, model, hidden, context);
    let (mut estimate, counted) = estimate(call, &softened, parsed, config, context);
    softened.clamp(call, parsed, &mut estimate, context);
    let ask_for_usage = softened.ask_for_usage(call, parsed);
    let upstream = match Upstream::of(call, &softened.model, config, context) {
        Ok(upstream) => upstream,
        Err(busy) => return Err(Refusal::UpstreamBusy(asked(call, &softened.model, context), busy)),
    };
    let reserved =
        reserve(call, core::mem::take(granted), &softened.model, parsed, &estimate, context, effects)?;
    let is_whole = estimate.exact && parsed.request.known.is_none_or(|known| known.all_input() == 0);
    let uncorrected = is_whole.then_some(counted);
    Ok(Prepared { softened, ask_for_usage, estimate, uncorrected, upstream, reserved })
}

/// Returns the call's expected usage, and the count of its input before any correction.
fn estimate(
    call: &Call,
    softened: &Softened,
    parsed: &ParsedCall<'_>,
    config: &Config,
    context: &mut Context<'_>,
) -> (Estimate, TokenCount) {
    let (request, model, counting) = (&parsed.request, softened.model.as_str(), &config.counting);
    let counted = context.counter.prompt(&request.prompt, model, &counting.exactness);
    let input = counted.scaled(counting.calibration.factor(model, context.budgets)).usage();
    // Calls that providers offer free of charge have no price per call either.
    let requests = u64::from(call.format().body != Body::Free);
    let reserve = &counting.output_reserve;
    let learned = call.tier.has_limits().then(|| reserve.expected(model, &call.tier.name, context.budgets));
    let estimate = Estimate {
        known: Usage { requests, ..input.plus(request.known.unwrap_or_default()).plus(call.context()) },
        output_is_known: request.known.is_some(),
        exact: parsed.is_exact && !request.more_input,
        max_output: softened.max_output(request),
        expected_output: learned.unwrap_or_else(|| reserve.start.into()),
        at_most: reserve.at_most,
        rates: config.rates(model),
    };
    (estimate, counted)
}

/// Charges the local budgets.
fn reserve<'c>(
    call: &'c Call,
    granted: Granted,
    model: &str,
    parsed: &ParsedCall<'_>,
    estimate: &Estimate,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Result<Granted, Refusal<'c>> {
    effects.facts.push((Fact::CountedInput, Value::Number(estimate.known.all_input())));
    let subject = Subject { body: parsed.body(), ..call.subject(model) };
    let (limits, patience) = (&call.tier.limits, call.patience());
    let granted = limits::reserve(granted, limits, &subject, estimate, patience, context.budgets)
        .map_err(|refusal| over_limit(call, model, refusal, context))?;
    let label = context.models.label(model, context.budgets);
    standings::report(call, &label, &granted.shadowed, &granted.standings, effects);
    standings::log_crossings(call, model, &granted.crossed, effects);
    Ok(granted)
}

/// Admits calls of tools by MCP, or refuses them.
fn admit_rpc(
    awaiting: AwaitingBody,
    request: Result<RpcRequest<'_>, Refusal<'static>>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    let AwaitingBody { call, granted, .. } = awaiting;
    let RpcRequest { messages, tools } = match request {
        Ok(request) => request,
        Err(refusal) => {
            return refuse(refusal, Charges::local(granted.reservation), config, context, effects);
        }
    };
    if tools.is_empty() {
        return State::Done;
    }
    let label = context.models.other();
    let reserved = match limits::reserve_tools(&call.tier.limits, &call.subject(""), &tools, context.budgets)
    {
        Ok(reserved) => reserved,
        Err(refusal) => {
            let limit = &refusal.standing.limit;
            let refused = messages.tools().find(|name| limit.counts_tool(name)).unwrap_or_default();
            let asked = Asked { call: &call, model: refused.to_owned(), label };
            let over = OverLimit { messages: Some(&messages), ..OverLimit::by(refusal) };
            let refusal = Refusal::OverLimit(asked, Box::new(over));
            return refuse(refusal, Charges::default(), config, context, effects);
        }
    };
    standings::report(&call, &label, &reserved.shadowed, &reserved.standings, effects);
    standings::log_crossings(&call, "", &reserved.crossed, effects);
    let admitted = Box::new(Admitted {
        model: String::new(),
        label,
        estimate: Estimate::known(Usage::default(), config.rates("")),
        uncorrected: None,
        charges: Charges::local(reserved.reservation),
        // Clients of MCP do not read budget headers.
        standings: Vec::new(),
        waits_for: None,
        reserved_at: context.now(),
        upstream: None,
        form: None,
        called: Some(tools),
        hides_usage: false,
        response_headers: Vec::new(),
        call,
    });
    State::Responding(Box::new(Responding::new(admitted, config)))
}

/// Continues a call after its global limits: sends it, queues it or refuses it.
pub(super) fn go_on(
    decided: Result<Progress, NotAdmitted>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    match decided {
        Ok(Progress::Pending(awaiting)) => State::AwaitingDecision(awaiting),
        Ok(Progress::Decided(admitted)) if admitted.call.has_begun() => {
            State::Responding(Box::new(Responding::new(admitted, config)))
        }
        Ok(Progress::Decided(admitted)) => {
            let queued = queue::enter(admitted, context, effects);
            send(queued, config, context, effects)
        }
        Err(not_admitted) => {
            not_admitted.refuse(config, context, effects);
            State::Done
        }
    }
}

/// Sends a call upstream, if it need not wait any more.
pub(super) fn send(
    queued: Result<queue::Progress, NotAdmitted>,
    config: &Config,
    context: &Context<'_>,
    effects: &mut Effects,
) -> State {
    match queued {
        Ok(queue::Progress::Ready(admitted)) => {
            State::Responding(Box::new(Responding::new(admitted, config)))
        }
        Ok(queue::Progress::Waiting(queued)) => State::Queued(queued),
        Err(not_admitted) => {
            not_admitted.refuse(config, context, effects);
            State::Done
        }
    }
}

/// Ends a call that is refused, and gives its charges back.
fn refuse(
    refusal: Refusal<'_>,
    charges: Charges,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    refusal.refuse(charges, config, context, effects);
    State::Done
}

fn asked<'c>(call: &'c Call, model: &str, context: &mut Context<'_>) -> Asked<'c> {
    Asked { call, model: model.to_owned(), label: context.models.label(model, context.budgets) }
}

pub(super) fn over_limit<'c>(
    call: &'c Call,
    model: &str,
    refusal: limits::Refusal,
    context: &mut Context<'_>,
) -> Refusal<'c> {
    Refusal::OverLimit(asked(call, model, context), Box::new(OverLimit::by(refusal)))
}
