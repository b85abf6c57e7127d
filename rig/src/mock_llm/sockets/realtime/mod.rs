//! OpenAI's Realtime API, and Azure's: `GET */realtime?model=` or `?deployment=`.
//!
//! In: client events in the form of the API's general availability. Out: server events, with the
//! usage of each response: the whole conversation is its input, and what an earlier response has
//! read counts as cached. **Voice detection** is a rule: while `turn_detection` is not null, each
//! 500 ms of appended sound (`x-mock-socket-turn-ms`) are a turn; it is committed, and answered
//! unless `create_response` is false. Its beginning cancels the response in progress unless
//! `interrupt_response` is false. A client's `commit` begins no response. `x-mock-` members of a
//! response's `metadata` are switches; there `x-mock-status` makes it fail. Wire format: OpenAI's
//! API reference, "Realtime". Not here: the form of the beta, function calls in answers,
//! transcription sessions, idle timeouts, and default instructions.

mod conversation;
mod input;
mod items;
mod reply;
mod sound;

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Api;
use super::connection::{Session, Step, Turn};
use super::modality::Tokens;
use crate::mock_llm::tokens::Counter;
use crate::mock_llm::{Behaviour, Received, openai};
use conversation::{Conversation, Item};
use input::Buffer;
use reply::{Outcome, Reply, merge};
use sound::Format;

/// `GET */realtime`.
pub(super) const API: Api = Api {
    serves: |path| path.ends_with("/realtime"),
    open: |behaviour, received| Ok(Box::new(Realtime::of(behaviour, &model(received)?))),
    error: openai::error,
    binary: false,
    protocol: Some("realtime"),
};

/// Returns the model or the deployment that the query names.
fn model(received: &Received) -> Result<String, String> {
    let query = received.uri.query().unwrap_or_default();
    let named = |pair: &'_ str| {
        let (name, value) = pair.split_once('=')?;
        matches!(name, "model" | "deployment")
            .then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    };
    query.split('&').find_map(named).ok_or_else(|| "You must provide a model parameter.".to_owned())
}

/// The state of a session.
struct Realtime {
    behaviour: Behaviour,
    counter: Counter,
    /// The session object.
    config: Value,
    conversation: Conversation,
    /// The instructions and tools that a response has read.
    prefix_read: Option<String>,
    buffer: Buffer,
    replies: Vec<Reply>,
    /// How many events, items and responses there have been.
    events: usize,
    items: usize,
    responses: usize,
}

