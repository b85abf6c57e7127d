//! The IETF's `RateLimit` and `RateLimit-Policy` fields.
//!
//! In: standings and refusals. Out: header fields for the most constrained limit. Source:
//! draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4: structured fields (RFC 9651). `q` and
//! `r` are in the quota unit `qu`, which is `requests` by default.

use super::Fields;
use super::numbers::push_decimal;
use crate::limits::{Refusal, Source, Standing};
use crate::units::{Amount, Span};

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";

/// Adds the fields of an allowed call.
pub(super) fn add(standings: &[Standing], fields: &mut Fields) {
    let source = |standing: &&Standing| standing.limit.counts.unit.source;
    // Limits on tool calls do not keep a call from passing. Slots in flight are free again before a
    // client could use the number, so they are reported only if there is no other limit.
    let spent = standings.iter().filter(|at| matches!(source(at), Source::Head | Source::Usage));
    let in_flight = standings.iter().filter(|at| source(at) == Source::InFlight);
    let told = Standing::most_constrained(spent).or_else(|| Standing::most_constrained(in_flight));
    if let Some(standing) = told {
        add_both(standing, standing.reset, fields);
    }
}

/// Adds the fields of a refused call: the limit that refused it, and the wait until it fits.
pub(super) fn add_refused(refusal: &Refusal, wait: Option<Span>, fields: &mut Fields) {
    add_both(&refusal.standing, wait.unwrap_or(refusal.standing.reset), fields);
}

fn add_both(standing: &Standing, until: Span, fields: &mut Fields) {
    let limit = &standing.limit;
    let counted = limit.counts.unit;
    let whole = |amount: Amount| counted.wholes(amount).min(LARGEST_INTEGER);
    let mut policy = quoted(&limit.name);
    push_parameter(&mut policy, "q", whole(limit.shape.max));
    if let Some(unit) = counted.quota_unit {
        policy.push_str(";qu=\"");
        policy.push_str(unit);
        policy.push('"');
    }
    let mut state = quoted(&limit.name);
    push_parameter(&mut state, "r", whole(standing.available));
    if counted.source != Source::InFlight {
        push_parameter(&mut policy, "w", limit.shape.window.as_secs_ceil().max(1));
        push_parameter(&mut state, "t", until.as_secs_ceil());
    }
    fields.push((POLICY, policy));
    fields.push((LIMIT, state));
}

/// Returns a name in quotes, with room for parameters.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len().saturating_add(64));
    text.push('"');
    text.push_str(name);
    text.push('"');
    text
}

fn push_parameter(text: &mut String, name: &str, value: u64) {
    text.push(';');
    text.push_str(name);
    text.push('=');
    push_decimal(text, value);
}

/// The largest integer of RFC 9651, section 3.3.1: 15 digits.
const LARGEST_INTEGER: u64 = 999_999_999_999_999;
