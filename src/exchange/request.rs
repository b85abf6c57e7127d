//! The request's half of an exchange: who calls, what it will cost, whether it may pass.
//!
//! In: the head, then the body. Out: a refusal, or a call that can be decided on. Not here: deciding (`deciding`), the response.

use std::rc::Rc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::deciding::Draft;
use super::{Editable, Effects, Fact, HeaderEdit, Means, Next, State, busy, workflows};
use crate::api::{Body, Call, Dialect, Peek, Piece, Prompt, Request, Unread, Upgrade, Usage};
use crate::coding::{self, Encoding, Failure};
use crate::identity::{Caller, Head};
use crate::limits::{self, Granted, Limit, Reason, Refusal, Standing, Subject, UPSTREAM_DIMENSION, Wait};
use crate::metrics::{self, Labels};
use crate::reply::{self, Reply};
use crate::settings::Config;
use crate::tiers::Tier;

/// How much of a name is repeated in a log line.
const LONGEST_LOGGED: usize = 128;

/// How long a body is taken to be that passes and does not tell: a minute of sound as MP3.
const UNKNOWN_LENGTH: u64 = 1_000_000;

/// A call whose headers are known and whose body is awaited.
pub(super) struct Reading {
    pub(super) call: Call,
    pub(super) caller: Caller,
    pub(super) tier: Rc<Tier>,
    length: Option<u64>,
    encoding: Encoding,
    /// The request carries a signature of itself, so nothing of it may be changed.
    pub(super) signed: bool,
    /// The request is not held while the rate limit service is asked: its body is too long, or may be.
    pub(super) passes: bool,
    /// A form that passes, in which the model is looked for.
    pub(super) form: Option<Peek>,
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
    if let Some(protocol) = head.header("upgrade") {
        return refuse_upgrade(config, &path, &protocol, effects);
    }
    let Some(call) = config.routes.recognise(&method, &path) else { return State::Done };
    let dialect = call.format.dialect;
    if dialect == Dialect::Mcp && !config.tiers.limit_tools() {
        return State::Done;
    }
    let mut caller = match config.identity.read(head) {
        Ok(caller) => caller,
        Err(missing) => {
            effects.count(&metrics::CALLS, &kind("unidentified"), 1);
            effects.log.push(json!({ "event": "unidentified", "missing": &*missing.dimension }).to_string());
            effects.next = Next::Reply(reply::unidentified(dialect, &missing));
            return State::Done;
        }
    };
    let (tier, known) = config.tiers.of(&caller);
    if dialect == Dialect::Mcp && !tier.limits_tools() {
        return State::Done;
    }
    // Only now: calls for which it does not matter should not pay for it.
    let names_upstream = config.upstreams.is_some() || tier.names_upstream;
    if let Some(upstream) = names_upstream.then(|| busy::upstream(head)).flatten() {
        caller.add(UPSTREAM_DIMENSION, upstream);
    }
    effects.count(&metrics::UNKNOWN_TIER, &Labels::default(), u64::from(!known));
    effects.facts.push((Fact::Tier, tier.name.to_string()));
    let signed = is_signed(head, &path);
    if !signed {
        // Plain answers are the cheapest to read.
        effects.headers.push(HeaderEdit::set("accept-encoding", "identity"));
    }
    let declared = config.workflows.as_ref().map_or(Ok(None), |workflows| {
        workflows::workflow(workflows, head, &caller, signed, dialect, effects)
    });
    let workflow = match declared {
        Ok(workflow) => workflow,
        Err(reply) => return bad_request(reply, effects),
    };
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
    let at_once =
        if reading.is_rpc() { Ok(Granted::default()) } else { reading.decide_at_once(&model, means) };
    match at_once {
        Ok(granted) => reading.granted = Granted { workflow, ..granted },
        Err(refusal) => {
            let label = means.models.label(&model, means.ledger);
            return reading.refuse(&refusal, &model, label, means, effects);
        }
    }
    match reading.call.format.body {
        Body::Free => {
            let nothing = Request { known: Some(Usage::default()), ..Request::default() };
            reading.passes = !ended && reading.is_too_long(config);
            reading.decide_on(config, &Draft { exact: true, ..Draft::unread(&nothing) }, means, effects)
        }
        Body::Passed => {
            let guess = (reading.call.format.guess)(reading.length.unwrap_or(UNKNOWN_LENGTH));
            reading.form = Peek::new(&head.header("content-type").unwrap_or_default(), "model");
            reading.passes = reading.is_too_long(config);
            reading.decide_on(config, &Draft::unread(&guess), means, effects)
        }
        Body::Held if ended => reading.decide(config, b"", Editable::Nothing, means, effects),
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

/// A request asks for another protocol, which passes if it is not on the path of an LLM API. There
/// it is refused: what is said over a socket is not counted, and clients that can do without come
/// back over HTTP.
fn refuse_upgrade(config: &Config, path: &[u8], protocol: &[u8], effects: &mut Effects) -> State {
    let upgrade = config.routes.recognise_upgrade(path);
    let is_limited = |dialect| dialect != Dialect::Mcp || config.tiers.limit_tools();
    let Some(Upgrade { api, dialect }) = upgrade.filter(|upgrade| is_limited(upgrade.dialect)) else {
        return State::Done;
    };
    effects.count(&metrics::CALLS, &kind("upgrade"), 1);
    effects.facts.push((Fact::RefusedBy, "protocol upgrade".to_owned()));
    let protocol = logged(&String::from_utf8_lossy(protocol));
    effects.log.push(json!({ "event": "upgrade_refused", "api": api, "protocol": protocol }).to_string());
    effects.next = Next::Reply(reply::upgrade(dialect));
    State::Done
}

impl Reading {
    /// What can be decided before the body is read: whether requests are left, and a place among the calls in flight.
    fn decide_at_once(&self, model: &str, means: &Means<'_>) -> Result<Granted, Refusal> {
        let (limits, subject) = (&self.tier.limits, self.subject(model));
        limits::would_refuse_at_once(limits, &subject, self.tier.graded.patience(), means.ledger)?;
        limits::take_off(limits, &subject, means.ledger)
    }

    /// Whether it asks something of a server instead of a model.
    fn is_rpc(&self) -> bool {
        self.call.format.dialect == Dialect::Mcp
    }

    /// Whether the body is too long to be held, or may be.
    fn is_too_long(&self, config: &Config) -> bool {
        self.length.is_none_or(|length| length > config.counting.hold_up_to)
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
        editable: Editable,
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
        if self.is_rpc() {
            return self.decide_rpc(config, body, means, effects);
        }
        let mut read = Some(body);
        let request = match (self.call.format.read)(body) {
            Ok(request) => request,
            Err(Unread::Ambiguous { member }) => {
                self.granted.reservation.release(means.ledger);
                return bad_request(reply::ambiguous(self.call.format.dialect, member), effects);
            }
            Err(Unread::Malformed) => {
                effects.count(&metrics::UNREAD, &kind("malformed"), 1);
                read = read.filter(|body| serde_json::from_slice::<&RawValue>(body).is_ok());
                Request { prompt: Prompt(vec![Piece::Unread(body)]), ..Request::default() }
            }
        };
        let editable = if self.signed || is_coded { Editable::Nothing } else { editable };
        let draft = Draft { request: &request, body: read, editable, exact: true };
        self.decide_on(config, &draft, means, effects)
    }

    /// Decides by a guess at the input, where the body cannot be read: compressed JSON has about as many bytes as tokens.
    fn decide_by_length(
        self,
        config: &Config,
        bytes: u64,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        if self.is_rpc() {
            return self.decide_unread_rpc(config, means, effects);
        }
        let mut guess = (self.call.format.guess)(bytes);
        if self.encoding != Encoding::Identity {
            guess.prompt = Prompt(vec![Piece::Tokens(bytes)]);
        }
        self.decide_on(config, &Draft::unread(&guess), means, effects)
    }

    /// Tells operators what limits say of a call that they let through.
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
            effects.add_to_fact(Fact::Warning, &standing.limit.name);
        }
    }

