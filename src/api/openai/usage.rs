//! `usage` as OpenAI's older APIs word it, and most servers that imitate them: cached, reasoning and sound are parts of two totals.
//!
//! In: JSON. Out: [`Told`]. Source: OpenAI's API reference, "The chat completion object", `usage`.

use serde::Deserialize;

use crate::api::Told;
use crate::api::number::{Whole, parts};

/// The member `usage`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageMember {
    prompt_tokens: Whole,
    completion_tokens: Whole,
    total_tokens: Whole,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Whole,
    cache_write_tokens: Whole,
    audio_tokens: Whole,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Whole,
    audio_tokens: Whole,
}

impl UsageMember {
    /// None if neither total is told, or one of the two is nonsense.
    pub(super) fn told(self) -> Option<Told> {
        if [self.prompt_tokens, self.completion_tokens].contains(&Whole::Nonsense) {
            return None;
        }
        let (prompt, completion) = (self.prompt_tokens.count(), self.completion_tokens.count());
        prompt.or(completion)?;
        let rest = |told: Option<u64>| Some(self.total_tokens.count()?.saturating_sub(told?));
        let mut told = Told::default();
        // Embedding-like answers tell the prompt and the total only.
        if let Some(prompt) = prompt.or_else(|| rest(completion)) {
            let details = self.prompt_tokens_details.unwrap_or_default();
            let [cached, written, sound, other] =
                parts(prompt, [details.cached_tokens, details.cache_write_tokens, details.audio_tokens]);
            told =
                Told { input: other, cached_input: cached, cache_write: written, audio_input: sound, ..told };
        }
        if let Some(completion) = completion.or_else(|| rest(prompt)) {
            let details = self.completion_tokens_details.unwrap_or_default();
            let [reasoning, sound, other] =
                parts(completion, [details.reasoning_tokens, details.audio_tokens]);
            told = Told { output: other, reasoning, audio_output: sound, ..told };
        }
        Some(told)
    }
}
