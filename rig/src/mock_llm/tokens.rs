//! Counts the tokens of a chat by the rule of OpenAI's cookbook.
//!
//! In: a model's name and parts of a request as JSON. Out: token counts by `tiktoken-rs`. Tests
//! compare the filter's own counts with these, so this code follows the published rule directly and
//! shares nothing with the filter. Where the cookbook is silent, counts are approximate: nested
//! tool parameters, tool calls in the history, images of unknown size. Not here: the filter's
//! counting (`src/tokens/`).

use serde_json::Value;
use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

/// Counts text for one model.
#[derive(Clone, Copy)]
pub struct Counter {
    encoding: &'static CoreBPE,
    tokenizer: Tokenizer,
}

impl Counter {
    /// Returns the counter for `model`. Models without a public tokenizer count as `gpt-4o`.
    #[must_use]
    pub fn for_model(model: &str) -> Self {
        let tokenizer = get_tokenizer(model).unwrap_or(Tokenizer::O200kBase);
        let encoding = tiktoken_rs::bpe_for_tokenizer(tokenizer).expect("tiktoken-rs carries its encodings");
        Self { encoding, tokenizer }
    }

    /// Counts the tokens of `text`. Special tokens count as text, as in a user's message.
    #[must_use]
    pub fn text(&self, text: &str) -> usize {
        self.encoding.count_ordinary(text)
    }

    /// Counts the prompt of a chat completions request: messages and tool definitions.
    #[must_use]
    pub fn chat(&self, request: &Value) -> usize {
        let messages: usize = items(&request["messages"]).map(|message| self.message(message)).sum();
        messages + REPLY_PRIMING + self.tools(request)
    }

    fn message(&self, message: &Value) -> usize {
        let field = |name: &str| message[name].as_str().map_or(0, |text| self.text(text));
        let name = if message["name"].is_string() { PER_NAME } else { 0 };
        let parts: usize = items(&message["content"]).map(|part| self.part(part)).sum();
        let calls: usize = items(&message["tool_calls"])
            .map(|call| {
                let function = &call["function"];
                let text = |value: &Value| value.as_str().map_or(0, |text| self.text(text));
                PER_MESSAGE + text(&function["name"]) + text(&function["arguments"])
            })
            .sum();
        PER_MESSAGE
            + field("role")
            + field("content")
            + field("refusal")
            + field("name")
            + name
            + parts
            + calls
    }

    fn part(&self, part: &Value) -> usize {
        match part["type"].as_str() {
            Some("text") => part["text"].as_str().map_or(0, |text| self.text(text)),
            Some("image_url") if part["image_url"]["detail"] == "low" => IMAGE_LOW,
            Some("image_url") => IMAGE_1024,
            _ => 0,
        }
    }

    fn tools(&self, request: &Value) -> usize {
        let functions: Vec<_> = items(&request["tools"])
            .map(|tool| &tool["function"])
            .chain(items(&request["functions"]))
            .map(|function| self.function(function))
            .collect();
        if functions.is_empty() { 0 } else { functions.iter().sum::<usize>() + FUNCTIONS_END }
    }

    fn function(&self, function: &Value) -> usize {
        // The two generations of models differ only in this constant.
        let start = if self.tokenizer == Tokenizer::O200kBase { 7 } else { 10 };
        let head = format!("{}:{}", string(&function["name"]), sentence(&function["description"]));
        let Some(properties) = function["parameters"]["properties"].as_object().filter(|p| !p.is_empty())
        else {
            return start + self.text(&head);
        };
        let properties: usize = properties
            .iter()
            .map(|(key, property)| {
                let line =
                    format!("{key}:{}:{}", string(&property["type"]), sentence(&property["description"]));
                let choices: Vec<_> = items(&property["enum"]).filter_map(Value::as_str).collect();
                let listed: usize = choices.iter().map(|choice| ENUM_ITEM + self.text(choice)).sum();
                // A list starts with minus the overhead of one item.
                PROPERTY
                    + self.text(&line)
                    + listed.saturating_sub(if choices.is_empty() { 0 } else { ENUM_ITEM })
            })
            .sum();
        start + self.text(&head) + PROPERTIES + properties
    }
}

// The constants of OpenAI's cookbook, "How to count tokens with tiktoken", for models from 2023-06
// on.
const PER_MESSAGE: usize = 3;
const PER_NAME: usize = 1;
const REPLY_PRIMING: usize = 3;
const PROPERTIES: usize = 3;
const PROPERTY: usize = 3;
const ENUM_ITEM: usize = 3;
const FUNCTIONS_END: usize = 12;
// A gpt-4o image at low detail, and one of 1024x1024 at high detail (OpenAI's guide to images).
const IMAGE_LOW: usize = 85;
const IMAGE_1024: usize = 765;

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns a description without its full stop, as the model sees it.
fn sentence(value: &Value) -> &str {
    string(value).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Returns the conversation for which the cookbook publishes the counts that OpenAI's API
    /// reported.
    fn published_conversation() -> Value {
        let message = |name: Option<&str>, role: &str, content: &str| {
            let mut message = json!({ "role": role, "content": content });
            if let Some(name) = name {
                message["name"] = name.into();
            }
            message
        };
        let (user, assistant) = (Some("example_user"), Some("example_assistant"));
        json!({ "messages": [
            message(None, "system", "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
            message(user, "system", "New synergies will help drive top-line growth."),
            message(assistant, "system", "Things working well together will increase revenue."),
            message(user, "system", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
            message(assistant, "system", "Let's talk later when we're less busy about how to do better."),
            message(None, "user", "This late pivot means we don't have time to boil the ocean for the client deliverable."),
        ]})
    }

    #[test]
    fn the_published_conversation_has_the_published_counts() {
        let request = published_conversation();
        for (model, expected) in
            [("gpt-4", 129), ("gpt-3.5-turbo", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
        {
            assert_eq!(Counter::for_model(model).chat(&request), expected, "{model}");
        }
    }

    #[test]
    fn the_published_tool_has_the_published_counts() {
        let request = json!({
            "messages": [
                { "role": "system", "content": "You are a helpful assistant that can answer to questions about the weather." },
                { "role": "user", "content": "What's the weather like in San Francisco?" },
            ],
            "tools": [{ "type": "function", "function": {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": { "type": "object", "required": ["location"], "properties": {
                    "location": { "type": "string", "description": "The city and state, e.g. San Francisco, CA" },
                    "unit": { "type": "string", "description": "The unit of temperature to return", "enum": ["celsius", "fahrenheit"] },
                }},
            }}],
        });
        for (model, expected) in
            [("gpt-4", 105), ("gpt-3.5-turbo", 105), ("gpt-4o", 101), ("gpt-4o-mini", 101)]
        {
            assert_eq!(Counter::for_model(model).chat(&request), expected, "{model}");
        }
    }

    #[test]
    fn a_special_token_in_a_text_is_only_text() {
        assert!(Counter::for_model("gpt-4o").text("<|endoftext|>") > 1);
    }
}
