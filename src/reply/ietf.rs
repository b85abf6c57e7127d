//! The IETF's `RateLimit` and `RateLimit-Policy` fields.
//!
//! In: standings and refusals. Out: header fields for the most constrained limit. Source:
//! draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: structured fields (RFC 9651); `q` and
//! `r` are in the quota unit `qu`, which is `requests` unless told.

use core::fmt::Write as _;

use super::Fields;
use crate::limits::{Refusal, Standing, Unit};
use crate::units::{Amount, Span};

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";

/// Of an allowed call.
pub(super) fn fields(standings: &[Standing]) -> Fields {
    let unit_of = |standing: &&Standing| standing.limit.counts.unit;
    // Calls of tools do not keep a call from passing, and places in flight are free again before
    // anybody could go by them.
    let spent = standings.iter().filter(|at| !matches!(unit_of(at), Unit::ToolCalls | Unit::InFlight));
    let in_flight = standings.iter().filter(|at| unit_of(at) == Unit::InFlight);
    let told = Standing::most_constrained(spent).or_else(|| Standing::most_constrained(in_flight));
    told.map_or_else(Vec::new, |standing| both(standing, standing.reset))
}

/// Of a refused call: the limit that refused it, and the wait until this call fits.
pub(super) fn refused(refusal: &Refusal, wait: Option<Span>) -> Fields {
    both(&refusal.standing, wait.unwrap_or(refusal.standing.reset))
}

fn both(standing: &Standing, until: Span) -> Fields {
    let limit = &standing.limit;
    let words = limit.counts.unit.words();
    let unit = words.quota_unit.map_or_else(String::new, |unit| format!(";qu=\"{unit}\""));
    let whole = |amount: Amount| amount.0.checked_div(words.per_quota_unit).unwrap_or(0).min(LARGEST_INTEGER);
    let name = &limit.name;
    let mut policy = format!("\"{name}\";q={}{unit}", whole(limit.shape.max));
    let mut state = format!("\"{name}\";r={}", whole(standing.available));
    if words.per_window {
        // A String takes whatever is written.
        let _ = write!(policy, ";w={}", limit.shape.window.as_secs_ceil().max(1));
        let _ = write!(state, ";t={}", until.as_secs_ceil());
    }
    vec![(POLICY, policy), (LIMIT, state)]
}

/// RFC 9651 section 3.3.1: integers have up to 15 digits.
const LARGEST_INTEGER: u64 = 999_999_999_999_999;
