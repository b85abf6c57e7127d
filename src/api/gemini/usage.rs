//! `usageMetadata`: totals by side, which include cached input and audio; thoughts are separate
//! from the output.
//!
//! In: JSON. Out: [`ReportedUsage`]. Not here: text.
//!
//! Source: Google's "Gemini API reference", "UsageMetadata": the prompt's total includes cached
//! content, and the overall total is prompt, tool-use prompt, candidates and thoughts. The API
//! omits zeros, and Vertex AI sends chunks that report only their `trafficType`: an absent number
//! is unreported.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::ReportedUsage;
use crate::api::number::{Whole, parts};

/// The member `usageMetadata`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageMetadata<'a> {
    prompt_token_count: Whole,
    cached_content_token_count: Whole,
    tool_use_prompt_token_count: Whole,
    /// The Live API has another name for it.
    #[serde(alias = "responseTokenCount")]
    candidates_token_count: Whole,
    thoughts_token_count: Whole,
    total_token_count: Whole,
    #[serde(borrow)]
    prompt_tokens_details: Option<Vec<ModalityTokens<'a>>>,
    #[serde(borrow)]
    cache_tokens_details: Option<Vec<ModalityTokens<'a>>>,
    #[serde(borrow)]
    tool_use_prompt_tokens_details: Option<Vec<ModalityTokens<'a>>>,
    #[serde(borrow, alias = "responseTokensDetails")]
    candidates_tokens_details: Option<Vec<ModalityTokens<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ModalityTokens<'a> {
    #[serde(borrow)]
    modality: Option<&'a RawValue>,
    token_count: Whole,
}

impl UsageMetadata<'_> {
    /// Returns the usage; none if a total is nonsense. `unanswered` says that the prompt was
    /// refused, so that missing output means zero.
    pub(super) fn told(self, unanswered: bool) -> Option<ReportedUsage> {
        let totals = [
            self.prompt_token_count,
            self.tool_use_prompt_token_count,
            self.candidates_token_count,
            self.thoughts_token_count,
        ];
        if totals.contains(&Whole::Invalid) {
            return None;
        }
        let [prompt, tool_use, candidates, thoughts] = totals.map(Whole::count);
        let rest = |told: [Option<u64>; 3]| {
            let told = told.into_iter().flatten().fold(0, u64::saturating_add);
            Some(self.total_token_count.count()?.saturating_sub(told))
        };
        let mut told = ReportedUsage { reasoning: thoughts, ..ReportedUsage::default() };
        let missing_prompt = || rest([tool_use, candidates, thoughts]).filter(|_| candidates.is_some());
        if let Some(prompt) = prompt.or_else(missing_prompt) {
            let input = prompt.saturating_add(tool_use.unwrap_or(0));
            let heard = sound(self.prompt_tokens_details)
                .saturating_add(sound(self.tool_use_prompt_tokens_details))
                .saturating_sub(sound(self.cache_tokens_details));
            let [cached, heard, other] = parts(input, [self.cached_content_token_count, Whole::Count(heard)]);
            told = ReportedUsage { input: other, cached_input: cached, audio_input: heard, ..told };
        }
        // The first chunks of a stream report the prompt as the total, which does not mean zero
        // output.
        let missing_output =
            || rest([prompt, tool_use, thoughts]).filter(|rest| prompt.is_some() && *rest > 0);
        let unanswered = unanswered.then_some(0);
        if let Some(candidates) = candidates.or_else(missing_output).or(unanswered) {
            let [spoken, other] = parts(candidates, [Whole::Count(sound(self.candidates_tokens_details))]);
            told = ReportedUsage { output: other, audio_output: spoken, ..told };
        }
        Some(told)
    }
}

/// Returns the number of audio tokens among these.
fn sound(details: Option<Vec<ModalityTokens<'_>>>) -> u64 {
    let is_sound = |detail: &ModalityTokens<'_>| detail.modality.map(RawValue::get) == Some("\"AUDIO\"");
    let heard = details.into_iter().flatten().filter(is_sound);
    heard.filter_map(|detail| detail.token_count.count()).fold(0, u64::saturating_add)
}