    /// Writes a line for each budget that has come beyond its warning.
    pub(super) fn log_crossings(&self, crossed: &[Standing], model: &str, effects: &mut Effects) {
        effects.log.extend(crossed.iter().map(|standing| {
            let limit = &standing.limit;
            json!({
                "event": "warning",
                "tier": &*self.tier.name,
                "limit": &*limit.name,
                "counts": limit.counts.name,
                "per": dimensions(limit, &self.subject(model)),
                "max": limit.shape.max.0,
                "available": standing.available.0,
                "used_percent": standing.used_percent(),
            })
            .to_string()
        }));
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
        let shared = means.ledger.overflows(&refusal.standing.limit, &self.subject(model));
        effects.log.push(self.log_line(refusal, model, shared));
        effects.headers.clear();
        let (dialect, now) = (self.call.format.dialect, means.ledger.now());
        effects.next = Next::Reply(reply::refused(dialect, refusal, model, now, means.jitter));
        State::Done
    }

    /// What an operator needs to understand a refusal: no prompt, and of secrets only their hashes.
    fn log_line(&self, refusal: &Refusal, model: &str, shared: bool) -> String {
        let Refusal { standing, needed, wait, reason } = refusal;
        let limit = &standing.limit;
        let mut line = json!({
            "event": "refused",
            "tier": &*self.tier.name,
            "limit": &*limit.name,
            "counts": limit.counts.name,
            "per": dimensions(limit, &self.subject(model)),
            "api": self.call.format.name,
            "model": logged(model),
            "max": limit.shape.max.0,
            "available": (*reason != Reason::Unknown).then_some(standing.available.0),
            "needed": needed.0,
            "wait_ms": match wait {
                Wait::Never => None,
                Wait::For(span) => Some(span.as_millis_ceil()),
            },
        });
        if let Some(line) = line.as_object_mut().filter(|_| shared) {
            line.insert("shared".to_owned(), true.into());
        }
        line.to_string()
    }

