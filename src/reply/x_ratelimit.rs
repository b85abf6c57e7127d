//! The `x-ratelimit-*` fields: OpenAI's, which generic clients also expect of APIs without fields
//! of their own.
//!
//! In: standings. Out: header fields for the most constrained limit on requests and on tokens.
//! Source: OpenAI's guide "Rate limits" and recorded answers: reset times are durations as Go
//! prints them.

use super::Fields;
use super::numbers::go_duration;
use crate::limits::{Standing, Unit};
use crate::units::Timestamp;

/// The names of [`fields`] by unit: limit, remaining, reset.
const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

/// Returns `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.
pub(super) fn fields(standings: &[Standing], _now: Timestamp) -> Fields {
    let mut fields = Fields::new();
    for (unit, [limit, remaining, reset]) in [(&Unit::REQUESTS, REQUESTS), (&Unit::TOKENS, TOKENS)] {
        let of_unit = standings.iter().filter(|standing| standing.limit.counts.unit == unit);
        if let Some(standing) = Standing::most_constrained(of_unit) {
            fields.push((limit, standing.limit.shape.max.to_string()));
            fields.push((remaining, standing.available.to_string()));
            fields.push((reset, go_duration(standing.reset)));
        }
    }
    fields
}
