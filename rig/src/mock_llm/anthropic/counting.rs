//! Token counts of a message, in Anthropic's classes.
//!
//! In: a request and the blocks of its answer. Out: [`Counts`]. Anthropic's tokenizer is not
//! public, so the input is converted to a chat and counted by the cookbook's rule, plus Anthropic's
//! published overhead for tools. Not here: documents other than text.

use serde_json::{Value, json};

use super::{Block, INPUT};
use crate::mock_llm::tokens::Counter;

/// Tokens of a message; the three classes of input are disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    input: usize,
    written_for_5m: usize,
    written_for_1h: usize,
    /// Includes thinking.
    output: usize,
    thinking: usize,
}

impl Counts {
    /// Counts a request and its answer.
    pub(super) fn of(request: &Value, blocks: &[Block]) -> Self {
        let counter = counter(request);
        let total = input_tokens(request);
        let [written_for_5m, written_for_1h] = written(request, total);
        let input = total - written_for_5m - written_for_1h;
        let mut counts = Self { input, written_for_5m, written_for_1h, ..Self::default() };
        for block in blocks {
            counts.output += match block {
                Block::Thinking(thought) => {
                    counts.thinking = counter.text(thought);
                    counts.thinking
                }
                Block::Text(text) => counter.text(&text.whole()),
                Block::ToolUse { name, text } => {
                    counter.text(name) + counter.text(&json!({ INPUT: text.whole() }).to_string())
                }
            };
        }
        counts
    }

    /// Returns the counts as the API's usage.
    pub(super) fn usage(self) -> Value {
        let mut usage = self.input_usage();
        usage["output_tokens"] = self.output.into();
        if self.thinking > 0 {
            usage["output_tokens_details"] = json!({ "thinking_tokens": self.thinking });
        }
        usage
    }

    /// Returns the usage at the start of a stream: the input, and the first token of the output.
    pub(super) fn opening_usage(self) -> Value {
        let mut usage = self.input_usage();
        usage["output_tokens"] = self.output.min(1).into();
        usage
    }

    fn input_usage(self) -> Value {
        json!({
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.written_for_5m + self.written_for_1h,
            "cache_read_input_tokens": 0,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_for_5m,
                "ephemeral_1h_input_tokens": self.written_for_1h,
            },
            "service_tier": "standard",
        })
    }
}

/// Counts the tokens of a request.
pub(super) fn input_tokens(request: &Value) -> usize {
    let overhead = match request["tool_choice"]["type"].as_str() {
        _ if request["tools"].as_array().is_none_or(Vec::is_empty) => 0,
        Some("any" | "tool") => TOOLS_DEMANDED,
        _ => TOOLS_OFFERED,
    };
    counter(request).chat(&as_chat(request)) + overhead
}

// Anthropic's guide "Tool use": the system prompt for tools, for models from Claude 4 on.
const TOOLS_OFFERED: usize = 346;
const TOOLS_DEMANDED: usize = 313;

fn counter(request: &Value) -> Counter {
    Counter::for_model(request["model"].as_str().unwrap_or_default())
}

