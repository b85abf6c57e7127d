//! `usage` in the form of OpenAI's APIs and of most servers that imitate them: two totals, which
//! include cached input, reasoning and audio.
//!
//! In: JSON. Out: [`ReportedUsage`]. Not here: which documents have a usage (the formats).
//!
//! Source: OpenAI's API reference: `usage` of "The chat completion object" (`prompt_tokens`,
//! `completion_tokens`), of "The response object", "Create image" and "Create speech"
//! (`input_tokens`, `output_tokens`), of "Create transcription" (those, or `seconds`). The cache
//! hits of DeepSeek ("Context Caching") and of Moonshot ("Chat") stand beside the totals, and so do
//! the seconds of audio of Mistral ("Audio & Transcription"), which its `prompt_tokens` do not
//! contain.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::number::{Whole, parts};
use crate::api::{Answer, ReportedUsage};

/// The tokens of a second of audio, as OpenAI's models count it (Realtime guide, "Managing costs"),
/// so a price per minute is a price of 600 tokens.
pub(super) const AUDIO_TOKENS_PER_SECOND: u64 = 10;

/// The member `usage`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageMember {
    prompt_tokens: Whole,
    input_tokens: Whole,
    completion_tokens: Whole,
    output_tokens: Whole,
    total_tokens: Whole,
    prompt_tokens_details: Option<InputDetails>,
    input_tokens_details: Option<InputDetails>,
    input_token_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    output_tokens_details: Option<OutputDetails>,
    output_token_details: Option<OutputDetails>,
    prompt_cache_hit_tokens: Whole,
    cached_tokens: Whole,
    seconds: Whole,
    prompt_audio_seconds: Whole,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Whole,
    cache_write_tokens: Whole,
    audio_tokens: Whole,
    /// The kinds of cached tokens, in the Realtime API.
    cached_tokens_details: Option<CachedDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CachedDetails {
    audio_tokens: Whole,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Whole,
    audio_tokens: Whole,
}

impl UsageMember {
    /// Returns the reported usage; none if it has neither a total nor seconds of audio, or an
    /// invalid total.
    pub(super) fn told(self) -> Option<ReportedUsage> {
        let prompt = first([self.prompt_tokens, self.input_tokens]);
        let completion = first([self.completion_tokens, self.output_tokens]);
        if [prompt, completion].contains(&Whole::Invalid) {
            return None;
        }
        let (prompt, completion) = (prompt.count(), completion.count());
        let sound = first([self.prompt_audio_seconds, self.seconds]).count();
        let audio_ms = sound.map(|seconds| seconds.saturating_mul(1_000));
        let sound = sound.map(|seconds| seconds.saturating_mul(AUDIO_TOKENS_PER_SECOND));
        if prompt.or(completion).is_none() {
            // Audio billed by length alone has no billed output.
            return Some(ReportedUsage {
                audio_input: Some(sound?),
                audio_ms,
                output: Some(0),
                ..ReportedUsage::default()
            });
        }
        let rest = |told: Option<u64>| Some(self.total_tokens.count()?.saturating_sub(told?));
        let mut told = ReportedUsage { audio_ms, ..ReportedUsage::default() };
        // Answers like those of embeddings report only the prompt and the total.
        if let Some(prompt) = prompt.or_else(|| rest(completion)) {
            let details =
                self.prompt_tokens_details.or(self.input_tokens_details).or(self.input_token_details);
            let details = details.unwrap_or_default();
            let cached = first([details.cached_tokens, self.prompt_cache_hit_tokens, self.cached_tokens]);
            // The kinds of input include what is cached of them.
            let cached_sound = details.cached_tokens_details.and_then(|kinds| kinds.audio_tokens.count());
            let cached_sound = cached_sound.unwrap_or(0).min(cached.count().unwrap_or(0));
            let [cached, cached_sound, written, heard, other] = parts(
                prompt,
                [
                    cached.less(cached_sound),
                    Whole::Count(cached_sound),
                    details.cache_write_tokens,
                    details.audio_tokens.less(cached_sound),
                ],
            );
            let heard = heard.filter(|heard| *heard > 0).or(sound).or(heard);
            told = ReportedUsage {
                input: other,
                cached_input: cached,
                cache_write: written,
                audio_input: heard,
                cached_audio_input: cached_sound,
                ..told
            };
        }
        if let Some(completion) = completion.or_else(|| rest(prompt)) {
            let details =
                self.completion_tokens_details.or(self.output_tokens_details).or(self.output_token_details);
            let details = details.unwrap_or_default();
            let [reasoning, sound, other] =
                parts(completion, [details.reasoning_tokens, details.audio_tokens]);
            told = ReportedUsage { output: other, reasoning, audio_output: sound, ..told };
        }
        Some(told)
    }
}

