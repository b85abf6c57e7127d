//! Amazon Bedrock's error bodies and headers.
//!
//! In: problems. Out: JSON text and header fields. Source: the AWS restJson1 protocol (a client
//! identifies errors by `x-amzn-errortype`), the errors that Bedrock's runtime API declares, and
//! the AWS SDKs' retry rules. Bedrock has no budget headers of its own, so replies carry
//! `x-ratelimit-*`.

use serde_json::json;

use super::dialect::Words;
use super::problem::{Cause, Problem};
use super::{Fields, is_worth_retrying, x_ratelimit};

pub(super) static WORDS: Words = Words { body, error_fields, own: &x_ratelimit::FIELDS };

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "message": message }).to_string()
}

fn error_fields(Problem { cause, .. }: &Problem<'_>) -> Fields {
    let mut fields = vec![("x-amzn-errortype", error_type(*cause).to_owned())];
    if let Cause::OverBudget { wait: Some(wait), .. } | Cause::UpstreamBusy { wait } = cause
        && is_worth_retrying(*wait)
    {
        // In milliseconds. Few AWS SDKs read `retry-after`, and some of those that read this one
        // sleep through it however long it is.
        fields.push(("x-amz-retry-after", wait.as_millis_ceil().max(1).to_string()));
    }
    fields
}

/// Returns an error that Bedrock declares, so that SDKs raise it by its name.
const fn error_type(cause: Cause<'_>) -> &'static str {
    match cause {
        Cause::OverBudget { wait: Some(_), .. } | Cause::UpstreamBusy { .. } => "ThrottlingException",
        // SDKs retry a throttled call. By this name most of them give up at once, as they should
        // with a call that never fits.
        Cause::OverBudget { wait: None, .. } => "ServiceQuotaExceededException",
        // `UnrecognizedClientException` would mean bad AWS credentials, which may be fine, and
        // makes some SDKs fetch new ones.
        Cause::Unidentified => "AccessDeniedException",
        Cause::Unrecognised => "ResourceNotFoundException",
        Cause::DuplicateMember(_) | Cause::Upgrade | Cause::Header => "ValidationException",
    }
}
