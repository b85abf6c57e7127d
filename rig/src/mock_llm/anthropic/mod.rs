//! Anthropic's messages: `POST */messages`, whole or streamed, and `POST */messages/count_tokens`;
//! the same behind Google's Vertex: `POST */publishers/anthropic/models/{model}:rawPredict` and
//! `:streamRawPredict`.
//!
//! In: the request and the requested [`Behaviour`]. Out: a message of text, preceded by thinking if
//! the request enables it, or a tool use if the request forces one. The part before a
//! `cache_control` mark counts as written to the cache. The mock stores nothing, so it never reads
//! from a cache (`x-mock-usage` can claim so). Wire format: Anthropic's API reference, "Messages",
//! "Count Message tokens", "Errors"; Google's "Claude on Vertex AI" for the paths. Not here:
//! batches, server tools, citations.

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

/// `POST */messages/count_tokens`, which costs nothing.
pub(super) const COUNT_TOKENS: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/messages/count_tokens"),
    answer: count_tokens,
    error,
};

/// The name that Vertex uses in place of the model to count tokens.
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

/// Returns the model in a path of Vertex, and whether the path requests a stream.
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

/// Returns an error in Anthropic's format.
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

/// The content of an answer, before it is formatted.
struct Message {
    model: String,
    blocks: Vec<Block>,
    stop_reason: &'static str,
    /// The usage at the start of a stream.
    opening_usage: Usage,
    /// The complete usage.
    usage: Usage,
}

/// A block of a message.
enum Block {
    Thinking(&'static str),
    Text(Text),
    ToolUse {
        name: String,
        /// The text that the tool's input contains.
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

    /// Returns the message without its usage.
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

/// The text of the mock's thinking.
const THOUGHT: &str = "The question is about water.";
/// The signature of that thinking.
const SIGNATURE: &str = "bW9jaw==";
const TOOL_USE_ID: &str = "toolu_mock";
/// The only member of a tool's input.
const INPUT: &str = "text";

/// Returns the tool that the request forces.
fn demanded(request: &Value) -> Option<String> {
    let name = match request["tool_choice"]["type"].as_str()? {
        "any" => &request["tools"][0]["name"],
        "tool" => &request["tool_choice"]["name"],
        _ => return None,
    };
    name.as_str().map(str::to_owned)
}
