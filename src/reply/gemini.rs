//! Google's error bodies, for the Gemini API and Vertex AI.
//!
//! In: problems. Out: JSON text. Source: Google's API design guide "Errors" (AIP-193),
//! `google/rpc/code.proto` and `error_details.proto`, and recorded answers of the Gemini API;
//! durations as in ProtoJSON. Google has no budget headers of its own, so replies carry
//! `x-ratelimit-*`.

use serde_json::{Value, json};

use super::dialect::{Words, no_fields};
use super::numbers::{amount, window};
use super::problem::{Cause, Problem};
use super::x_ratelimit;
use crate::limits::Limit;
use crate::units::Span;

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &x_ratelimit::FIELDS };

fn body(Problem { message, cause }: &Problem<'_>) -> String {
    let code = cause.status();
    let error = match cause {
        Cause::OverBudget { refusal, wait } => {
            let failed = quota_failure(&refusal.standing.limit);
            let details: Vec<_> = [failed].into_iter().chain(wait.map(retry_info)).collect();
            json!({ "code": code, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details })
        }
        Cause::UpstreamBusy { wait } => {
            let details = [retry_info(*wait)];
            json!({ "code": code, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details })
        }
        Cause::Unidentified => json!({ "code": code, "message": message, "status": "UNAUTHENTICATED" }),
        Cause::DuplicateMember(_) | Cause::Header => {
            json!({ "code": code, "message": message, "status": "INVALID_ARGUMENT" })
        }
        Cause::Unrecognised => json!({ "code": code, "message": message, "status": "NOT_FOUND" }),
        Cause::Upgrade => json!({ "code": code, "message": message, "status": "FAILED_PRECONDITION" }),
    };
    json!({ "error": error }).to_string()
}

/// Returns the violated limit. It omits `quotaValue`, an integer, which cannot hold dollars.
fn quota_failure(limit: &Limit) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": limit.counts.name,
            "quotaId": &*limit.name,
            "description": format!("{} per {}", amount(limit.counts.unit, limit.shape.max), window(limit.shape.window)),
        }],
    })
}

fn retry_info(wait: Span) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.RetryInfo",
        "retryDelay": proto_duration(wait),
    })
}

/// Formats a duration in ProtoJSON: seconds with no or three decimals, rounded up to milliseconds.
fn proto_duration(span: Span) -> String {
    let millis = span.as_millis_ceil();
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    if millis == 0 { format!("{seconds}s") } else { format!("{seconds}.{millis:03}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_no_or_three_digits_behind_the_point() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "0.001s"),
            (1_400_000_000, "1.400s"),
            (2_516_000_000, "2.516s"),
            (34_000_000_000, "34s"),
            (u64::MAX, "18446744073.710s"),
        ] {
            assert_eq!(proto_duration(Span(nanos)), text);
        }
    }
}
