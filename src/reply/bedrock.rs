//! Amazon Bedrock's error bodies and headers.
//!
//! In: problems. Out: JSON text and header fields. Source: the AWS restJson1 protocol (a client
//! tells errors apart by `x-amzn-errortype`), the errors that Bedrock's runtime API declares, and
//! the AWS SDKs' retry rules. Bedrock has no budget headers of its own, so `x-ratelimit-*` are
//! told.

use serde_json::json;

use super::dialect::Words;
use super::problem::{Cause, Problem};
use super::{Fields, is_worth_retrying, x_ratelimit};

pub(super) static WORDS: Words = Words { body, error_fields, standing_fields: x_ratelimit::fields };

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "message": message }).to_string()
}

fn error_fields(Problem { cause, .. }: &Problem<'_>) -> Fields {
    let mut fields = vec![("x-amzn-errortype", error_type(*cause).to_owned())];
    if let Cause::OverBudget { wait: Some(wait), .. } | Cause::UpstreamBusy { wait } = cause
        && is_worth_retrying(*wait)
    {
        // Milliseconds. Few AWS SDKs look at `retry-after`; of those that look at this, some sleep
        // it through however long it is.
        fields.push(("x-amz-retry-after", wait.as_millis_ceil().max(1).to_string()));
    }
    fields
}

/// An error that Bedrock declares, so that SDKs raise it by its name.
const fn error_type(cause: Cause<'_>) -> &'static str {
    match cause {
        Cause::OverBudget { wait: Some(_), .. } | Cause::UpstreamBusy { .. } => "ThrottlingException",
        // SDKs retry what is throttled; what can never fit most of them give up at once by this
        // name.
        Cause::OverBudget { wait: None, .. } => "ServiceQuotaExceededException",
        // `UnrecognizedClientException` would tell of bad AWS credentials, which these need not be,
        // and makes some SDKs fetch new ones.
        Cause::Unidentified => "AccessDeniedException",
        Cause::DuplicateMember(_) | Cause::Upgrade | Cause::Header => "ValidationException",
    }
}