/// Returns how much of `total` is written to the cache, for five minutes and for an hour. Tools,
/// system and messages form a prefix in this order, and the last mark ends the cached part. The
/// last mark's time applies to all of it.
fn written(request: &Value, total: usize) -> [usize; 2] {
    let mut prefix = json!({ "model": request["model"], "tools": [], "system": [], "messages": [] });
    let (mut kept, mut for_an_hour) = (0, false);
    let mut mark = |prefix: &Value, cache_control: &Value| {
        if cache_control.is_object() {
            // The reply's priming comes after everything.
            (kept, for_an_hour) = (input_tokens(prefix).min(total), cache_control["ttl"] == "1h");
        }
    };
    for tool in list(&request["tools"]) {
        push(&mut prefix["tools"], tool.clone());
        mark(&prefix, &tool["cache_control"]);
    }
    match &request["system"] {
        text @ Value::String(_) => prefix["system"] = text.clone(),
        blocks => {
            for block in list(blocks) {
                push(&mut prefix["system"], block.clone());
                mark(&prefix, &block["cache_control"]);
            }
        }
    }
    for message in list(&request["messages"]) {
        for (index, block) in list(&message["content"]).enumerate() {
            if block["cache_control"].is_object() {
                let mut so_far = message.clone();
                so_far["content"] = list(&message["content"]).take(index + 1).cloned().collect();
                let mut with = prefix.clone();
                push(&mut with["messages"], so_far);
                mark(&with, &block["cache_control"]);
            }
        }
        push(&mut prefix["messages"], message.clone());
    }
    if for_an_hour { [0, kept] } else { [kept, 0] }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn push(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}

/// Converts a request to a chat.
fn as_chat(request: &Value) -> Value {
    let mut messages = Vec::new();
    if !request["system"].is_null() && request["system"] != json!([]) {
        messages.push(json!({ "role": "system", "content": content(&request["system"]) }));
    }
    for message in list(&request["messages"]) {
        let calls: Vec<_> = list(&message["content"])
            .filter(|block| block["type"] == "tool_use")
            .map(|call| {
                json!({ "function": { "name": call["name"], "arguments": call["input"].to_string() } })
            })
            .collect();
        messages.push(json!({
            "role": message["role"],
            "content": content(&message["content"]),
            "tool_calls": calls,
        }));
    }
    let tools: Vec<_> = list(&request["tools"])
        .map(|tool| {
            let (name, description) = (&tool["name"], &tool["description"]);
            let parameters = &tool["input_schema"];
            json!({ "function": { "name": name, "description": description, "parameters": parameters } })
        })
        .collect();
    json!({ "messages": messages, "tools": tools })
}

/// Converts content to the parts of a chat message.
fn content(value: &Value) -> Value {
    if value.is_string() { value.clone() } else { list(value).flat_map(parts).collect() }
}

fn parts(block: &Value) -> Vec<Value> {
    let text = |text: &Value| json!({ "type": "text", "text": text });
    match block["type"].as_str() {
        Some("text") => vec![text(&block["text"])],
        Some("image") => vec![json!({ "type": "image_url", "image_url": {} })],
        Some("document") if block["source"]["type"] == "text" => vec![text(&block["source"]["data"])],
        Some("tool_result") if block["content"].is_string() => vec![text(&block["content"])],
        Some("tool_result") => list(&block["content"]).flat_map(parts).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        json!({ "type": "text", "text": text })
    }

    #[test]
    fn texts_count_as_in_a_chat_and_tools_have_their_overhead() {
        let messages = json!([{ "role": "user", "content": [text("Hello there")] }]);
        let plain = json!({ "model": "claude-sonnet-4-5", "messages": messages });
        assert_eq!(input_tokens(&plain), 9);

        let mut with_tool = plain.clone();
        with_tool["tools"] = json!([{ "name": "look", "input_schema": { "type": "object" } }]);
        let offered = input_tokens(&with_tool);
        assert!(offered > 9 + TOOLS_OFFERED);
        with_tool["tool_choice"] = json!({ "type": "any" });
        assert_eq!(input_tokens(&with_tool), offered - TOOLS_OFFERED + TOOLS_DEMANDED);
    }

    #[test]
    fn what_stands_before_the_last_mark_is_written_to_the_cache() {
        let marked = |ttl: &str| {
            json!({
                "model": "claude-sonnet-4-5",
                "system": [
                    { "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral", "ttl": ttl } },
                ],
                "messages": [{ "role": "user", "content": [text("Hello there")] }],
            })
        };
        let total = input_tokens(&marked("5m"));
        // 3 for the message, 1 for the role, 3 for the words, 3 for the priming.
        for (ttl, expected) in [("5m", [10, 0]), ("1h", [0, 10])] {
            assert_eq!(written(&marked(ttl), total), expected, "{ttl}");
        }
        let counts = Counts::of(&marked("5m"), &[]);
        assert_eq!((counts.input, counts.written_for_5m), (total - 10, 10));
    }

    #[test]
    fn results_of_tools_count_with_the_text_inside_them() {
        let result = |content: Value| {
            json!({ "messages": [
                { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "a", "content": content }] },
            ]})
        };
        let as_text = input_tokens(&result("Hello there".into()));
        assert_eq!(as_text, 9);
        assert_eq!(input_tokens(&result(json!([text("Hello there")]))), as_text);
    }
}
