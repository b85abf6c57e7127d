//! Lower bounds on the output of a chat.
//!
//! In: a body, the model. Out: edits of `max_completion_tokens`, its older name and llama.cpp's
//! `n_predict`. Not here: choosing the bound.
//!
//! Source: OpenAI's API reference, "Create chat completion": `max_tokens` is deprecated, and
//! reasoning models refuse it. Other servers know only that one, or both (Mistral's API reference,
//! "Chat"; vLLM's and Ollama's pages on OpenAI compatibility). Thinking budgets, which must be
//! below the bound: Anthropic's "OpenAI SDK compatibility" (`thinking`), OpenRouter's "Reasoning
//! Tokens" (`reasoning.max_tokens`).

use crate::api::Bounded;
use crate::api::bound::{allowed, thinking};
use crate::api::openai::n_predict::{self, N_PREDICT};
use crate::api::outline::Outline;
use crate::api::raw::string;

const NAMES: [&str; 6] = ["model", NEWER, OLDER, N_PREDICT, "thinking", "reasoning"];
const NEWER: &str = "max_completion_tokens";
const OLDER: &str = "max_tokens";

/// Returns the edits that bound the output of each choice.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(in crate::api) fn with_max_output(outline: &Outline<'_>, model: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&NAMES)?;
    let in_body = object.raw("model").and_then(string);
    let absent = if needs_newer(model.or(in_body.as_deref()).unwrap_or_default()) { NEWER } else { OLDER };
    let edits = n_predict::lowered(&object, &[NEWER, OLDER], absent, each);
    let budgets =
        [thinking(object.raw("thinking"), "budget_tokens"), thinking(object.raw("reasoning"), OLDER)];
    allowed(edits, each, 1, budgets.into_iter().flatten().max())
}

/// Returns whether an OpenAI model knows only the newer name: the o series, GPT-5 and later.
/// Earlier models take both, and earlier versions of Azure's API know only the older name. Amazon
/// uses the newer name for gpt-oss ("OpenAI models").
fn needs_newer(model: &str) -> bool {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let is_reasoning = |series: &str| {
        series.strip_prefix('o').is_some_and(|version| version.starts_with(|of: char| of.is_ascii_digit()))
    };
    let version = model.strip_prefix("chatgpt-").or_else(|| model.strip_prefix("gpt-"));
    let takes_both = |version: &str| ["3", "4", "oss"].iter().any(|known| version.starts_with(known));
    is_reasoning(model)
        || version.is_some_and(|version| !takes_both(version))
        || model.contains("openai.gpt-oss")
}

#[cfg(test)]
#[path = "output_bound_tests.rs"]
mod tests;
