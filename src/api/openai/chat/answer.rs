//! A completion or one chunk of it, of chat or of the older API: usage, text, tool calls, and
//! whether it is the chunk that only reports usage.
//!
//! In: one JSON document. Out: [`Answer`]. Not here: requests. A document that is not JSON, or not
//! of this shape, gives an empty answer: malformed output of an upstream never causes a failure.
//!
//! Source: OpenAI's API reference, "The chat completion chunk object" and "The completion object".
//! `reasoning_content` is DeepSeek's and vLLM's, `reasoning` OpenRouter's; lists of thinking and
//! text are Mistral's ("Reasoning"); Groq reports the usage of a stream by default in the last
//! chunk's `x_groq` (Groq's API reference, "Chat").

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::{Called, ToolCall};
use crate::api::openai::usage::UsageMember;
use crate::api::raw::Text;
use crate::api::{Answer, answer};

/// The members that [`read`] uses.
pub(in crate::api::openai) const ANSWER_MEMBERS: [&str; 2] = ["choices", "usage"];

/// Reads one document.
pub(in crate::api::openai) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(json) else { return Answer::default() };
    let mut answer = Answer::default();
    // A choice of an unknown shape must not hide the usage.
    let choices: Option<Vec<Choice<'_>>> =
        chunk.choices.and_then(|choices| serde_json::from_str(choices.get()).ok());
    let is_empty = choices.as_ref().is_some_and(Vec::is_empty);
    for (Choice { index, text, message, delta }, place) in choices.into_iter().flatten().zip(0..) {
        answer.text.extend(text.map(|Text(text)| text));
        let choice = index.and_then(|index| index.get().parse().ok()).unwrap_or(place);
        for written in [message, delta].into_iter().flatten() {
            answer.tools.extend(written.calls(choice));
            written.push_to(&mut answer.text);
        }
    }
    answer.tell(chunk.x_groq.and_then(|groq| groq.usage), UsageMember::told);
    answer.tell(chunk.usage, UsageMember::told);
    // Azure sends a first chunk without choices; it has no usage.
    answer.only_usage = !answer.told.is_nothing() && is_empty;
    answer
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    x_groq: Option<Groq<'a>>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Written<'a>>,
    #[serde(borrow)]
    delta: Option<Written<'a>>,
    /// The text of the older API.
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// The model's output. It omits `obfuscation` deliberately, because that only pads the chunk.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Called<'a>>,
}

impl<'a> Written<'a> {
    /// Returns its tool calls. In the older form, a choice has at most one function call.
    fn calls(&self, choice: u64) -> Vec<answer::Called<'a>> {
        let calls = self.tool_calls.iter().flatten().filter_map(|call| call.named(choice));
        let older = self.function_call.as_ref().map(Called::name);
        let older = older.map(|name| answer::Called { name, id: None, index: Some(u64::MAX), choice });
        calls.chain(older).collect()
    }

    fn push_to(self, texts: &mut Vec<Cow<'a, str>>) {
        push_content(self.content, texts);
        // Servers that send both names for reasoning send the same text twice.
        let reasoning = self.reasoning_content.or(self.reasoning);
        let calls = self.tool_calls.into_iter().flatten().filter_map(ToolCall::called);
        let called = calls.chain(self.function_call).flat_map(Called::texts);
        let written = [reasoning, self.refusal].into_iter().flatten().chain(called);
        texts.extend(written.map(|Text(text)| text));
    }
}

/// Adds text, or the text of a list of parts, which can contain such lists. Ignores other values.
fn push_content<'a>(content: Option<&'a RawValue>, texts: &mut Vec<Cow<'a, str>>) {
    let Some(content) = content.map(RawValue::get) else { return };
    if let Ok(Text(text)) = serde_json::from_str(content) {
        texts.push(text);
        return;
    }
    for part in serde_json::from_str::<Vec<Part<'_>>>(content).unwrap_or_default() {
        texts.extend(part.text.map(|Text(text)| text));
        push_content(part.thinking, texts);
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::answer::called::in_documents;
    use crate::api::{ReportedUsage, Usage};

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
        let told = ReportedUsage {
            input: Some(11),
            cached_input: Some(8),
            cache_write: Some(0),
            audio_input: Some(0),
            cached_audio_input: Some(0),
            output: Some(6),
            reasoning: Some(4),
            audio_output: Some(0),
            ..ReportedUsage::default()
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
        let completion =
            br#"{"object":"text_completion","choices":[{"text":"a","index":0},{"text":"b","index":1}]}"#;
        assert_eq!(read(completion).text.concat(), "ab");
        let custom = br#"{"choices":[{"message":{"tool_calls":[{"type":"custom","custom":{"name":"a","input":"b"}}]}}]}"#;
        assert_eq!(read(custom).text.concat(), "ab");
        let magistral =
            br#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},
            {"type":"text","text":"b"}]}}]}"#;
        assert_eq!(read(magistral).text.concat(), "ab");
    }

    #[test]
    fn choices_of_an_odd_shape_do_not_cost_us_the_usage() {
        let json = br#"{"choices":{"0":7},"usage":{"prompt_tokens":9,"completion_tokens":1}}"#;
        assert_eq!(usage(&read(json)), Some((9, 1)));
    }

    /// Returns the tool calls in chunks with these choices.
    fn called(choices: &[&str]) -> Vec<(String, u64)> {
        let chunks: Vec<_> = choices.iter().map(|choice| format!("{{\"choices\":[{choice}]}}")).collect();
        let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
        in_documents(&crate::api::openai::chat::FORMAT, &chunks)
    }

    #[test]
    fn a_streamed_call_counts_once_though_its_pieces_name_it_again() {
        let pieces = [
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"mail","arguments":""}}]}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"","arguments":"{}"}}]}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":null,"function":{"name":"mail","arguments":"{}"}}]}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"mail","arguments":"{}"}}]}}"#,
        ];
        assert_eq!(called(&pieces), [("mail".to_owned(), 1)]);
    }

    #[test]
    fn calls_of_other_ids_indexes_and_choices_are_other_calls() {
        let pieces = [
            r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"mail"}},{"index":0,"id":"b","function":{"name":"mail"}}]}}"#,
            r#"{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"name":"mail"}},{"index":2,"type":"custom","custom":{"name":"sql"}}]}}"#,
            r#"{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"name":"mail"}}]}}"#,
            r#"{"index":1,"delta":{"function_call":{"name":"older","arguments":""}}}"#,
            r#"{"index":1,"delta":{"function_call":{"arguments":"{}"}}}"#,
        ];
        let expected = [("mail", 4), ("older", 1), ("sql", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(called(&pieces), expected);
    }

    #[test]
    fn a_whole_message_names_each_of_its_calls() {
        let whole = r#"{"index":0,"message":{"tool_calls":[{"id":"a","type":"function","function":{"name":"mail","arguments":"{}"}},
            {"id":"b","type":"function","function":{"name":"mail","arguments":"{}"}},{"function":{"name":"pay"}},{"function":{"name":"pay"}}]}}"#;
        assert_eq!(called(&[whole]), [("mail".to_owned(), 2), ("pay".to_owned(), 2)]);
    }

    #[test]
    fn groq_tells_usage_in_a_member_of_its_own() {
        let json = br#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],
            "x_groq":{"id":"req_01","usage":{"queue_time":0.02,"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}}"#;
        assert_eq!(usage(&read(json)), Some((9, 3)));
        assert!(!read(json).only_usage);
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
