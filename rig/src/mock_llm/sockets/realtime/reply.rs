//! A response of a Realtime session: its events and its usage.
//!
//! In: the tokens that it reads, and its text. Out: the events of the API in order, from
//! `response.created` to `response.done`, and the same last event for a response that was
//! cancelled. A word is one token of text; spoken, it is [`WORD_MS`] of sound and its transcript.
//! Not here: function calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::conversation::Item;
use super::sound::{self, Format, WORD_MS};
use crate::mock_llm::Behaviour;
use crate::mock_llm::sockets::modality::Tokens;
use crate::mock_llm::usage::Usage;
use crate::mock_llm::words::Text;

/// A response that has begun.
pub(super) struct Reply {
    pub(super) number: usize,
    pub(super) behaviour: Behaviour,
    /// How many of its events have been sent.
    pub(super) sent: Arc<AtomicUsize>,
    /// Whether it is part of the session's conversation.
    pub(super) in_conversation: bool,
    /// The session's configuration with what the client asked for this response.
    config: Value,
    /// The sound's format, unless the answer is text.
    sound: Option<Format>,
    input: Tokens,
    cached: Tokens,
    /// The pieces of its text, and the number of words in each.
    pieces: Vec<(String, usize)>,
    cut: bool,
    /// The number of events up to and with each piece.
    marks: Vec<usize>,
}

