//! The end of a stream of OpenAI's Responses. It closes an open text, then `response.incomplete`
//! reports `max_output_tokens`, the output so far and the usage; then comes `[DONE]`.
//!
//! In: events. Out: events. Not here: chunks of completions (`openai::ending`).
//!
//! The output omits a tool call or reasoning that was cut, and sends no `done` for it, because
//! clients act on that. OpenAI does not send `[DONE]` here, but its clients take it for the end in
//! every stream; without it they would read until the connection closes.
//!
//! Source: OpenAI's API reference, "Streaming events" of Responses.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::ending::{Cut, Document, Ending, totals};
use crate::api::raw::Text;

/// The most bytes kept of the response at its beginning, which repeats the request's instructions
/// and tools.
const LONGEST_RESPONSE: usize = 64 * 1024;

/// The most bytes kept of the output to repeat. The last event omits a longer one.
const LONGEST_OUTPUT: usize = 256 * 1024;

/// The state of a response.
#[derive(Debug, Default)]
pub(in crate::api) struct Response {
    /// The response at its beginning.
    begun: Option<Value>,
    ended: bool,
    /// The number of the last event.
    sequence: u64,
    /// The finished items.
    output: Vec<Value>,
    /// The message that has begun and not ended.
    message: Option<Open>,
    /// The bytes kept of the output.
    size: usize,
    /// The output exceeds [`LONGEST_OUTPUT`].
    overlong: bool,
}

/// A message that has begun.
#[derive(Debug)]
struct Open {
    id: String,
    output_index: u64,
    /// The finished parts.
    parts: Vec<Value>,
    /// The text that has begun and not ended, and its index among the parts.
    text: Option<(u64, String)>,
}

impl Response {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }

    /// Counts more bytes of the output, and returns whether it is still kept.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.size = self.size.saturating_add(bytes);
        if self.size > LONGEST_OUTPUT {
            self.overlong = true;
            (self.output, self.message) = (Vec::new(), None);
        }
        !self.overlong
    }

    fn begin_item(&mut self, event: &Event<'_>) {
        let item = event.item.and_then(|raw| serde_json::from_str::<Item<'_>>(raw.get()).ok());
        self.message =
            item.filter(|item| item.kind.as_str() == "message" && !self.overlong).map(|item| Open {
                id: item.id.0.into_owned(),
                output_index: event.output_index,
                parts: Vec::new(),
                text: None,
            });
    }

    fn end_item(&mut self, event: &Event<'_>) {
        self.message = None;
        let Some(item) = event.item.map(RawValue::get) else { return };
        if self.has_room(item.len()) {
            self.output.extend(serde_json::from_str::<Value>(item));
        }
    }

    fn end_part(&mut self, event: &Event<'_>) {
        let part = event.part.map(RawValue::get).unwrap_or_default();
        if !self.has_room(part.len()) {
            return;
        }
        if let Some(message) = &mut self.message {
            message.text = None;
            message.parts.extend(serde_json::from_str::<Value>(part));
        }
    }

    fn extend_text(&mut self, event: &Event<'_>) {
        let Some(Text(delta)) = &event.delta else { return };
        if !self.has_room(delta.len()) {
            return;
        }
        if let Some((index, text)) = self.message.as_mut().and_then(|message| message.text.as_mut())
            && *index == event.content_index
        {
            text.push_str(delta);
        }
    }
}

impl Ending for Response {
    fn read(&mut self, json: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return };
        self.sequence = event.sequence_number.max(self.sequence);
        match event.kind.as_str() {
            "response.created" | "response.in_progress" => {
                let response = event.response.map(RawValue::get).unwrap_or_default();
                if self.begun.is_none() && response.len() <= LONGEST_RESPONSE {
                    self.begun = serde_json::from_str(response).ok();
                }
            }
            "response.output_item.added" => self.begin_item(&event),
            "response.output_item.done" => self.end_item(&event),
            "response.content_part.added" => {
                let kind = event.part.and_then(|raw| serde_json::from_str::<Part<'_>>(raw.get()).ok());
                let is_text = kind.is_some_and(|part| part.kind.as_str() == "output_text");
                if let Some(message) = &mut self.message {
                    message.text = is_text.then(|| (event.content_index, String::new()));
                }
            }
            "response.content_part.done" => self.end_part(&event),
            "response.output_text.delta" => self.extend_text(&event),
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.queued"
            | "error" => self.ended = true,
            _ => {}
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended {
            return None;
        }
        let mut response = match &self.begun {
            Some(Value::Object(response)) => response.clone(),
            _ => return None,
        };
        let mut output = self.output.clone();
        let mut writing = Writing { documents: Vec::new(), sequence: self.sequence };
        if let Some(message) = &self.message {
            output.push(writing.end_message(message));
        }
        let [input, written, total] = totals(&cut.used);
        let usage = json!({
            "input_tokens": input,
            "input_tokens_details": { "cached_tokens": cut.used.cached_input },
            "output_tokens": written,
            "output_tokens_details": { "reasoning_tokens": cut.used.reasoning },
            "total_tokens": total,
        });
        for (name, value) in [
            ("status", json!("incomplete")),
            ("incomplete_details", json!({ "reason": "max_output_tokens" })),
            ("output", Value::Array(output)),
            ("usage", usage),
        ] {
            response.insert(name.to_owned(), value);
        }
        writing.event("response.incomplete", [("response", Value::Object(response))]);
        writing.documents.push(Document::done());
        Some(writing.documents)
    }
}

/// The events to write, numbered in order.
struct Writing {
    documents: Vec<Document>,
    sequence: u64,
}

impl Writing {
    fn event<const N: usize>(&mut self, kind: &'static str, members: [(&str, Value); N]) {
        self.sequence = self.sequence.saturating_add(1);
        let numbered = [("type", json!(kind)), ("sequence_number", json!(self.sequence))];
        let members = numbered.into_iter().chain(members).map(|(name, value)| (name.to_owned(), value));
        self.documents.push(Document::new(kind, &Value::Object(members.collect::<Map<_, _>>())));
    }

    /// Ends a message and returns its form in the output.
    fn end_message(&mut self, message: &Open) -> Value {
        let Open { id, output_index, parts, text } = message;
        let mut parts = parts.clone();
        if let Some((content_index, text)) = text {
            let part = json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
            let place = || {
                [
                    ("item_id", json!(id)),
                    ("output_index", json!(output_index)),
                    ("content_index", json!(content_index)),
                ]
            };
            let [item_id, output_index, content_index] = place();
            let (text, logprobs) = (("text", json!(text)), ("logprobs", json!([])));
            self.event("response.output_text.done", [item_id, output_index, content_index, text, logprobs]);
            let [item_id, output_index, content_index] = place();
            let ended = ("part", part.clone());
            self.event("response.content_part.done", [item_id, output_index, content_index, ended]);
            parts.push(part);
        }
        let item = json!({
            "id": id,
            "type": "message",
            "status": "incomplete",
            "role": "assistant",
            "content": parts,
        });
        let place = ("output_index", json!(output_index));
        self.event("response.output_item.done", [place, ("item", item.clone())]);
        item
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    sequence_number: u64,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    part: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(default)]
    output_index: u64,
    #[serde(default)]
    content_index: u64,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    id: Text<'a>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
