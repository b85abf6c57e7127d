//! What clients are told: refusals and budget headers, in the dialect of the API they called.
//!
//! In: a [`Refusal`] or [`Standing`]s. Out: a [`Reply`] or header fields. Not here: who is refused.
//! Never told: anything of another caller than the one who asked.

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
mod unit;
mod x_ratelimit;

pub use numbers::{usd, window};

use problem::Problem;

use crate::api::{Dialect, Messages};
use crate::identity::Unidentified;
use crate::limits::{Reason, Refusal, Standing, Wait};
use crate::units::{Span, Timestamp};

/// Header fields to be set.
pub type Fields = Vec<(&'static str, String)>;

/// An answer given by the filter itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields, the content type among them.
    pub fields: Fields,
    /// More header fields, which are not ours: names and values.
    pub added: Vec<(String, Vec<u8>)>,
    /// The body, JSON in the API's dialect.
    pub body: String,
    /// A word for `%RESPONSE_CODE_DETAILS%` in access logs.
    pub details: &'static str,
}

/// Beyond this clients do better to give up: Anthropic's SDK ignores longer waits and OpenAI's
/// stops retrying at 120 s.
const LONGEST_WAIT_WORTH_RETRYING: Span = Span::from_secs(60);

/// The most that is added to a wait so that callers who were refused together do not come back
/// together.
const MOST_JITTER: Span = Span::from_secs(1);

/// A limit refuses: 429 with the wait until this call would fit, rounded up to a whole second in
/// `retry-after`.
///
/// `jitter` is a random number; it adds up to a tenth of the wait, unless the moment is promised to
/// this caller alone.
#[must_use]
pub fn refused(dialect: Dialect, refusal: &Refusal, model: &str, now: Timestamp, jitter: u32) -> Reply {
    let wait = told_wait(refusal, jitter);
    let mut fields = Fields::new();
    if refusal.reason != Reason::Unknown {
        fields.extend(ietf::refused(refusal, wait));
        fields.extend((dialect.words().standing_fields)(std::slice::from_ref(&refusal.standing), now));
    }
    fields.extend(wait.into_iter().flat_map(wait_fields));
    fields.push(("x-should-retry", wait.is_some_and(is_worth_retrying).to_string()));
    reply(dialect, fields, &Problem::over_budget(refusal, model, wait))
}

/// A limit on calls of `tool` refuses MCP messages, all of them.
///
/// Those that have an id are answered with status 200 and a JSON-RPC error each, from which clients
/// take the message: the official Python client before 2.0 ends the whole session at any other
/// status. Where none has an id there is no answer to give, so that the status has to tell it, as
/// MCP demands: 429.
#[must_use]
pub fn tool_refused(
    messages: &Messages<'_>,
    refusal: &Refusal,
    tool: &str,
    now: Timestamp,
    jitter: u32,
) -> Reply {
    let mut reply = refused(Dialect::Mcp, refusal, tool, now, jitter);
    if let Some(body) = mcp::tool_refused(messages, refusal, tool, told_wait(refusal, jitter), now) {
        reply.status = 200;
        reply.body = body;
    }
    reply
}

/// The upstream wants to be left alone for so long: 429, with up to a tenth more as in [`refused`].
#[must_use]
pub fn busy(dialect: Dialect, model: &str, wait: Span, jitter: u32) -> Reply {
    let wait = wait + jittered(wait, jitter);
    let mut fields = wait_fields(wait);
    fields.push(("x-should-retry", is_worth_retrying(wait).to_string()));
    reply(dialect, fields, &Problem::upstream_busy(model, wait))
}

/// A dimension is missing that the configuration demands: 401.
#[must_use]
pub fn unidentified(dialect: Dialect, missing: &Unidentified) -> Reply {
    reply(dialect, Vec::new(), &Problem::unidentified(missing))
}

/// A body names a member twice that decides what the call costs: 400.
#[must_use]
pub fn ambiguous(dialect: Dialect, member: &'static str) -> Reply {
    reply(dialect, Vec::new(), &Problem::duplicate_member(member))
}

/// An LLM call asks for another protocol, behind which it could not be counted: 426, because that
/// is the status after which Codex goes on over HTTP at once (tried with Codex 0.171). It carries
/// no `upgrade` header, since plain HTTP is what the client is to speak, and HTTP/2 has no such
/// header.
#[must_use]
pub fn upgrade(dialect: Dialect) -> Reply {
    reply(dialect, Vec::new(), &Problem::upgrade())
}

/// A header that has to be a whole number is none: 400.
#[must_use]
pub fn not_a_number(dialect: Dialect, header: &str) -> Reply {
    reply(dialect, Vec::new(), &Problem::not_a_number(header))
}

/// A header declares something for a workflow, and the call belongs to none: 400.
#[must_use]
pub fn no_workflow(dialect: Dialect, header: &str, dimension: &str) -> Reply {
    reply(dialect, Vec::new(), &Problem::no_workflow(header, dimension))
}

/// The fields that tell a caller whose call was let through where its budgets stand now.
#[must_use]
pub fn standing_fields(dialect: Dialect, standings: &[Standing], now: Timestamp) -> Fields {
    let mut fields = (dialect.words().standing_fields)(standings, now);
    fields.extend(ietf::fields(standings));
    fields.extend(warning(standings));
    fields
}

/// How the names of fields begin in which upstreams of any API tell where budgets stand: the
/// IETF's, OpenAI's and its imitators', Anthropic's (pages "Rate limits", "Service tiers", "Fast
/// mode"), Cohere's (recorded answers).
const STANDING: [&str; 7] = [
    "ratelimit",
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "anthropic-priority-",
    "anthropic-fast-",
    "x-endpoint-monthly-call-limit",
    "x-trial-endpoint-call-",
];

/// Whether a field of this name tells where budgets stand. What an upstream says in it is of its
/// own limits, which the operator's callers share: mixed with ours it would mislead, and it would
/// tell callers of each other.
#[must_use]
pub fn tells_standing(name: &[u8]) -> bool {
    STANDING.iter().any(|start| name.starts_with(start.as_bytes()))
}

/// `x-tollgate-warning`: the budgets used beyond their `warn_at`, in percent.
fn warning(standings: &[Standing]) -> Option<(&'static str, String)> {
    let warned: Vec<_> = standings
        .iter()
        .filter(|standing| standing.is_past_warning())
        .map(|standing| format!("\"{}\";used={}", standing.limit.name, standing.used_percent()))
        .collect();
    (!warned.is_empty()).then(|| ("x-tollgate-warning", warned.join(", ")))
}

/// How long a refused caller is told to wait; none if there is no use in it.
fn told_wait(refusal: &Refusal, jitter: u32) -> Option<Span> {
    match refusal.wait {
        Wait::Never => None,
        // Nobody else has been told this moment.
        Wait::For(span) if refusal.reason == Reason::Promised => Some(span),
        Wait::For(span) => Some(span + jittered(span, jitter)),
    }
}

fn wait_fields(wait: Span) -> Fields {
    vec![
        ("retry-after", wait.as_secs_ceil().max(1).to_string()),
        ("retry-after-ms", wait.as_millis_ceil().max(1).to_string()),
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
