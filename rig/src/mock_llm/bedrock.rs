//! Amazon Bedrock's own dialect: `POST */model/{modelId}/converse`, `converse-stream` and
//! `count-tokens`.
//!
//! In: a request whose path names model and operation, percent-encoded as the SDKs do. Out: an
//! [`Answer`]; a stream consists of binary frames, the last of which has the usage. The input is
//! converted to a chat and counted by OpenAI's rule, and tools count as the text of their
//! definitions. Wire format: Amazon Bedrock API reference, "Converse", "ConverseStream",
//! "CountTokens", "Common error types". Not here: the models' native dialects (`bedrock_invoke`),
//! frames (`eventstream`), signatures, cache reads (`x-mock-usage` can claim them), and tokens of
//! images and documents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::eventstream;
use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, bedrock_invoke};

/// `POST */model/{modelId}/{operation}`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && Target::of(path).is_some(),
    answer: |behaviour, received| answer(behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

/// The model and operation that a path names.
pub(super) struct Target {
    /// The model's id, or the ARN of an inference profile or similar.
    pub(super) model: String,
    operation: Operation,
}

#[derive(Clone, Copy)]
enum Operation {
    Converse,
    ConverseStream,
    CountTokens,
    Invoke,
    InvokeWithResponseStream,
}

impl Target {
    pub(super) fn of(path: &str) -> Option<Self> {
        let (before, operation) = path.rsplit_once('/')?;
        let operation = match operation {
            "converse" => Operation::Converse,
            "converse-stream" => Operation::ConverseStream,
            "count-tokens" => Operation::CountTokens,
            "invoke" => Operation::Invoke,
            "invoke-with-response-stream" => Operation::InvokeWithResponseStream,
            _ => return None,
        };
        let (_, model) = before.rsplit_once("/model/")?;
        // The slash of an ARN arrives as %2F.
        let model = percent_decode_str(model).decode_utf8().ok().filter(|_| !model.contains('/'))?;
        Some(Self { model: model.into_owned(), operation })
    }
}

fn answer(behaviour: &Behaviour, received: &Received) -> Result<Answer, Answer> {
    let target = Target::of(received.uri.path()).ok_or_else(|| refusal("the path names no model"))?;
    let request: Value = serde_json::from_slice(&received.body)
        .map_err(|wrong| refusal(&format!("Malformed input request: {wrong}")))?;
    if !request.is_object() {
        return Err(refusal("Malformed input request: expected an object"));
    }
    let counter = Counter::for_model(&target.model);
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    match target.operation {
        Operation::Converse => {
            Conversation::of(&request, counter, behaviour).map(|conversation| conversation.whole(status))
        }
        Operation::ConverseStream => Conversation::of(&request, counter, behaviour)
            .map(|conversation| conversation.stream(status, behaviour)),
        Operation::CountTokens => {
            let counted = count_tokens(&request["input"], &target.model, received)?;
            Ok(Answer::whole(status, json!({ "inputTokens": counted }).to_string()))
        }
        Operation::Invoke => bedrock_invoke::whole(&target.model, &request, behaviour, received),
        Operation::InvokeWithResponseStream => {
            bedrock_invoke::stream(&target.model, &request, behaviour, received)
        }
    }
}

/// Returns an error in Bedrock's format, whose name is in a header.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let name = match status.as_u16() {
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        400..500 => "ValidationException",
        _ => "InternalServerException",
    };
    let answer = Answer::whole(status, json!({ "message": message }).to_string());
    answer.header("x-amzn-errortype", &format!("{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"))
}

pub(super) fn refusal(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, message)
}

/// The content of an answer, before it is formatted.
struct Conversation {
    text: Text,
    usage: Usage,
}

impl Conversation {
    fn of(request: &Value, counter: Counter, behaviour: &Behaviour) -> Result<Self, Answer> {
        if !request["messages"].is_array() {
            return Err(refusal("messages: Member must not be null"));
        }
        let allowed = request["inferenceConfig"]["maxTokens"].as_u64().and_then(|n| usize::try_from(n).ok());
        let text = Text::of(behaviour, allowed);
        let usage = Usage::of(behaviour, || {
            let (input, output) = (input(request, counter), counter.text(&text.whole()));
            json!({
                "inputTokens": input,
                "outputTokens": output,
                "totalTokens": input + output,
                "cacheReadInputTokens": 0,
                "cacheWriteInputTokens": 0,
            })
        });
        Ok(Self { text, usage })
    }

