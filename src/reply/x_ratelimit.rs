//! The `x-ratelimit-*` fields: OpenAI's, which generic clients also expect of APIs without fields
//! of their own.
//!
//! In: standings. Out: header fields for the most constrained limit on requests and on tokens.
//! Source: OpenAI's guide "Rate limits" and recorded answers: reset times are durations as Go
//! prints them.

use super::Fields;
use super::dialect::OwnFields;
use super::numbers::{decimal, go_duration};
use crate::api::sockets::Left;
use crate::limits::{Standing, Unit};
use crate::settings::Family;
use crate::units::Timestamp;

/// The names of [`add`] by unit: limit, remaining, reset.
const REQUESTS: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const TOKENS: [&str; 3] =
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];

pub(super) static FIELDS: OwnFields = OwnFields { family: Family::XRatelimit, add };

/// Adds `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.
fn add(standings: &[Standing], _now: Timestamp, fields: &mut Fields) {
    for (unit, [limit, remaining, reset]) in [(&Unit::REQUESTS, REQUESTS), (&Unit::TOKENS, TOKENS)] {
        if let Some(standing) = of_unit(standings, unit) {
            fields.push((limit, decimal(standing.limit.shape.max.0)));
            fields.push((remaining, decimal(standing.available.0)));
            fields.push((reset, go_duration(standing.reset)));
        }
    }
}

/// Returns what is left of the most constrained limits on requests and on tokens, for events that
/// tell the same as the fields.
#[must_use]
pub fn left(standings: &[Standing]) -> Vec<Left> {
    let units = [("requests", &Unit::REQUESTS), ("tokens", &Unit::TOKENS)].into_iter();
    let left = units.filter_map(|(name, unit)| {
        let standing = of_unit(standings, unit)?;
        let (limit, remaining) = (standing.limit.shape.max.0, standing.available.0);
        Some(Left { name, limit, remaining, reset: standing.reset })
    });
    left.collect()
}

fn of_unit<'s>(standings: &'s [Standing], unit: &Unit) -> Option<&'s Standing> {
    Standing::most_constrained(standings.iter().filter(|standing| standing.limit.counts.unit == unit))
}