/// Reads an answer, or one event of it, and uses only `usage`, converted by `told`.
pub(super) fn answer_with(json: &[u8], told: fn(UsageMember) -> Option<ReportedUsage>) -> Answer<'_> {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        usage: Option<&'a RawValue>,
    }
    let mut answer = Answer::default();
    if let Ok(document) = serde_json::from_slice::<Document<'_>>(json) {
        answer.tell(document.usage, told);
    }
    answer
}

/// Returns the first present count.
fn first<const N: usize>(told: [Whole; N]) -> Whole {
    told.into_iter().find(|told| *told != Whole::Absent).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Usage;

    fn told(usage: &str) -> Option<Usage> {
        let told = serde_json::from_str::<UsageMember>(usage).unwrap().told()?;
        Some(told.or(Usage { input: 999, output: 999, ..Usage::default() }))
    }

    #[test]
    fn all_wordings_give_the_same_classes() {
        let expected = Usage {
            input: 60,
            cached_input: 30,
            audio_input: 10,
            output: 15,
            reasoning: 5,
            ..Usage::default()
        };
        for usage in [
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":30,"audio_tokens":10},
                "completion_tokens_details":{"reasoning_tokens":5}}"#,
            r#"{"input_tokens":100,"output_tokens":20,"input_tokens_details":{"cached_tokens":30,"audio_tokens":10},
                "output_tokens_details":{"reasoning_tokens":5}}"#,
            r#"{"prompt_tokens":100,"input_tokens":100,"completion_tokens":20,"output_tokens":20,
                "prompt_tokens_details":{"cached_tokens":30,"audio_tokens":10},"output_tokens_details":{"reasoning_tokens":5}}"#,
            r#"{"type":"tokens","input_tokens":100,"output_tokens":20,"prompt_cache_hit_tokens":30,"prompt_cache_miss_tokens":70,
                "input_token_details":{"audio_tokens":10},"completion_tokens_details":{"reasoning_tokens":5}}"#,
            r#"{"prompt_tokens":100,"completion_tokens":20,"cached_tokens":30,"prompt_tokens_details":{"audio_tokens":10},
                "completion_tokens_details":{"reasoning_tokens":5}}"#,
        ] {
            assert_eq!(told(usage), Some(expected), "{usage}");
        }
    }

    #[test]
    fn seconds_of_sound_are_tokens_beside_those_of_text() {
        let length = told(r#"{"type":"duration","seconds":8.2}"#);
        assert_eq!(length, Some(Usage { audio_input: 90, audio_ms: 9_000, ..Usage::default() }));
        let voxtral = told(
            r#"{"prompt_audio_seconds":203,"prompt_tokens":4,"completion_tokens":635,"total_tokens":3264}"#,
        );
        assert_eq!(
            voxtral,
            Some(Usage { input: 4, audio_input: 2030, output: 635, audio_ms: 203_000, ..Usage::default() })
        );
    }

    #[test]
    fn nothing_that_can_be_believed_is_nothing_told() {
        for usage in
            ["{}", r#"{"input_tokens":-1,"output_tokens":2}"#, r#"{"seconds":-3}"#, r#"{"total_tokens":7}"#]
        {
            assert_eq!(told(usage), None, "{usage}");
        }
    }
}
