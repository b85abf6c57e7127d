//! Lower bounds on the output of a model in its own form.
//!
//! In: a body, the model's id. Out: edits of that form's bound. Not here: the forms of other
//! formats, and choosing the bound.
//!
//! Source: Amazon Bedrock's user guide, "Inference request parameters and response fields for
//! foundation models".

use super::request::{BOUNDS, Form, NAMES};
use crate::api::bedrock::converse;
use crate::api::bound::{Bound, allowed};
use crate::api::outline::{Members, Outline};
use crate::api::{Bounded, Unbounded, anthropic, openai};

const TITAN: &str = "textGenerationConfig";
const TITAN_BOUND: Bound = Bound::named(&["maxTokenCount"]);

/// The names of models' bounds, by a part of the model id. Embedding models have none.
const FAMILIES: [(&str, &str); 9] = [
    ("meta.llama", "max_gen_len"),
    ("anthropic.claude", "max_tokens_to_sample"),
    ("ai21.j2", "maxTokens"),
    ("mistral.", "max_tokens"),
    ("cohere.command", "max_tokens"),
    ("deepseek.", "max_tokens"),
    ("qwen.", "max_tokens"),
    ("writer.", "max_tokens"),
    ("amazon.titan-t", TITAN),
];

/// Returns the edits that bound the output of each answer.
///
/// # Errors
/// [`Unbounded`] if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, model: Option<&str>, each: u64) -> Bounded {
    let members = outline.members(&NAMES)?;
    match Form::of(outline) {
        Form::Messages => anthropic::output_bound::with_max_output(outline, model, each),
        Form::Converse => converse::output_bound::with_max_output(outline, model, each),
        Form::Chat => openai::chat::with_max_output(outline, model, each),
        Form::Plain => allowed(plain(&members, model.unwrap_or_default(), each)?, each, 1, None),
    }
}

/// Bounds the output among plain members: by every name that is present, or else by the model's
/// name for it.
fn plain(object: &Members<'_>, model: &str, each: u64) -> Bounded {
    let beside = Bound::named(&BOUNDS).lowered_if_set(object, each);
    let titan = object.inside(TITAN, TITAN_BOUND.names)?;
    let deeper = titan.and_then(|config| TITAN_BOUND.lowered_if_set(&config, each));
    if beside.is_some() || deeper.is_some() {
        return Ok([beside, deeper].into_iter().flatten().flatten().collect());
    }
    if object.raw(TITAN).is_some() {
        return TITAN_BOUND.lowered_in(object, TITAN, "maxTokenCount", each);
    }
    let is_there = BOUNDS.into_iter().find(|name| object.has(name));
    let of_family = || FAMILIES.iter().find(|(family, _)| model.contains(family)).map(|(_, bound)| *bound);
    // Only Cohere's requests have a member of this name.
    let of_cohere = || object.raw("message").map(|_| "max_tokens");
    match is_there.or_else(of_family).or_else(of_cohere) {
        Some(TITAN) => TITAN_BOUND.lowered_in(object, TITAN, "maxTokenCount", each),
        Some(bound) => Ok(vec![object.set(bound, &each.to_string())]),
        None => Err(Unbounded::Unknown),
    }
}

#[cfg(test)]
#[path = "output_bound_tests.rs"]
mod tests;