    fn whole(&self, status: StatusCode) -> Answer {
        let message = json!({ "role": "assistant", "content": [{ "text": self.text.whole() }] });
        let body = json!({
            "output": { "message": message },
            "stopReason": self.stop_reason(),
            "metrics": { "latencyMs": LATENCY_MS },
        });
        Answer::whole(status, self.usage.write(&self.usage.within(body)))
    }

    fn stream(&self, status: StatusCode, behaviour: &Behaviour) -> Answer {
        let event = |name: &str, mut payload: Value| {
            payload["p"] = padding(name.len()).into();
            eventstream::event(name, &self.usage.write(&payload))
        };
        let mut frames = vec![event("messageStart", json!({ "role": "assistant" }))];
        frames.extend(self.text.pieces(behaviour).map(|piece| {
            event("contentBlockDelta", json!({ "contentBlockIndex": 0, "delta": { "text": piece } }))
        }));
        frames.push(event("contentBlockStop", json!({ "contentBlockIndex": 0 })));
        frames.push(event("messageStop", json!({ "stopReason": self.stop_reason() })));
        let metadata = json!({ "metrics": { "latencyMs": LATENCY_MS } });
        frames.push(event("metadata", self.usage.within(metadata)));
        Answer::stream(status, eventstream::CONTENT_TYPE, frames)
    }

    const fn stop_reason(&self) -> &'static str {
        if self.text.cut { "max_tokens" } else { "end_turn" }
    }
}

/// The latency that the mock reports.
pub(super) const LATENCY_MS: u64 = 100;

/// Returns meaningless letters, by which Bedrock hides the length of a chunk.
pub(super) fn padding(seed: usize) -> String {
    ('a'..='z').chain('A'..='Z').take(1 + seed * 7 % 40).collect()
}

fn count_tokens(input_given: &Value, model: &str, received: &Received) -> Result<usize, Answer> {
    let conversation = &input_given["converse"];
    if conversation.is_object() {
        return Ok(input(conversation, Counter::for_model(model)));
    }
    let native = input_given["invokeModel"]["body"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let native = native.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let native: Value = native.ok_or_else(|| refusal("input: converse or invokeModel is required"))?;
    bedrock_invoke::input(model, &native, received)
}

fn input(request: &Value, counter: Counter) -> usize {
    let tools: usize = items(&request["toolConfig"]["tools"])
        .filter(|tool| !tool["toolSpec"].is_null())
        .map(|tool| counter.text(&tool["toolSpec"].to_string()))
        .sum();
    counter.chat(&as_chat(request)) + tools
}

/// Converts a conversation to a chat.
fn as_chat(request: &Value) -> Value {
    let system = items(&request["system"]).filter_map(|block| block["text"].as_str());
    let system = system.map(|text| json!({ "role": "system", "content": text }));
    let messages = items(&request["messages"]).map(|message| {
        let blocks = || items(&message["content"]);
        let calls: Vec<_> = blocks()
            .map(|block| &block["toolUse"])
            .filter(|call| call.is_object())
            .map(|call| json!({ "function": { "name": call["name"], "arguments": call["input"].to_string() } }))
            .collect();
        let content: Vec<_> = blocks()
            .flat_map(texts)
            .map(|text| json!({ "type": "text", "text": text }))
            .collect();
        json!({ "role": message["role"], "content": content, "tool_calls": calls })
    });
    let messages: Vec<_> = system.chain(messages).collect();
    json!({ "messages": messages })
}

fn texts(block: &Value) -> Vec<String> {
    let reasoning = &block["reasoningContent"]["reasoningText"]["text"];
    let result = items(&block["toolResult"]["content"]).flat_map(|part| match &part["json"] {
        Value::Null => part["text"].as_str().map(str::to_owned),
        json => Some(json.to_string()),
    });
    [&block["text"], reasoning]
        .into_iter()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .chain(result)
        .collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_model_percent_encoded_after_any_prefix() {
        let cases = [
            ("/model/amazon.nova-lite-v1%3A0/converse", "amazon.nova-lite-v1:0"),
            ("/aws/model/meta.llama3-8b-instruct-v1:0/invoke", "meta.llama3-8b-instruct-v1:0"),
            (
                "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.anthropic.claude/converse-stream",
                "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude",
            ),
        ];
        for (path, model) in cases {
            assert_eq!(Target::of(path).unwrap().model, model, "{path}");
        }
        for path in ["/model/a/b/converse", "/models/a/converse", "/model/a/answer", "/converse"] {
            assert!(Target::of(path).is_none(), "{path}");
        }
    }
}
