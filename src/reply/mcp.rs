//! JSON-RPC errors, in which servers of the Model Context Protocol speak.
//!
//! In: problems, and the messages of a refused body. Out: JSON text. Not here: HTTP statuses
//! (`super::tool_refused`).
//!
//! Source: JSON-RPC 2.0, sections 5.1 (an id that is not known is `null`) and 6 (batches);
//! modelcontextprotocol.io, specification 2026-07-28, "Overview", "Error codes": from -32000 to
//! -32099 no new codes may be used, and those of applications lie outside what JSON-RPC reserves.
//! There they are HTTP's here.

use serde_json::{Map, Value, json};

use super::dialect::{Words, no_fields};
use super::numbers::{rfc3339, window};
use super::problem::{Cause, Problem, shortened};
use super::x_ratelimit;
use crate::api::Messages;
use crate::limits::Refusal;
use crate::units::{Span, Timestamp};

pub(super) static WORDS: Words =
    Words { body, error_fields: no_fields, standing_fields: x_ratelimit::fields };

/// JSON-RPC's own code for a message that is not as it must be.
const INVALID_REQUEST: i32 = -32600;

/// So many calls of a batch are told all there is to tell, so that a refusal is not many times as
/// long as what it refuses.
const MOST_TOLD_ALL: usize = 100;

/// An error for a body of which the ids are not known.
fn body(problem: &Problem<'_>) -> String {
    let data = match problem.cause {
        Cause::OverBudget { refusal, wait } => data(refusal, wait).into(),
        Cause::UpstreamBusy { .. }
        | Cause::Unidentified
        | Cause::DuplicateMember(_)
        | Cause::Upgrade
        | Cause::Header => Value::Null,
    };
    answer("null", &error(code(problem.cause), &problem.message, data))
}

/// The answer to messages of which a call of `tool` is over budget; none if nothing has to be
/// answered.
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
        error(code, "Refused for the same reason as the calls of this tool before.", Value::Null);
    let kept_back = "Not carried out, though it is not over budget: another call of the same batch is.";
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

/// For programs: which limit it is, and when there is use in trying again.
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
        Cause::DuplicateMember(_) | Cause::Upgrade | Cause::Header => INVALID_REQUEST,
    }
}

fn error(code: i32, message: &str, data: Value) -> String {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(members), false) = (error.as_object_mut(), data.is_null()) {
        members.insert("data".to_owned(), data);
    }
    error.to_string()
}

/// An error as the answer to the message with this id, which is JSON.
fn answer(id: &str, error: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

#[cfg(test)]
#[path = "mcp_tests.rs"]
mod tests;
