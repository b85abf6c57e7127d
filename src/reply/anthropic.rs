//! Anthropic's error bodies and `anthropic-ratelimit-*` headers.
//!
//! In: problems, standings. Out: JSON text, and header fields for the most constrained limit of
//! each kind that Anthropic has a name for. Source: Anthropic's pages "Errors", "Rate limits". Not
//! here: a `request_id`, which only Anthropic can assign.

use serde_json::json;

use super::Fields;
use super::dialect::{OwnFields, Words, no_fields};
use super::numbers::{decimal, rfc3339};
use super::problem::{Cause, Problem};
use crate::limits::Standing;
use crate::settings::Family;
use crate::units::Timestamp;

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &FIELDS };

static FIELDS: OwnFields = OwnFields { family: Family::Anthropic, add };

/// The names of [`add`] by resource: limit, remaining, reset.
pub(super) const FAMILIES: [(&str, [&str; 3]); 4] = [
    (
        "requests",
        [
            "anthropic-ratelimit-requests-limit",
            "anthropic-ratelimit-requests-remaining",
            "anthropic-ratelimit-requests-reset",
        ],
    ),
    (
        "tokens",
        [
            "anthropic-ratelimit-tokens-limit",
            "anthropic-ratelimit-tokens-remaining",
            "anthropic-ratelimit-tokens-reset",
        ],
    ),
    (
        "input_tokens",
        [
            "anthropic-ratelimit-input-tokens-limit",
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
        ],
    ),
    (
        "output_tokens",
        [
            "anthropic-ratelimit-output-tokens-limit",
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
        ],
    ),
];

fn body(Problem { message, cause }: &Problem<'_>) -> String {
    let kind = match cause {
        Cause::OverBudget { .. } | Cause::UpstreamBusy { .. } => "rate_limit_error",
        Cause::Unidentified => "authentication_error",
        Cause::Unrecognised => "not_found_error",
        Cause::DuplicateMember(_) | Cause::Upgrade | Cause::Header => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string()
}

fn add(standings: &[Standing], now: Timestamp, fields: &mut Fields) {
    for (counted, [limit, remaining, reset]) in FAMILIES {
        let of_kind = standings.iter().filter(|standing| standing.limit.counts.name == counted);
        if let Some(standing) = Standing::most_constrained(of_kind) {
            fields.push((limit, decimal(standing.limit.shape.max.0)));
            fields.push((remaining, decimal(standing.available.0)));
            fields.push((reset, rfc3339(now + standing.reset)));
        }
    }
}
