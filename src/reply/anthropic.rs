//! Anthropic's error bodies and `anthropic-ratelimit-*` headers.
//!
//! In: problems, standings. Out: JSON text, and header fields for the most constrained limit of each kind that Anthropic has a name for.
//! Source: Anthropic's pages "Errors", "Rate limits", "Service tiers" and "Fast mode"; the `unified` family, which subscriptions get, from
//! recorded answers. Not here: a `request_id`, for only Anthropic can name a request of Anthropic's.

use serde_json::json;

use super::Fields;
use super::dialect::{Words, no_fields};
use super::numbers::rfc3339;
use super::problem::{Cause, Problem};
use crate::limits::Standing;
use crate::units::Timestamp;

pub(super) static WORDS: Words = Words {
    body,
    error_fields: no_fields,
    standing_fields: fields,
    standing_names: &[
        &FAMILIES[0].1,
        &FAMILIES[1].1,
        &FAMILIES[2].1,
        &FAMILIES[3].1,
        &PRIORITY,
        &FAST,
        &UNIFIED,
        &UNIFIED_WINDOWS,
        &UNIFIED_OVERAGE,
    ],
};

/// The names of [`fields`] by what a limit counts: limit, remaining, reset.
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

const PRIORITY: [&str; 6] = [
    "anthropic-priority-input-tokens-limit",
    "anthropic-priority-input-tokens-remaining",
    "anthropic-priority-input-tokens-reset",
    "anthropic-priority-output-tokens-limit",
    "anthropic-priority-output-tokens-remaining",
    "anthropic-priority-output-tokens-reset",
];

const FAST: [&str; 6] = [
    "anthropic-fast-input-tokens-limit",
    "anthropic-fast-input-tokens-remaining",
    "anthropic-fast-input-tokens-reset",
    "anthropic-fast-output-tokens-limit",
    "anthropic-fast-output-tokens-remaining",
    "anthropic-fast-output-tokens-reset",
];

const UNIFIED: [&str; 7] = [
    "anthropic-ratelimit-unified-status",
    "anthropic-ratelimit-unified-reset",
    "anthropic-ratelimit-unified-remaining",
    "anthropic-ratelimit-unified-representative-claim",
    "anthropic-ratelimit-unified-fallback",
    "anthropic-ratelimit-unified-fallback-percentage",
    "anthropic-ratelimit-unified-upgrade-paths",
];

const UNIFIED_WINDOWS: [&str; 18] = [
    "anthropic-ratelimit-unified-5h-status",
    "anthropic-ratelimit-unified-5h-reset",
    "anthropic-ratelimit-unified-5h-utilization",
    "anthropic-ratelimit-unified-5h-surpassed-threshold",
    "anthropic-ratelimit-unified-7d-status",
    "anthropic-ratelimit-unified-7d-reset",
    "anthropic-ratelimit-unified-7d-utilization",
    "anthropic-ratelimit-unified-7d-surpassed-threshold",
    "anthropic-ratelimit-unified-7d_oi-status",
    "anthropic-ratelimit-unified-7d_oi-reset",
    "anthropic-ratelimit-unified-7d_oi-utilization",
    "anthropic-ratelimit-unified-7d_oi-surpassed-threshold",
    "anthropic-ratelimit-unified-7d_opus-status",
    "anthropic-ratelimit-unified-7d_opus-reset",
    "anthropic-ratelimit-unified-7d_opus-utilization",
    "anthropic-ratelimit-unified-7d_sonnet-status",
    "anthropic-ratelimit-unified-7d_sonnet-reset",
    "anthropic-ratelimit-unified-7d_sonnet-utilization",
];

const UNIFIED_OVERAGE: [&str; 9] = [
    "anthropic-ratelimit-unified-overage-status",
    "anthropic-ratelimit-unified-overage-reset",
    "anthropic-ratelimit-unified-overage-utilization",
    "anthropic-ratelimit-unified-overage-surpassed-threshold",
    "anthropic-ratelimit-unified-overage-disabled-reason",
    "anthropic-ratelimit-unified-overage-in-use",
    "anthropic-ratelimit-unified-overage-scope",
    "anthropic-ratelimit-unified-overage-period-monthly-utilization",
    "anthropic-ratelimit-unified-overage-period-channel-utilization",
];

fn body(Problem { message, cause }: &Problem<'_>) -> String {
    let kind = match cause {
        Cause::OverBudget { .. } => "rate_limit_error",
        Cause::Unidentified => "authentication_error",
        Cause::DuplicateMember(_) | Cause::Upgrade => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string()
}

fn fields(standings: &[Standing], now: Timestamp) -> Fields {
    let mut fields = Fields::new();
    for (counted, [limit, remaining, reset]) in FAMILIES {
        let of_kind = standings.iter().filter(|standing| standing.limit.counts.name == counted);
        if let Some(standing) = Standing::most_constrained(of_kind) {
            fields.push((limit, standing.limit.shape.max.to_string()));
            fields.push((remaining, standing.available.to_string()));
            fields.push((reset, rfc3339(now + standing.reset)));
        }
    }
    fields
}
