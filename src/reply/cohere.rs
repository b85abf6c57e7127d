//! Cohere's error bodies.
//!
//! In: problems. Out: JSON text. Source: Cohere's API reference, "Errors". Its own budget headers,
//! in recorded answers, tell only of the calls that a trial key has left, so `x-ratelimit-*` are
//! told.

use serde_json::json;

use super::dialect::{Words, no_fields};
use super::problem::Problem;
use super::x_ratelimit;

pub(super) static WORDS: Words =
    Words { body, error_fields: no_fields, standing_fields: x_ratelimit::fields };

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "message": message }).to_string()
}
