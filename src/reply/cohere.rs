//! Cohere's error bodies.
//!
//! In: problems. Out: JSON text. Source: Cohere's API reference, "Errors". Its own budget headers, in recorded answers, tell only of
//! the calls that a trial key has left, so `x-ratelimit-*` are told.

use serde_json::json;

use super::dialect::{Words, no_fields};
use super::problem::Problem;
use super::x_ratelimit;

pub(super) static WORDS: Words = Words {
    body,
    error_fields: no_fields,
    standing_fields: x_ratelimit::fields,
    standing_names: &[x_ratelimit::NAMES[0], x_ratelimit::NAMES[1], &TRIAL],
};

const TRIAL: [&str; 3] =
    ["x-endpoint-monthly-call-limit", "x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining"];

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "message": message }).to_string()
}
