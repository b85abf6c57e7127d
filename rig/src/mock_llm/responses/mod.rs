//! OpenAI's responses: `POST */responses`, whole, streamed or in the background; `GET
//! */responses/{id}`; and `POST */responses/input_tokens`.
//!
//! In: the request and the requested [`Behaviour`]. Out: a message, preceded by a reasoning summary
//! if the request asks for one, or a function call if the request forces one. A response's id
//! encodes its counts, so `previous_response_id` adds a history and a background response can be
//! retrieved, although the mock stores nothing. Wire format: OpenAI's API reference, "Responses".
//! Not here: conversations, built-in tools, failed responses (a failure is an HTTP error),
//! cancelling and deleting.

mod counting;
mod stream;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, openai};
use counting::{Counts, as_chat};

/// `POST */responses`.
pub(super) const CREATE: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/responses"),
    answer: create,
    error: openai::error,
};

/// `GET */responses/{id}`.
pub(super) const RETRIEVE: Format = Format {
    serves: |method, path| method == Method::GET && retrieved(path).is_some(),
    answer: retrieve,
    error: openai::error,
};

/// `POST */responses/input_tokens`, which costs nothing.
pub(super) const INPUT_TOKENS: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/responses/input_tokens"),
    answer: count,
    error: openai::error,
};

fn create(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    if !request["model"].is_string() || !(request["input"].is_string() || request["input"].is_array()) {
        let missing = "a string 'model' and an 'input' of text or items are required";
        return openai::error(StatusCode::BAD_REQUEST, missing);
    }
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let reply = Reply::of(&request, behaviour);
    if request["stream"] == true {
        return Answer::events(status, reply.events(behaviour));
    }
    let stage = if reply.background() { Stage::Queued } else { Stage::Ended };
    Answer::whole(status, reply.usage.write(&reply.response(stage)))
}

fn retrieve(behaviour: &Behaviour, received: &Received) -> Answer {
    let Some((counts, model)) = retrieved(received.uri.path()).and_then(Counts::from_id) else {
        return openai::error(StatusCode::NOT_FOUND, "there is no response with this id");
    };
    let text = Text::of(&Behaviour { output_tokens: Some(counts.output), ..Behaviour::default() }, None);
    let reply = Reply {
        id: counts.id(&model),
        request: json!({ "model": model, "background": true }),
        items: vec![Item::Message(text)],
        cut: false,
        usage: Usage::of(behaviour, || counts.usage()),
    };
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    Answer::whole(status, reply.usage.write(&reply.response(Stage::Ended)))
}

fn count(behaviour: &Behaviour, received: &Received) -> Answer {
    openai::object(&received.body).map_or_else(
        |refusal| refusal,
        |request| {
            let counter = Counter::for_model(request["model"].as_str().unwrap_or_default());
            let body = json!({
                "object": "response.input_tokens",
                "input_tokens": counter.chat(&as_chat(&request)),
            });
            Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), body.to_string())
        },
    )
}

/// Returns the events of a response over a WebSocket. `number` makes its id differ from those of
/// equal requests.
pub(super) fn socket_events(request: &Value, behaviour: &Behaviour, number: usize) -> Vec<String> {
    let mut reply = Reply::of(request, behaviour);
    reply.id = format!("{}_{number}", reply.id);
    reply.typed_events(behaviour).into_iter().map(|(_, json)| json).collect()
}

/// Returns whether the mock made a response with this id.
pub(super) fn is_known(id: &str) -> bool {
    Counts::from_id(id).is_some()
}

/// Returns the id in a path that retrieves a response.
fn retrieved(path: &str) -> Option<&str> {
    path.rsplit_once("/responses/").map(|(_, id)| id).filter(|id| !id.contains('/'))
}

/// The content of an answer, before it is formatted.
struct Reply {
    id: String,
    /// The response repeats much of it.
    request: Value,
    items: Vec<Item>,
    /// Whether `max_output_tokens` cut it.
    cut: bool,
    usage: Usage,
}

/// An item of a response.
enum Item {
    /// A summary of reasoning.
    Reasoning(&'static str),
    Message(Text),
    Call {
        name: String,
        /// The text that the arguments contain.
        text: Text,
    },
}

/// The progress of a response.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Queued,
    Begun,
    Ended,
}

