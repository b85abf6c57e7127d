//! OpenAI's error bodies and `x-ratelimit-*` headers.
//!
//! In: refusals, standings, problems. Out: JSON text and header fields. Source: OpenAI's guides "Error codes" and "Rate limits",
//! and recorded answers: all four members of `error` are always there, reset times are durations as Go prints them.

use serde_json::json;

use super::words::{amount, go_duration, window};
use super::{Fields, Problem};
use crate::limits::{Refusal, Standing, Unit, Wait};
use crate::units::Span;

/// The body of an error.
pub(super) fn body(problem: &Problem<'_>) -> String {
    let Problem { message, kind, code, param } = problem;
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } }).to_string()
}

/// A refusal in OpenAI's words, with everything that a reader needs to act on it.
pub(super) fn refused<'a>(refusal: &Refusal, model: &str, wait: Option<Span>) -> Problem<'a> {
    let Refusal { standing, needed, wait: reason } = refusal;
    let limit = &standing.limit;
    let per: String = limit.per.iter().map(|dimension| format!(" per {dimension}")).collect();
    let reached = match reason {
        Wait::Never => "Request too large",
        Wait::For(_) => "Rate limit reached",
    };
    let model = if model.is_empty() { String::new() } else { format!(" for {}", shortened(model)) };
    let message = format!(
        "{reached}{model} on {counted}{per} (limit `{name}`): Limit {max} per {window}, Available {available}, Requested {needed}. {advice}",
        counted = limit.counts.name,
        name = limit.name,
        max = amount(limit.shape.max, limit.counts.unit),
        window = window(limit.shape.window),
        available = amount(standing.available, limit.counts.unit),
        needed = amount(*needed, limit.counts.unit),
        advice = match wait {
            Some(wait) => format!("Please try again in {}.", go_duration(wait)),
            None => "It cannot fit even an unused budget: make the request smaller.".to_owned(),
        }
    );
    let kind = match limit.counts.unit {
        Unit::Requests => "requests",
        Unit::Tokens => "tokens",
        Unit::NanoUsd => "cost",
    };
    Problem { message, kind, code: "rate_limit_exceeded", param: None }
}

/// The names of [`fields`] by unit: limit, remaining, reset.
const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

/// The names of all fields that there can be.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    REQUESTS.into_iter().chain(TOKENS)
}

/// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` for the most constrained limit of either kind.
pub(super) fn fields(standings: &[Standing]) -> Fields {
    let mut fields = Fields::new();
    for (unit, [limit, remaining, reset]) in [(Unit::Requests, REQUESTS), (Unit::Tokens, TOKENS)] {
        let of_unit = standings.iter().filter(|standing| standing.limit.counts.unit == unit);
        if let Some(standing) = Standing::most_constrained(of_unit) {
            fields.push((limit, standing.limit.shape.max.to_string()));
            fields.push((remaining, standing.available.to_string()));
            fields.push((reset, go_duration(standing.reset)));
        }
    }
    fields
}

/// A model's name as it may be repeated to whoever sent it: bounded, in one line.
fn shortened(model: &str) -> String {
    model.chars().take(64).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
