//! Anthropic's messages: `POST */messages`, whole or streamed, and `POST */messages/count_tokens`;
//! the same behind Google's Vertex: `POST */publishers/anthropic/models/{model}:rawPredict` and
//! `:streamRawPredict`.
//!
//! In: the request and the wished [`Behaviour`]. Out: a message of text, before it thinking if the
//! request enables it, or the use of a tool if the request demands one. What stands before a
//! `cache_control` mark counts as written to the cache; nothing is ever read from it, as nothing is
//! remembered (`x-mock-usage` can say otherwise). Wire format: Anthropic's API reference,
//! "Messages", "Count Message tokens", "Errors"; Google's "Claude on Vertex AI" for the paths. Not
//! here: batches, server tools, citations.

mod counting;
mod stream;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, openai};
use counting::{Counts, input_tokens};

/// `POST */messages` and Vertex's paths for it.
pub(super) const MESSAGES: Format = Format {
    serves: |method, path| {
        method == Method::POST && (path.ends_with("/messages") || on_vertex(path).is_some())
    },
    answer: messages,
    error,
};

/// `POST */messages/count_tokens`, which is free of charge.
pub(super) const COUNT_TOKENS: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/messages/count_tokens"),
    answer: count_tokens,
    error,
};

/// The name that stands in the place of the model where Vertex shall count tokens.
const VERTEX_COUNT_TOKENS: &str = "count-tokens";

fn messages(behaviour: &Behaviour, received: &Received) -> Answer {
    let on_vertex = on_vertex(received.uri.path());
    if on_vertex.is_some_and(|(model, _)| model == VERTEX_COUNT_TOKENS) {
        return count_tokens(behaviour, received);
    }
    let mut request = match object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    if let Some((model, streamed)) = on_vertex {
        request["model"] = model.into();
        request["stream"] = streamed.into();
    }
    for (field, right) in [
        ("model", request["model"].is_string()),
        ("max_tokens", request["max_tokens"].is_u64()),
        ("messages", request["messages"].is_array()),
    ] {
        if !right {
            return error(StatusCode::BAD_REQUEST, &format!("{field}: Field required"));
        }
    }
    let message = Message::of(&request, behaviour);
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    if request["stream"] == true {
        Answer::events(status, message.events(behaviour))
    } else {
        Answer::whole(status, message.usage.write(&message.usage.within(message.whole())))
    }
}

fn count_tokens(behaviour: &Behaviour, received: &Received) -> Answer {
    object(&received.body).map_or_else(
        |refusal| refusal,
        |request| {
            let body = json!({ "input_tokens": input_tokens(&request) });
            Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), body.to_string())
        },
    )
}

/// The model in a path of Vertex, and whether it asks for a stream.
fn on_vertex(path: &str) -> Option<(&str, bool)> {
    let (model, call) = path.split_once("/publishers/anthropic/models/")?.1.split_once(':')?;
    match call {
        "rawPredict" => Some((model, false)),
        "streamRawPredict" => Some((model, true)),
        _ => None,
    }
}

fn object(body: &[u8]) -> Result<Value, Answer> {
    match serde_json::from_slice(body) {
        Ok(request @ Value::Object(_)) => Ok(request),
        Ok(_) => Err(error(StatusCode::BAD_REQUEST, "the body is not a JSON object")),
        Err(wrong) => Err(error(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {wrong}"))),
    }
}

/// An error as Anthropic words it.
fn error(status: StatusCode, message: &str) -> Answer {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    };
    let error = json!({ "type": kind, "message": message });
    let body = json!({ "type": "error", "error": error, "request_id": "req_mock" });
    Answer::whole(status, body.to_string())
}

/// The answer before it has a form.
struct Message {
    model: String,
    blocks: Vec<Block>,
    stop_reason: &'static str,
    /// What a stream says before there is an answer.
    opening_usage: Usage,
    /// All that was used.
    usage: Usage,
}

/// What a message can consist of.
enum Block {
    Thinking(&'static str),
    Text(Text),
    ToolUse {
        name: String,
        /// The text that the input has as its value.
        text: Text,
    },
}

impl Message {
    fn of(request: &Value, behaviour: &Behaviour) -> Self {
        let text = Text::of(behaviour, openai::number(request, "max_tokens"));
        let tool = demanded(request);
        let stop_reason = match (text.cut, &tool) {
            (true, _) => "max_tokens",
            (false, Some(_)) => "tool_use",
            (false, None) => "end_turn",
        };
        let enabled = matches!(request["thinking"]["type"].as_str(), Some("enabled" | "adaptive"));
        let thinking = Some(Block::Thinking(THOUGHT)).filter(|_| enabled);
        let answer = match tool {
            Some(name) => Block::ToolUse { name, text },
            None => Block::Text(text),
        };
        let blocks: Vec<_> = thinking.into_iter().chain([answer]).collect();
        let mut counts = Counts::default();
        let usage = Usage::of(behaviour, || {
            counts = Counts::of(request, &blocks);
            counts.usage()
        });
        let opening_usage = Usage::of(behaviour, || counts.opening_usage());
        let model = request["model"].as_str().unwrap_or_default().to_owned();
        Self { model, blocks, stop_reason, opening_usage, usage }
    }

    /// All of it but the usage.
    fn whole(&self) -> Value {
        let content: Vec<_> = self.blocks.iter().map(Block::whole).collect();
        self.envelope(&content, Some(self.stop_reason))
    }

    fn envelope(&self, content: &[Value], stop_reason: Option<&str>) -> Value {
        json!({
            "id": "msg_mock",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
        })
    }
}

impl Block {
    fn whole(&self) -> Value {
        match self {
            Self::Thinking(thought) => {
                json!({ "type": "thinking", "thinking": thought, "signature": SIGNATURE })
            }
            Self::Text(text) => json!({ "type": "text", "text": text.whole() }),
            Self::ToolUse { name, text } => json!({
                "type": "tool_use",
                "id": TOOL_USE_ID,
                "name": name,
                "input": { INPUT: text.whole() },
            }),
        }
    }
}

/// What the mock has thought.
const THOUGHT: &str = "The question is about water.";
/// What would prove that it has.
const SIGNATURE: &str = "bW9jaw==";
const TOOL_USE_ID: &str = "toolu_mock";
/// The one member of a tool's input.
const INPUT: &str = "text";

/// The name of the tool that the request demands to be used.
fn demanded(request: &Value) -> Option<String> {
    let name = match request["tool_choice"]["type"].as_str()? {
        "any" => &request["tools"][0]["name"],
        "tool" => &request["tool_choice"]["name"],
        _ => return None,
    };
    name.as_str().map(str::to_owned)
}