impl Reply {
    fn of(request: &Value, behaviour: &Behaviour) -> Self {
        let model = request["model"].as_str().unwrap_or_default();
        let text = Text::of(behaviour, openai::number(request, "max_output_tokens"));
        let cut = text.cut;
        let summary = Some(SUMMARY).filter(|_| request["reasoning"]["summary"].is_string());
        let item = match demanded(request) {
            Some(name) => Item::Call { name, text },
            None => Item::Message(text),
        };
        let items: Vec<_> = summary.map(Item::Reasoning).into_iter().chain([item]).collect();
        let mut counts = Counts::default();
        let usage = Usage::of(behaviour, || {
            counts = Counts::of(request, &items);
            counts.usage()
        });
        Self { id: counts.id(model), request: request.clone(), items, cut, usage }
    }

    fn background(&self) -> bool {
        self.request["background"] == true
    }

    /// Returns its final status.
    fn status(&self) -> &'static str {
        if self.cut { "incomplete" } else { "completed" }
    }

    /// Returns the response object at `stage`. Usage is null before the end.
    fn response(&self, stage: Stage) -> Value {
        let said = |name: &str, default: Value| match &self.request[name] {
            Value::Null => default,
            value => value.clone(),
        };
        let ended = stage == Stage::Ended;
        let output: Vec<_> =
            self.items.iter().enumerate().filter(|_| ended).map(|(n, item)| item.whole(n, self)).collect();
        let response = json!({
            "id": self.id,
            "object": "response",
            "created_at": super::CREATED,
            "status": match stage {
                Stage::Queued => "queued",
                Stage::Begun => "in_progress",
                Stage::Ended => self.status(),
            },
            "background": self.background(),
            "error": null,
            "incomplete_details":
                if ended && self.cut { json!({ "reason": "max_output_tokens" }) } else { Value::Null },
            "instructions": self.request["instructions"],
            "max_output_tokens": self.request["max_output_tokens"],
            "metadata": said("metadata", json!({})),
            "model": self.request["model"],
            "output": output,
            "parallel_tool_calls": said("parallel_tool_calls", true.into()),
            "previous_response_id": self.request["previous_response_id"],
            "reasoning": said("reasoning", json!({ "effort": null, "summary": null })),
            "service_tier": "default",
            "store": said("store", true.into()),
            "temperature": said("temperature", 1.0.into()),
            "text": said("text", json!({ "format": { "type": "text" } })),
            "tool_choice": said("tool_choice", "auto".into()),
            "tools": said("tools", json!([])),
            "top_p": said("top_p", 1.0.into()),
            "truncation": said("truncation", "disabled".into()),
            "user": self.request["user"],
        });
        if ended {
            return self.usage.within(response);
        }
        let mut response = response;
        response["usage"] = Value::Null;
        response
    }
}

impl Item {
    /// Returns the id of the `index`-th item of a response.
    fn id(&self, index: usize) -> String {
        let kind = match self {
            Self::Reasoning(_) => "rs",
            Self::Message(_) => "msg",
            Self::Call { .. } => "fc",
        };
        format!("{kind}_mock_{index}")
    }

    /// Returns the whole item.
    fn whole(&self, index: usize, reply: &Reply) -> Value {
        let id = self.id(index);
        match self {
            Self::Reasoning(summary) => {
                let summary = json!([{ "type": "summary_text", "text": summary }]);
                json!({ "id": id, "type": "reasoning", "summary": summary })
            }
            Self::Message(text) => json!({
                "id": id,
                "type": "message",
                "status": reply.status(),
                "role": "assistant",
                "content": [output_text(&text.whole())],
            }),
            Self::Call { name, text } => json!({
                "id": id,
                "type": "function_call",
                "status": reply.status(),
                "call_id": format!("call_mock_{index}"),
                "name": name,
                "arguments": arguments(text),
            }),
        }
    }
}

/// The text of the mock's reasoning.
const SUMMARY: &str = "The question is about water.";

fn output_text(text: &str) -> Value {
    json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text })
}

/// Returns the arguments of a call. Cut arguments are not valid JSON, as with the real API.
fn arguments(text: &Text) -> String {
    let [opening, closing] = ARGUMENTS;
    format!("{opening}{}{}", text.whole(), if text.cut { "" } else { closing })
}

/// The JSON around the text in a call's arguments.
const ARGUMENTS: [&str; 2] = ["{\"text\":\"", "\"}"];

/// Returns the function that the request forces.
fn demanded(request: &Value) -> Option<String> {
    let choice = &request["tool_choice"];
    let name = match choice.as_str() {
        Some("required") => &request["tools"][0]["name"],
        Some(_) => return None,
        None => &choice["name"],
    };
    name.as_str().map(str::to_owned)
}
