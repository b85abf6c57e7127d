//! The IETF's `RateLimit` and `RateLimit-Policy` fields.
//!
//! In: standings and refusals. Out: header fields for the most constrained limit. Source:
//! draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: structured fields (RFC 9651). `q` and
//! `r` are in the quota unit `qu`, which is `requests` by default.

use core::fmt::Write as _;

use super::Fields;
use crate::limits::{Refusal, Source, Standing};
use crate::units::{Amount, Span};

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";

/// Returns the fields of an allowed call.
pub(super) fn fields(standings: &[Standing]) -> Fields {
    let source = |standing: &&Standing| standing.limit.counts.unit.source;
    // Limits on tool calls do not keep a call from passing. Slots in flight are free again before a
    // client could use the number, so they are reported only if there is no other limit.
    let spent = standings.iter().filter(|at| matches!(source(at), Source::Head | Source::Usage));
    let in_flight = standings.iter().filter(|at| source(at) == Source::InFlight);
    let told = Standing::most_constrained(spent).or_else(|| Standing::most_constrained(in_flight));
    told.map_or_else(Vec::new, |standing| both(standing, standing.reset))
}

/// Returns the fields of a refused call: the limit that refused it, and the wait until it fits.
pub(super) fn refused(refusal: &Refusal, wait: Option<Span>) -> Fields {
    both(&refusal.standing, wait.unwrap_or(refusal.standing.reset))
}

fn both(standing: &Standing, until: Span) -> Fields {
    let limit = &standing.limit;
    let counted = limit.counts.unit;
    let unit = counted.quota_unit.map_or_else(String::new, |unit| format!(";qu=\"{unit}\""));
    let whole = |amount: Amount| counted.wholes(amount).min(LARGEST_INTEGER);
    let name = &limit.name;
    let mut policy = format!("\"{name}\";q={}{unit}", whole(limit.shape.max));
    let mut state = format!("\"{name}\";r={}", whole(standing.available));
    if counted.source != Source::InFlight {
        // Writing to a String does not fail.
        let _ = write!(policy, ";w={}", limit.shape.window.as_secs_ceil().max(1));
        let _ = write!(state, ";t={}", until.as_secs_ceil());
    }
    vec![(POLICY, policy), (LIMIT, state)]
}

/// The largest integer of RFC 9651, section 3.3.1: 15 digits.
const LARGEST_INTEGER: u64 = 999_999_999_999_999;
