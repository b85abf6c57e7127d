//! Token counts of a response, and their encoding in its id.
//!
//! In: a request and the items of its answer. Out: [`Counts`]. The input is converted to a chat and
//! counted by the cookbook's rule; files and items of built-in tools count nothing. Not here: the
//! items themselves (`mod.rs`).

use serde_json::{Value, json};

use super::{Item, arguments};
use crate::mock_llm::tokens::Counter;

/// Tokens of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) input: usize,
    /// Includes reasoning.
    pub(super) output: usize,
    pub(super) reasoning: usize,
}

impl Counts {
    /// Counts a request, the history that it continues, and its answer.
    pub(super) fn of(request: &Value, items: &[Item]) -> Self {
        let counter = Counter::for_model(request["model"].as_str().unwrap_or_default());
        let history = request["previous_response_id"]
            .as_str()
            .and_then(Self::from_id)
            .map_or(0, |(before, _)| before.input + before.output - before.reasoning);
        let mut counts = Self { input: counter.chat(&as_chat(request)) + history, ..Self::default() };
        for item in items {
            counts.output += match item {
                Item::Reasoning(summary) => {
                    counts.reasoning = counter.text(summary);
                    counts.reasoning
                }
                Item::Message(text) => counter.text(&text.whole()),
                Item::Call { name, text } => counter.text(name) + counter.text(&arguments(text)),
            };
        }
        counts
    }

    /// Returns the counts as the API's usage.
    pub(super) fn usage(self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
            "output_tokens": self.output,
            "output_tokens_details": { "reasoning_tokens": self.reasoning },
            "total_tokens": self.input + self.output,
        })
    }

    /// Encodes these counts and `model` in the id of a response.
    pub(super) fn id(self, model: &str) -> String {
        let model: String = model.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("resp_{}_{}_{}_{model}", self.input, self.output, self.reasoning)
    }

    /// Decodes the counts and the model from the id of a response. Ignores a number after them.
    pub(super) fn from_id(id: &str) -> Option<(Self, String)> {
        let mut parts = id.strip_prefix("resp_")?.splitn(5, '_');
        let mut count = || parts.next()?.parse().ok().filter(|count| *count <= MANY);
        let counts = Self { input: count()?, output: count()?, reasoning: count()? };
        if counts.reasoning > counts.output {
            return None;
        }
        let bytes: Option<Vec<_>> = parts
            .next()?
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        Some((counts, String::from_utf8(bytes?).ok()?))
    }
}

/// More than any model takes. Ids with larger counts do not come from the mock.
const MANY: usize = 10_000_000;

/// Converts a request to a chat.
pub(super) fn as_chat(request: &Value) -> Value {
    let instructions = request["instructions"].as_str();
    let system = instructions.map(|text| json!({ "role": "system", "content": text }));
    let messages: Vec<_> = match &request["input"] {
        Value::String(text) => vec![json!({ "role": "user", "content": text })],
        Value::Array(items) => items.iter().filter_map(as_message).collect(),
        _ => Vec::new(),
    };
    let tools: Vec<_> = request["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|tool| tool["type"] == "function")
        .map(|function| json!({ "function": function }))
        .collect();
    json!({ "messages": system.into_iter().chain(messages).collect::<Vec<_>>(), "tools": tools })
}

fn as_message(item: &Value) -> Option<Value> {
    match item["type"].as_str() {
        // A message may lack its type.
        Some("message") | None => {
            let content = match item["content"].as_array() {
                Some(parts) => parts.iter().filter_map(as_part).collect::<Vec<_>>().into(),
                None => item["content"].clone(),
            };
            Some(json!({ "role": item["role"], "content": content }))
        }
        Some("function_call") => {
            let function = json!({ "name": item["name"], "arguments": item["arguments"] });
            Some(json!({ "role": "assistant", "tool_calls": [{ "function": function }] }))
        }
        Some("function_call_output") => Some(json!({ "role": "tool", "content": item["output"] })),
        Some(_) => None,
    }
}

fn as_part(part: &Value) -> Option<Value> {
    match part["type"].as_str()? {
        "input_text" | "output_text" => Some(json!({ "type": "text", "text": part["text"] })),
        "input_image" => Some(json!({ "type": "image_url", "image_url": { "detail": part["detail"] } })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_the_counts_and_the_model() {
        let counts = Counts { input: 9, output: 20, reasoning: 5 };
        let id = counts.id("openai/gpt-4o");
        assert_eq!(Counts::from_id(&id), Some((counts, "openai/gpt-4o".to_owned())));
    }

    #[test]
    fn an_id_that_is_none_of_the_mocks_tells_nothing() {
        for id in ["resp_68a1", "resp_1_2_3_zz", "resp_1_2_3_é", "resp_1_2_9_61", "resp_1_2_-1_61", ""] {
            assert_eq!(Counts::from_id(id), None, "{id}");
        }
    }

    #[test]
    fn a_request_counts_as_the_chat_that_it_amounts_to() {
        let tool = json!({ "type": "function", "name": "look", "description": "Look it up." });
        let request = json!({
            "instructions": "Be brief.",
            "input": [
                { "role": "user", "content": [{ "type": "input_text", "text": "Hello there" }] },
                { "type": "function_call", "name": "look", "arguments": "{}", "call_id": "1" },
                { "type": "function_call_output", "output": "found", "call_id": "1" },
            ],
            "tools": [tool],
        });
        let chat = json!({
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "Hello there" },
                { "role": "assistant", "tool_calls": [{ "function": { "name": "look", "arguments": "{}" } }] },
                { "role": "tool", "content": "found" },
            ],
            "tools": [{ "type": "function", "function": { "name": "look", "description": "Look it up." } }],
        });
        let counter = Counter::for_model("gpt-4o");
        assert_eq!(counter.chat(&as_chat(&request)), counter.chat(&chat));
    }
}
