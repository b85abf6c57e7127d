//! JSON-RPC errors, as servers of the Model Context Protocol send them.
//!
//! In: problems, and the messages of a refused body. Out: JSON text. Not here: HTTP statuses
//! (`super::tool_refused`).
//!
//! Source: JSON-RPC 2.0, sections 5.1 (an unknown id is `null`) and 6 (batches);
//! modelcontextprotocol.io, specification 2026-07-28, "Overview", "Error codes": no new codes from
//! -32000 to -32099, and codes of applications outside the range that JSON-RPC reserves. Here those
//! are HTTP's.

use serde_json::{Map, Value, json};

use super::dialect::{Words, no_fields};
use super::numbers::{rfc3339, window};
use super::problem::{Cause, Problem, shortened};
use super::x_ratelimit;
use crate::api::Messages;
use crate::limits::Refusal;
use crate::units::{Span, Timestamp};

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &x_ratelimit::FIELDS };

/// JSON-RPC's code for an invalid message.
const INVALID_REQUEST: i32 = -32600;

/// The most calls of a batch that get the full error. It keeps a refusal from being many times as
/// long as the refused body.
const MOST_TOLD_ALL: usize = 100;

/// Returns an error for a body whose ids are not known.
fn body(problem: &Problem<'_>) -> String {
    let data = match problem.cause {
        Cause::OverBudget { refusal, wait } => data(refusal, wait).into(),
        Cause::UpstreamBusy { .. }
        | Cause::Unidentified
        | Cause::DuplicateMember(_)
        | Cause::Upgrade
        | Cause::Unrecognised
        | Cause::Header => Value::Null,
    };
    answer("null", &error(code(problem.cause), &problem.message, data))
}

/// Returns the answer to messages of which a call of `tool` is over budget; `None` if no message
/// needs an answer.
pub(super) fn tool_refused(
    messages: &Messages<'_>,
    refusal: &Refusal,
    tool: &str,
    wait: Option<Span>,
    now: Timestamp,
) -> Option<String> {
    let Problem { message, cause } = Problem::over_budget(refusal, tool, wait);
    let code = code(cause);
    let mut data = data(refusal, wait);
    data.insert("tool".to_owned(), shortened(tool).into());
    if let Some(wait) = wait {
        data.insert("reset_at".to_owned(), rfc3339(now + wait).into());
    }
    let refused = error(code, &message, data.into());
    let refused_too =
        error(code, "Refused for the same reason as the earlier calls of this tool.", Value::Null);
    let kept_back = "Not executed: another call of the same batch is over budget.";
    let kept_back = error(code, kept_back, Value::Null);

    let mut told_all = 0..MOST_TOLD_ALL;
    let answers = messages.list.iter().filter_map(|message| {
        let id = message.id.as_deref()?;
        let error = match &message.tool {
            Some(called) if called == tool && told_all.next().is_some() => &refused,
            Some(called) if called == tool => &refused_too,
            Some(_) | None => &kept_back,
        };
        Some(answer(id, error))
    });
    let answers: Vec<_> = answers.collect();
    match answers.as_slice() {
        [] => None,
        [answer] if !messages.is_batch => Some(answer.clone()),
        answers => Some(format!("[{}]", answers.join(","))),
    }
}

/// Returns data for programs: the limit, and when to try again.
fn data(refusal: &Refusal, wait: Option<Span>) -> Map<String, Value> {
    let limit = &refusal.standing.limit;
    let mut data = Map::new();
    data.insert("limit".to_owned(), (*limit.name).into());
    data.insert("max".to_owned(), limit.shape.max.0.into());
    data.insert("window".to_owned(), window(limit.shape.window).into());
    if let Some(wait) = wait {
        data.insert("retry_after_ms".to_owned(), wait.as_millis_ceil().max(1).into());
    }
    data
}

fn code(cause: Cause<'_>) -> i32 {
    match cause {
        Cause::OverBudget { .. } | Cause::UpstreamBusy { .. } | Cause::Unidentified => cause.status().into(),
        Cause::DuplicateMember(_) | Cause::Upgrade | Cause::Unrecognised | Cause::Header => INVALID_REQUEST,
    }
}

fn error(code: i32, message: &str, data: Value) -> String {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(members), false) = (error.as_object_mut(), data.is_null()) {
        members.insert("data".to_owned(), data);
    }
    error.to_string()
}

/// Formats an error as the answer to the message with this id, which is JSON.
fn answer(id: &str, error: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

#[cfg(test)]
#[path = "mcp_tests.rs"]
mod tests;
