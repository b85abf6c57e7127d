//! Replies to clients: refusals and budget headers, in the dialect of the API they called.
//!
//! In: a [`Refusal`] or [`Standing`]s. Out: a [`Reply`] or header fields. Not here: the decision to
//! refuse. A reply never contains anything of another caller.

mod anthropic;
mod bedrock;
mod cohere;
mod dialect;
mod gemini;
mod ietf;
mod mcp;
mod numbers;
mod ollama;
mod openai;
mod problem;
mod x_ratelimit;

pub use numbers::{usd, window};
pub use x_ratelimit::left;

use numbers::{decimal, push_decimal};
use problem::Problem;

use crate::api::{Dialect, Messages};
use crate::identity::Unidentified;
use crate::limits::{Reason, Refusal, Standing, Wait};
use crate::settings::{Family, Headers};
use crate::units::{Span, Timestamp};

/// Header fields to set.
pub type Fields = Vec<(&'static str, String)>;

/// A reply of the filter itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields, including the content type.
    pub fields: Fields,
    /// Header fields that are not Tollgate's own: names and values.
    pub added: Vec<(String, Vec<u8>)>,
    /// The body, JSON in the API's dialect.
    pub body: String,
    /// A word for `%RESPONSE_CODE_DETAILS%` in access logs.
    pub details: &'static str,
}

impl Reply {
    /// Returns the sentence for people in the body.
    #[must_use]
    pub fn message(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let error = body.get("error").unwrap_or(&body);
        let message = error.get("message").unwrap_or(error);
        message.as_str().unwrap_or_default().to_owned()
    }
}

/// The number of fields of an allowed call with limits on requests and on tokens.
const USUAL_FIELDS: usize = 8;

/// The longest wait after which clients should retry. Anthropic's SDK ignores longer waits, and
/// OpenAI's stops retrying at 120 s.
const LONGEST_WAIT_WORTH_RETRYING: Span = Span::from_secs(60);

/// The most jitter added to a wait, so that callers refused together do not come back together.
const MOST_JITTER: Span = Span::from_secs(1);

/// Refuses for a limit: 429 with the wait until this call would fit in `retry-after`, rounded up to
/// a whole second.
///
/// `jitter` is a random number. It adds up to a tenth of the wait, unless the moment is promised to
/// this caller alone.
#[must_use]
pub fn refused(
    dialect: Dialect,
    headers: &Headers,
    refusal: &Refusal,
    model: &str,
    now: Timestamp,
    jitter: u32,
) -> Reply {
    let wait = told_wait(refusal, jitter);
    let mut fields = Fields::new();
    if refusal.reason != Reason::Unknown {
        if headers.include(Family::Ietf) {
            ietf::add_refused(refusal, wait, &mut fields);
        }
        add_own(dialect, headers, std::slice::from_ref(&refusal.standing), now, &mut fields);
    }
    fields.extend(wait.into_iter().flat_map(wait_fields));
    fields.push(("x-should-retry", wait.is_some_and(is_worth_retrying).to_string()));
    reply(dialect, fields, &Problem::over_budget(refusal, model, wait))
}

/// Refuses MCP messages, all of them, for a limit on calls of `tool`.
///
/// Messages with an id get status 200 and a JSON-RPC error each, from which clients take the
/// message: the official Python client before 2.0 ends the whole session at any other status. If
/// none has an id there is nothing to answer, and the status must report the refusal, as MCP
/// demands: 429.
#[must_use]
pub fn tool_refused(
    messages: &Messages<'_>,
    headers: &Headers,
    refusal: &Refusal,
    tool: &str,
    now: Timestamp,
    jitter: u32,
) -> Reply {
    let mut reply = refused(Dialect::Mcp, headers, refusal, tool, now, jitter);
    if let Some(body) = mcp::tool_refused(messages, refusal, tool, told_wait(refusal, jitter), now) {
        reply.status = 200;
        reply.body = body;
    }
    reply
}

/// Replies that the upstream has asked for a pause of `wait`: 429, with up to a tenth more as in
/// [`refused`].
#[must_use]
pub fn busy(dialect: Dialect, model: &str, wait: Span, jitter: u32) -> Reply {
    let wait = wait + jittered(wait, jitter);
    let mut fields = wait_fields(wait);
    fields.push(("x-should-retry", is_worth_retrying(wait).to_string()));
    reply(dialect, fields, &Problem::upstream_busy(model, wait))
}

/// Replies that a required dimension is missing: 401.
#[must_use]
pub fn unidentified(dialect: Dialect, missing: &Unidentified) -> Reply {
    reply(dialect, Vec::new(), &Problem::unidentified(missing))
}

