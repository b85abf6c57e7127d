//! Cohere's error bodies.
//!
//! In: problems. Out: JSON text. Source: Cohere's API reference, "Errors". In recorded answers its
//! own budget headers only tell the calls left to a trial key, so replies carry `x-ratelimit-*`.

use serde_json::json;

use super::dialect::{Words, no_fields};
use super::problem::Problem;
use super::x_ratelimit;

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &x_ratelimit::FIELDS };

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "message": message }).to_string()
}