    pub(super) fn subject<'s>(&'s self, model: &'s str) -> Subject<'s> {
        Subject { caller: &self.caller, model, api: self.call.format.name, body: b"" }
    }

    pub(super) fn labels(&self, limit: &Rc<str>, model: Rc<str>) -> Labels {
        Labels {
            tier: Some(self.tier.name.clone()),
            limit: Some(limit.clone()),
            model: Some(model),
            kind: "",
        }
    }
}

/// Whom a limit counts for, as a log line tells it.
pub(super) fn dimensions(limit: &Limit, subject: &Subject<'_>) -> serde_json::Map<String, Value> {
    let value = |dimension| logged(&String::from_utf8_lossy(subject.value(dimension)));
    limit.per.iter().map(|dimension| (dimension.to_string(), value(dimension).into())).collect()
}

/// A name as a log line repeats it.
pub(super) fn logged(name: &str) -> String {
    name.chars().take(LONGEST_LOGGED).collect()
}

/// Whether a signature covers the request, as AWS Signature Version 4 does, in a header or in the query.
fn is_signed(head: &dyn Head, path: &[u8]) -> bool {
    let by_header =
        head.header("authorization").is_some_and(|value| value.trim_ascii_start().starts_with(b"AWS4-"));
    by_header || memchr::memmem::find(path, b"X-Amz-Signature=").is_some()
}

pub(super) fn bad_request(reply: Reply, effects: &mut Effects) -> State {
    effects.count(&metrics::CALLS, &kind("bad_request"), 1);
    effects.headers.clear();
    effects.next = Next::Reply(reply);
    State::Done
}

pub(super) fn kind(kind: &'static str) -> Labels {
    Labels { kind, ..Labels::default() }
}

fn content_length(head: &dyn Head) -> Option<u64> {
    core::str::from_utf8(&head.header("content-length")?).ok()?.trim().parse().ok()
}
