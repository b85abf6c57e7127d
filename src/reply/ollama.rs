//! Ollama's error bodies.
//!
//! In: problems. Out: JSON text. Source: Ollama's page "Errors". Ollama has no budget headers of
//! its own, so replies carry `x-ratelimit-*`.

use serde_json::json;

use super::dialect::{Words, no_fields};
use super::problem::Problem;
use super::x_ratelimit;

pub(super) static WORDS: Words = Words { body, error_fields: no_fields, own: &x_ratelimit::FIELDS };

fn body(Problem { message, .. }: &Problem<'_>) -> String {
    json!({ "error": message }).to_string()
}
