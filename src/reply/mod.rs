//! What clients are told: refusals and budget headers, in the dialect of the API they called.
//!
//! In: a [`Refusal`] or [`Standing`]s. Out: a [`Reply`] or header fields. Not here: who is refused. Never told: anything
//! of another caller than the one who asked.

mod ietf;
mod openai;
mod words;

pub use words::usd;

use crate::api::Dialect;
use crate::identity::Unidentified;
use crate::limits::{Refusal, Standing, Wait};
use crate::units::Span;

/// Header fields to be set.
pub type Fields = Vec<(&'static str, String)>;

/// An answer given by the filter itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields, the content type among them.
    pub fields: Fields,
    /// The body, JSON in the API's dialect.
    pub body: String,
    /// A word for `%RESPONSE_CODE_DETAILS%` in access logs.
    pub details: &'static str,
}

/// An error body before it is put in a dialect's words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem<'a> {
    message: String,
    kind: &'a str,
    code: &'a str,
    param: Option<&'a str>,
}

/// Beyond this clients do better to give up: Anthropic's SDK ignores longer waits and OpenAI's stops retrying at 120 s.
const LONGEST_WAIT_WORTH_RETRYING: Span = Span::from_secs(60);

/// The most that is added to a wait so that callers who were refused together do not come back together.
const MOST_JITTER: Span = Span::from_secs(1);

/// A limit refuses: 429 with the wait until this call would fit, rounded up to a whole second in `retry-after`.
///
/// `jitter` is a random number; up to a tenth of the wait is added by it, never subtracted.
#[must_use]
pub fn refused(dialect: Dialect, refusal: &Refusal, model: &str, jitter: u32) -> Reply {
    let wait = match refusal.wait {
        Wait::Never => None,
        Wait::For(span) => Some(span + jittered(span, jitter)),
    };
    let mut fields = ietf::refused(refusal, wait);
    fields.extend(match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Ollama => {
            openai::fields(std::slice::from_ref(&refusal.standing))
        }
    });
    if let Some(wait) = wait {
        fields.push(("retry-after", wait.as_secs_ceil().max(1).to_string()));
        fields.push(("retry-after-ms", wait.as_millis_ceil().max(1).to_string()));
    }
    let worth_retrying = wait.is_some_and(|wait| wait <= LONGEST_WAIT_WORTH_RETRYING);
    fields.push(("x-should-retry", worth_retrying.to_string()));
    let problem = match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Ollama => {
            openai::refused(refusal, model, wait)
        }
    };
    reply(dialect, 429, fields, &problem, "tollgate_refused")
}

/// A dimension is missing that the configuration demands: 401.
#[must_use]
pub fn unidentified(dialect: Dialect, missing: &Unidentified) -> Reply {
    let message = format!("This call does not say who makes it: no value for `{}`.", missing.dimension);
    let problem = Problem { message, kind: "authentication_error", code: "missing_identity", param: None };
    reply(dialect, 401, Vec::new(), &problem, "tollgate_unidentified")
}

/// A body names a member twice that decides what the call costs: 400.
#[must_use]
pub fn ambiguous(dialect: Dialect, member: &'static str) -> Reply {
    let message = format!("The body names `{member}` more than once, so what it asks for is ambiguous.");
    let problem =
        Problem { message, kind: "invalid_request_error", code: "duplicate_member", param: Some(member) };
    reply(dialect, 400, Vec::new(), &problem, "tollgate_bad_request")
}

/// An LLM call asks for another protocol, behind which it could not be counted: 400.
#[must_use]
pub fn upgrade(dialect: Dialect) -> Reply {
    let message = "An LLM call cannot ask for a protocol upgrade.".to_owned();
    let problem =
        Problem { message, kind: "invalid_request_error", code: "upgrade_not_allowed", param: None };
    reply(dialect, 400, Vec::new(), &problem, "tollgate_bad_request")
}

/// The fields that tell a caller whose call was let through where its budgets stand.
#[must_use]
pub fn standing_fields(dialect: Dialect, standings: &[Standing]) -> Fields {
    let mut fields = match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Ollama => openai::fields(standings),
    };
    fields.extend(ietf::fields(standings));
    fields.extend(warning(standings));
    fields
}

/// The names of all fields that can tell where budgets stand. What an upstream says in them is of its own limits, which the
/// operator's callers share: mixed with ours it would mislead, and it would tell callers of each other.
pub fn standing_names(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    let names = match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Ollama => openai::names(),
    };
    names.chain(ietf::NAMES)
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

fn jittered(span: Span, jitter: u32) -> Span {
    let most = (span.0 / 10).min(MOST_JITTER.0);
    // jitter / 2^32 of it
    Span(most.saturating_mul(u64::from(jitter)) >> 32)
}

fn reply(
    dialect: Dialect,
    status: u16,
    mut fields: Fields,
    problem: &Problem<'_>,
    details: &'static str,
) -> Reply {
    fields.push(("content-type", "application/json".to_owned()));
    let body = match dialect {
        Dialect::OpenAi | Dialect::Gemini | Dialect::Cohere | Dialect::Ollama => openai::body(problem),
    };
    Reply { status, fields, body, details }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
