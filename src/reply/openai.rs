//! OpenAI's error bodies, which many compatible APIs share.
//!
//! In: problems. Out: JSON text. Source: OpenAI's guides "Error codes" and "Rate limits", and
//! recorded answers, in which `error` always has all four members.

use serde_json::json;

use super::dialect::{Words, no_fields};
use super::problem::{Cause, Problem};
use super::x_ratelimit;

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &x_ratelimit::FIELDS };

fn body(Problem { message, cause }: &Problem<'_>) -> String {
    let (kind, code, param) = match cause {
        Cause::OverBudget { refusal, .. } => {
            (refusal.standing.limit.counts.unit.openai_type, "rate_limit_exceeded", None)
        }
        Cause::UpstreamBusy { .. } => ("upstream", "rate_limit_exceeded", None),
        Cause::Unidentified => ("authentication_error", "missing_identity", None),
        Cause::DuplicateMember(member) => ("invalid_request_error", "duplicate_member", Some(member)),
        Cause::Upgrade => ("invalid_request_error", "upgrade_not_allowed", None),
        Cause::Unrecognised => ("invalid_request_error", "unknown_url", None),
        Cause::Header => ("invalid_request_error", "invalid_header", None),
    };
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } }).to_string()
}