/// Replies that the body names a member twice that decides the cost of the call: 400.
#[must_use]
pub fn ambiguous(dialect: Dialect, member: &'static str) -> Reply {
    reply(dialect, Vec::new(), &Problem::duplicate_member(member))
}

/// Refuses another protocol, in which calls could not be counted: 426, because after that status
/// Codex goes on over HTTP at once (tried with Codex 0.171). The reply has no `upgrade` header,
/// since the client should use plain HTTP, and HTTP/2 has no such header.
#[must_use]
pub fn upgrade(dialect: Dialect) -> Reply {
    reply(dialect, Vec::new(), &Problem::upgrade())
}

/// Refuses a call on a path of no known API: 404, after which clients do not try again.
#[must_use]
pub fn unrecognised(dialect: Dialect) -> Reply {
    reply(dialect, Vec::new(), &Problem::unrecognised())
}

/// Replies that a header is not a whole number, as it must be: 400.
#[must_use]
pub fn not_a_number(dialect: Dialect, header: &str) -> Reply {
    reply(dialect, Vec::new(), &Problem::not_a_number(header))
}

/// Replies that a header is for a workflow, but the call belongs to none: 400.
#[must_use]
pub fn no_workflow(dialect: Dialect, header: &str, dimension: &str) -> Reply {
    reply(dialect, Vec::new(), &Problem::no_workflow(header, dimension))
}

/// Returns the fields that tell an admitted caller the standing of its budgets.
#[must_use]
pub fn standing_fields(
    dialect: Dialect,
    headers: &Headers,
    standings: &[Standing],
    now: Timestamp,
) -> Fields {
    let mut fields = Fields::with_capacity(USUAL_FIELDS);
    add_own(dialect, headers, standings, now, &mut fields);
    if headers.include(Family::Ietf) {
        ietf::add(standings, &mut fields);
    }
    fields.extend(warning(standings));
    fields
}

/// Adds the fields that belong to the API, if clients get them.
fn add_own(dialect: Dialect, headers: &Headers, standings: &[Standing], now: Timestamp, fields: &mut Fields) {
    let own = dialect.words().own;
    if headers.include(own.family) {
        (own.add)(standings, now, fields);
    }
}

/// The prefixes of the fields in which upstreams report standings: the IETF's, OpenAI's and its
/// imitators', Anthropic's (pages "Rate limits", "Service tiers", "Fast mode"), Cohere's (recorded
/// answers).
const STANDING: [&str; 7] = [
    "ratelimit",
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "anthropic-priority-",
    "anthropic-fast-",
    "x-endpoint-monthly-call-limit",
    "x-trial-endpoint-call-",
];

/// Returns whether a field of this name reports a standing. An upstream's fields are about its own
/// limits, which the operator's callers share. Mixed with ours they would mislead, and would tell
/// callers of each other.
#[must_use]
pub fn tells_standing(name: &[u8]) -> bool {
    STANDING.iter().any(|start| name.starts_with(start.as_bytes()))
}

/// Returns `x-tollgate-warning`: the budgets used beyond their `warn_at`, in percent.
fn warning(standings: &[Standing]) -> Option<(&'static str, String)> {
    let mut warned = String::new();
    for standing in standings.iter().filter(|standing| standing.is_past_warning()) {
        if !warned.is_empty() {
            warned.push_str(", ");
        }
        warned.push('"');
        warned.push_str(&standing.limit.name);
        warned.push_str("\";used=");
        push_decimal(&mut warned, standing.used_percent());
    }
    (!warned.is_empty()).then_some(("x-tollgate-warning", warned))
}

/// Returns the wait that a refused caller is told, or `None` if waiting does not help.
fn told_wait(refusal: &Refusal, jitter: u32) -> Option<Span> {
    match refusal.wait {
        Wait::Never => None,
        // The moment is promised to this caller alone.
        Wait::For(span) if refusal.reason == Reason::Promised => Some(span),
        Wait::For(span) => Some(span + jittered(span, jitter)),
    }
}

fn wait_fields(wait: Span) -> Fields {
    vec![
        ("retry-after", decimal(wait.as_secs_ceil().max(1))),
        ("retry-after-ms", decimal(wait.as_millis_ceil().max(1))),
    ]
}

fn jittered(span: Span, jitter: u32) -> Span {
    Span(span.0 / 10).min(MOST_JITTER).jittered(jitter)
}

fn is_worth_retrying(wait: Span) -> bool {
    wait <= LONGEST_WAIT_WORTH_RETRYING
}

fn reply(dialect: Dialect, mut fields: Fields, problem: &Problem<'_>) -> Reply {
    let words = dialect.words();
    fields.extend((words.error_fields)(problem));
    fields.push(("content-type", "application/json".to_owned()));
    Reply {
        status: problem.cause.status(),
        fields,
        added: Vec::new(),
        body: (words.body)(problem),
        details: problem.cause.details(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