/// The reason why a client event is refused: a code and a message.
struct Refusal(&'static str, String);

impl Session for Realtime {
    fn opened(&mut self) -> Vec<Step> {
        let session = self.config.clone();
        vec![self.send(json!({ "type": "session.created", "session": session }))]
    }

    fn received(&mut self, message: &str) -> Vec<Step> {
        let event: Value = serde_json::from_str(message).unwrap_or(Value::Null);
        let done = match event["type"].as_str() {
            Some("session.update") => Ok(self.update(&event)),
            Some("conversation.item.create") => Ok(self.create_item(&event)),
            Some("conversation.item.delete") => self.delete_item(&event),
            Some("conversation.item.retrieve") => self.retrieve_item(&event),
            Some("conversation.item.truncate") => self.truncate_item(&event),
            Some("input_audio_buffer.append") => self.append(&event),
            Some("input_audio_buffer.commit") => self.commit(),
            Some("input_audio_buffer.clear") => Ok(self.clear()),
            Some("response.create") => self.create_response(&event["response"]),
            Some("response.cancel") => self.cancel_response(&event),
            Some(other) => Err(Refusal("invalid_value", format!("Invalid value: '{other}'."))),
            None => Err(Refusal("invalid_event", "The message has no 'type'.".to_owned())),
        };
        done.unwrap_or_else(|refusal| vec![self.error(refusal, &event["event_id"])])
    }

    fn finished(&mut self, turn: usize) -> Vec<Step> {
        let Some(index) = self.replies.iter().position(|reply| reply.number == turn) else {
            return Vec::new();
        };
        let reply = self.replies.remove(index);
        self.keep(&reply);
        Vec::new()
    }
}

impl Realtime {
    fn of(behaviour: &Behaviour, model: &str) -> Self {
        let pcm = json!({ "type": "audio/pcm", "rate": 24_000 });
        let config = json!({
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_mock",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "truncation": "auto",
            "tracing": null,
            "prompt": null,
            "include": null,
            "expires_at": crate::mock_llm::CREATED + 3_600,
            "audio": {
                "input": {
                    "format": pcm,
                    "transcription": null,
                    "noise_reduction": null,
                    "turn_detection": {
                        "type": "server_vad",
                        "threshold": 0.5,
                        "prefix_padding_ms": 300,
                        "silence_duration_ms": 500,
                        "idle_timeout_ms": null,
                        "create_response": true,
                        "interrupt_response": true,
                    },
                },
                "output": { "format": pcm, "voice": "marin", "speed": 1.0 },
            },
        });
        Self {
            behaviour: behaviour.clone(),
            counter: Counter::for_model(model),
            config,
            conversation: Conversation::default(),
            prefix_read: None,
            buffer: Buffer::default(),
            replies: Vec::new(),
            events: 0,
            items: 0,
            responses: 0,
        }
    }

    fn update(&mut self, event: &Value) -> Vec<Step> {
        let mut session = event["session"].clone();
        if let Some(session) = session.as_object_mut() {
            // A session keeps its model.
            session.remove("model");
            merge(&mut self.config, Value::Object(core::mem::take(session)));
        }
        let session = self.config.clone();
        vec![self.send(json!({ "type": "session.updated", "session": session }))]
    }

    fn create_response(&mut self, wanted: &Value) -> Result<Vec<Step>, Refusal> {
        let in_conversation = wanted["conversation"] != "none";
        if let Some(active) = self.active().filter(|_| in_conversation) {
            let message = format!(
                "Conversation already has an active response in progress: {}. Wait until the response is finished before creating a new one.",
                active.id()
            );
            return Err(Refusal("conversation_already_has_active_response", message));
        }
        let behaviour = self.behaviour.with(&wanted["metadata"]);
        let behaviour = behaviour.map_err(|why| Refusal("invalid_value", why))?;
        let mut config = self.config.clone();
        if wanted.is_object() {
            merge(&mut config, wanted.clone());
        }
        let read = self.read(&config, wanted);
        self.responses += 1;
        let mut reply = Reply::new(self.responses, behaviour, config, in_conversation, read);
        let previous = self.conversation.last();
        let mut events = reply.events(&previous);
        let failure = reply.behaviour.status.filter(|status| status.as_u16() >= 400).map(failure);
        if failure.is_some() {
            events.truncate(1);
        }
        let mut events: Vec<_> = events.into_iter().map(|event| self.numbered(event)).collect();
        let outcome = failure.as_ref().map_or(Outcome::Whole, Outcome::Failed);
        events.push(reply.done(outcome, &self.new_event_id()));
        let (number, sent) = (reply.number, std::sync::Arc::clone(&reply.sent));
        let turn = Turn { number, events, behaviour: reply.behaviour.clone(), sent };
        self.replies.push(reply);
        Ok(vec![Step::Begin(Box::new(turn))])
    }

    /// Returns the tokens that a response reads, and those of them that are cached.
    fn read(&mut self, config: &Value, wanted: &Value) -> (Tokens, Tokens) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tools = config["tools"].as_array().filter(|tools| !tools.is_empty());
        let prefix =
            text(&config["instructions"]) + &tools.map_or(String::new(), |_| config["tools"].to_string());
        let prefix_tokens = Tokens { text: self.counter.text(&prefix), ..Tokens::default() };
        let known = self.prefix_read.as_deref() == Some(prefix.as_str());
        self.prefix_read = Some(prefix);
        let (items, cached) = match wanted["input"].as_array() {
            Some(input) => {
                let format = self.input_format();
                let items = input.iter().map(|item| match self.conversation.find(&item["id"]) {
                    Some(item) => item.tokens,
                    None => Item::of(item.clone(), self.counter, format).tokens,
                });
                (items.fold(Tokens::default(), |all, one| all + one), Tokens::default())
            }
            None => self.conversation.read(),
        };
        (items + prefix_tokens, if known { cached + prefix_tokens } else { cached })
    }

    fn cancel_response(&mut self, event: &Value) -> Result<Vec<Step>, Refusal> {
        let id = &event["response_id"];
        let named = self.replies.iter().find(|reply| *id == *reply.id()).map(|reply| reply.number);
        let number = if id.is_null() { self.active().map(|reply| reply.number) } else { named };
        let steps = number.and_then(|number| self.cancel(number, "client_cancelled"));
        let message = || "Cancellation failed: no active response found".to_owned();
        steps.ok_or_else(|| Refusal("response_cancel_not_active", message()))
    }

    /// Cancels a response, if it is in progress.
    fn cancel(&mut self, number: usize, reason: &str) -> Option<Vec<Step>> {
        let index = self.replies.iter().position(|reply| reply.number == number)?;
        let reply = self.replies.remove(index);
        let done = reply.done(Outcome::Cancelled(reason), &self.new_event_id());
        self.keep(&reply);
        Some(vec![Step::Stop(number), Step::Send(done)])
    }

    fn keep(&mut self, reply: &Reply) {
        if let Some(item) = reply.answer().filter(|_| reply.in_conversation) {
            self.conversation.add(item);
        }
    }

    /// Returns the conversation's response in progress.
    fn active(&self) -> Option<&Reply> {
        self.replies.iter().find(|reply| reply.in_conversation)
    }

    fn input_format(&self) -> Format {
        Format::of(&self.config["audio"]["input"]["format"])
    }

    fn error(&mut self, Refusal(code, message): Refusal, cause: &Value) -> Step {
        self.send(json!({ "type": "error", "error": {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": null,
            "event_id": cause,
        }}))
    }

    fn send(&mut self, event: Value) -> Step {
        Step::Send(self.numbered(event))
    }

    fn numbered(&mut self, mut event: Value) -> String {
        event["event_id"] = self.new_event_id().into();
        event.to_string()
    }

    fn new_event_id(&mut self) -> String {
        self.events += 1;
        format!("event_mock_{}", self.events)
    }

    fn new_item_id(&mut self) -> String {
        self.items += 1;
        format!("item_mock_{}", self.items)
    }
}

/// Returns the error of a response that fails.
fn failure(status: StatusCode) -> Value {
    let answer = openai::error(status, "failed on request of x-mock-status");
    let body: Value = serde_json::from_slice(&answer.chunks.concat()).expect("an error is JSON");
    body["error"].clone()
}
