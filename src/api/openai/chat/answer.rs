//! A chat completion or one chunk of it: usage, text, and whether it is the chunk that only tells usage.
//!
//! In: one JSON document. Out: [`Answer`]. A document that is not JSON, or not of this shape, gives an empty answer:
//! what an upstream sends is never a reason to fail.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Answer;
use crate::api::openai::usage::UsageMember;

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(json) else { return Answer::default() };
    let choices = chunk.choices.as_deref();
    let mut answer = Answer {
        text: choices.unwrap_or_default().iter().flat_map(Choice::texts).collect(),
        ..Answer::default()
    };
    answer.tell(chunk.usage, UsageMember::told);
    // Azure sends a first chunk without choices too, but that one has no usage.
    answer.only_usage = !answer.told.is_nothing() && choices.is_some_and(<[Choice<'_>]>::is_empty);
    answer
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Written<'a>>,
    #[serde(borrow)]
    delta: Option<Written<'a>>,
}

impl<'a> Choice<'a> {
    fn texts(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a, '_> {
        [&self.message, &self.delta].into_iter().flatten().flat_map(Written::texts)
    }
}

/// What the model wrote. `obfuscation`, which only pads the chunk, is left out on purpose.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Called<'a>>,
}

impl<'a> Written<'a> {
    fn texts(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a, '_> {
        // Servers that send both names of the reasoning send the same text twice.
        let reasoning = self.reasoning_content.as_ref().or(self.reasoning.as_ref());
        let calls = self.tool_calls.iter().flatten().filter_map(|call| call.function.as_ref());
        let called =
            calls.chain(&self.function_call).flat_map(|call| [&call.name, &call.arguments]).flatten();
        [self.content.as_ref(), reasoning, self.refusal.as_ref()].into_iter().flatten().chain(called).cloned()
    }
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<Called<'a>>,
}

#[derive(Deserialize)]
struct Called<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Told, Usage};

    fn usage(answer: &Answer<'_>) -> Option<(u64, u64)> {
        let usage = answer.told.or(Usage::default());
        (!answer.told.is_nothing()).then(|| (usage.all_input(), usage.all_output()))
    }

    #[test]
    fn a_whole_answer_gives_usage_in_separate_classes_and_its_text() {
        let json = br#"{"id":"c","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":4}}}"#;
        let answer = read(json);
        let told = Told {
            input: Some(11),
            cached_input: Some(8),
            cache_write: Some(0),
            audio_input: Some(0),
            output: Some(6),
            reasoning: Some(4),
            audio_output: Some(0),
            ..Told::default()
        };
        assert_eq!(answer.told, told);
        assert_eq!(usage(&answer), Some((19, 10)));
        assert_eq!(answer.text, ["Hi"]);
        assert!(!answer.only_usage);
    }

    #[test]
    fn only_the_chunk_that_include_usage_adds_carries_usage_and_nothing_else() {
        let extra = br#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;
        let azure_first = br#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}"#;
        let continuous =
            br#"{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
        assert!(read(extra).only_usage);
        assert!(!read(azure_first).only_usage);
        assert!(!read(continuous).only_usage);
        assert_eq!(read(continuous).told.output, Some(1));
    }

    #[test]
    fn all_that_the_model_writes_is_text() {
        let json = br#"{"choices":[{"delta":{"content":"a","reasoning_content":"b","reasoning":"b","refusal":"c",
            "tool_calls":[{"index":0,"function":{"name":"d","arguments":"e"}}],"obfuscation":"zzzz"}},{"message":{"content":"f"}}]}"#;
        assert_eq!(read(json).text.concat(), "abcdef");
    }

    #[test]
    fn odd_usage_is_told_from_no_usage() {
        let usage = |told: &str| {
            let json = format!("{{\"choices\":[],\"usage\":{told}}}");
            let answer = read(json.as_bytes());
            (usage(&answer), answer.unreadable)
        };
        assert_eq!(usage("null"), (None, false));
        assert_eq!(usage(r#"{"prompt_tokens":"7","completion_tokens":2.5}"#), (Some((7, 3)), false));
        assert_eq!(usage(r#"{"prompt_tokens":5,"total_tokens":5}"#), (Some((5, 0)), false));
        assert_eq!(
            usage(
                r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":50}}"#
            ),
            (Some((5, 1)), false)
        );
        for odd in
            [r#"{"prompt_tokens":-1,"completion_tokens":2}"#, "{}", "7", "[]", r#"{"prompt_tokens":{}}"#]
        {
            assert_eq!(usage(odd), (None, true), "{odd}");
        }
    }

    #[test]
    fn what_is_not_an_answer_says_nothing() {
        for json in
            ["", "[DONE]", "null", "{\"choices\":7}", "{\"error\":{\"message\":\"no\"}}", "{\"usage\":{"]
        {
            assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
        }
    }
}