/// How a response ends.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    Whole,
    /// Cancelled, for this reason.
    Cancelled(&'a str),
    /// Failed with this error.
    Failed(&'a Value),
}

impl Reply {
    pub(super) fn new(
        number: usize,
        behaviour: Behaviour,
        config: Value,
        in_conversation: bool,
        (input, cached): (Tokens, Tokens),
    ) -> Self {
        let silent =
            config["output_modalities"].as_array().is_some_and(|all| all.iter().all(|one| one == "text"));
        let sound = (!silent).then(|| Format::of(&config["audio"]["output"]["format"]));
        let per_word = if silent { 1 } else { 1 + sound::spoken(WORD_MS) };
        let allowed = config["max_output_tokens"].as_u64().and_then(|n| usize::try_from(n).ok());
        let text = Text::of(&behaviour, allowed.map(|tokens| tokens / per_word));
        let pieces = text.pieces(&behaviour).zip(text.lengths(&behaviour)).collect();
        let cut = text.cut;
        let (sent, marks) = (Arc::default(), Vec::new());
        Self { number, behaviour, sent, in_conversation, config, sound, input, cached, pieces, cut, marks }
    }

    /// Returns all events but the last. `previous` is the id of the conversation's last item.
    pub(super) fn events(&mut self, previous: &Value) -> Vec<Value> {
        let (response, item) = (self.id(), self.item_id());
        let of_item = |kind: &str, more: Value| {
            let mut event = json!({ "type": kind, "response_id": response, "output_index": 0 });
            merge(&mut event, more);
            event
        };
        let of_part = |kind: &str, more: Value| {
            let mut event = of_item(kind, json!({ "item_id": item, "content_index": 0 }));
            merge(&mut event, more);
            event
        };
        let begun = json!({ "type": "response.created", "response": self.object("in_progress", &Value::Null, &json!([])) });
        let open = self.item("in_progress", 0);
        let mut events = vec![
            begun,
            rate_limits(),
            of_item("response.output_item.added", json!({ "item": open })),
            json!({ "type": "conversation.item.added", "previous_item_id": previous, "item": open }),
            of_part("response.content_part.added", json!({ "part": self.part("") })),
        ];
        for (text, words) in &self.pieces {
            let delta = json!({ "delta": text });
            match self.sound {
                None => events.push(of_part("response.output_text.delta", delta)),
                Some(format) => {
                    events.push(of_part("response.output_audio_transcript.delta", delta));
                    let delta = json!({ "delta": format.silence(words * WORD_MS) });
                    events.push(of_part("response.output_audio.delta", delta));
                }
            }
            self.marks.push(events.len());
        }
        let text = self.text(self.pieces.len());
        let whole = self.item(self.status(), self.pieces.len());
        if self.sound.is_some() {
            events.push(of_part("response.output_audio.done", json!({})));
            events.push(of_part("response.output_audio_transcript.done", json!({ "transcript": text })));
        } else {
            events.push(of_part("response.output_text.done", json!({ "text": text })));
        }
        events.push(of_part("response.content_part.done", json!({ "part": self.part(&text) })));
        events.push(json!({ "type": "conversation.item.done", "previous_item_id": previous, "item": whole }));
        events.push(of_item("response.output_item.done", json!({ "item": whole })));
        events
    }

    /// Returns `response.done`, with the usage of what has been or will have been sent.
    pub(super) fn done(&self, outcome: Outcome<'_>, event_id: &str) -> String {
        let (status, details, pieces) = match outcome {
            Outcome::Whole if self.cut => {
                let details = json!({ "type": "incomplete", "reason": "max_output_tokens" });
                ("incomplete", details, self.pieces.len())
            }
            Outcome::Whole => ("completed", Value::Null, self.pieces.len()),
            Outcome::Cancelled(reason) => {
                ("cancelled", json!({ "type": "cancelled", "reason": reason }), self.pieces_sent())
            }
            Outcome::Failed(error) => ("failed", json!({ "type": "failed", "error": error }), 0),
        };
        let item =
            if pieces == 0 { json!([]) } else { json!([self.item(self.status_after(pieces), pieces)]) };
        let usage = Usage::of(&self.behaviour, || self.usage(pieces));
        let response = usage.within(self.object(status, &details, &item));
        usage.write(&json!({ "type": "response.done", "event_id": event_id, "response": response }))
    }

    /// Returns its item for the conversation, as far as it was sent.
    pub(super) fn answer(&self) -> Option<Item> {
        let pieces = self.pieces_sent();
        let json = self.item(self.status_after(pieces), pieces);
        (pieces > 0).then(|| Item { json, tokens: self.output(pieces), read: false })
    }

    pub(super) fn id(&self) -> String {
        format!("resp_mock_{}", self.number)
    }

    fn item_id(&self) -> String {
        format!("item_mock_answer_{}", self.number)
    }

    fn pieces_sent(&self) -> usize {
        let sent = self.sent.load(Ordering::Relaxed);
        self.marks.iter().filter(|mark| **mark <= sent).count()
    }

    fn status(&self) -> &'static str {
        if self.cut { "incomplete" } else { "completed" }
    }

    fn status_after(&self, pieces: usize) -> &'static str {
        if pieces < self.pieces.len() { "incomplete" } else { self.status() }
    }

    fn text(&self, pieces: usize) -> String {
        self.pieces.iter().take(pieces).map(|(text, _)| text.as_str()).collect()
    }

    fn output(&self, pieces: usize) -> Tokens {
        let words = self.pieces.iter().take(pieces).map(|(_, words)| words).sum();
        let audio = if self.sound.is_some() { sound::spoken(words * WORD_MS) } else { 0 };
        Tokens { text: words, audio, image: 0 }
    }

    fn usage(&self, pieces: usize) -> Value {
        let output = self.output(pieces);
        json!({
            "total_tokens": self.input.total() + output.total(),
            "input_tokens": self.input.total(),
            "output_tokens": output.total(),
            "input_token_details": {
                "text_tokens": self.input.text,
                "audio_tokens": self.input.audio,
                "image_tokens": self.input.image,
                "cached_tokens": self.cached.total(),
                "cached_tokens_details": {
                    "text_tokens": self.cached.text,
                    "audio_tokens": self.cached.audio,
                    "image_tokens": self.cached.image,
                },
            },
            "output_token_details": { "text_tokens": output.text, "audio_tokens": output.audio },
        })
    }

    fn object(&self, status: &str, details: &Value, output: &Value) -> Value {
        json!({
            "object": "realtime.response",
            "id": self.id(),
            "status": status,
            "status_details": details,
            "output": output,
            "conversation_id": if self.in_conversation { "conv_mock".into() } else { Value::Null },
            "output_modalities": self.config["output_modalities"],
            "max_output_tokens": self.config["max_output_tokens"],
            "audio": { "output": {
                "format": self.config["audio"]["output"]["format"],
                "voice": self.config["audio"]["output"]["voice"],
            }},
            "usage": null,
            "metadata": self.config["metadata"],
        })
    }

    fn item(&self, status: &str, pieces: usize) -> Value {
        let content =
            if pieces == 0 { json!([]) } else { json!([self.content(&self.text(pieces), "output_")]) };
        json!({
            "id": self.item_id(),
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        })
    }

    /// Returns the part of `response.content_part` events, whose types lack the prefix of items.
    fn part(&self, text: &str) -> Value {
        self.content(text, "")
    }

    fn content(&self, text: &str, prefix: &str) -> Value {
        match self.sound {
            Some(_) => json!({ "type": format!("{prefix}audio"), "transcript": text }),
            None => json!({ "type": format!("{prefix}text"), "text": text }),
        }
    }
}

/// Adds the members of an object to another, recursively.
pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Returns the limits after a response has begun, which no test fills.
fn rate_limits() -> Value {
    json!({ "type": "rate_limits.updated", "rate_limits": [
        { "name": "requests", "limit": 1_000, "remaining": 999, "reset_seconds": 60.0 },
        { "name": "tokens", "limit": 50_000, "remaining": 49_950, "reset_seconds": 0.06 },
    ]})
}
