//! The end of a stream that is stopped early: documents that report to a client, in the form of its
//! API, that the output was cut at a length limit.
//!
//! In: the documents of a stream as they pass, then the usage. Out: the documents that end the
//! stream, and their bytes. A stream that has already ended, or has not begun, gets no ending. Not
//! here: the ending of each API (the format's own folder); the time when a stream is stopped
//! (`exchange`), and the place in its bytes (`answer`).
//!
//! An ending keeps only the names and numbers that it must repeat, and the one of Responses the
//! text that its last events repeat. All of it is bounded. An ending never reports a tool call as
//! complete if it was cut.

use core::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Usage, frames};
use crate::websocket::{Kind, data_frame};

/// The longest name, id or number that an ending repeats, in bytes.
const LONGEST_REPEATED: usize = 1024;

/// The state of a stream, as known from its documents so far.
pub trait Ending: fmt::Debug {
    /// Reads the next document.
    fn read(&mut self, json: &[u8]);

    /// Returns whether this stream can be ended, judging by its documents so far.
    fn is_possible(&self) -> bool {
        true
    }

    /// Returns the documents that end the stream here; none if it has already ended or cannot be
    /// ended yet.
    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>>;
}

/// The facts that an ending reports.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The requested model.
    pub model: &'a str,
    /// The usage.
    pub used: Usage,
    /// Whether to hide the usage-only chunk, because the client has not asked for it.
    pub hides_usage: bool,
}

/// The marker after the last event.
const DONE: &str = "[DONE]";

/// One document of an ending.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of its event; empty if it has none.
    event: &'static str,
    data: String,
}

impl Document {
    pub(super) fn new(event: &'static str, data: &Value) -> Self {
        Self { event, data: data.to_string() }
    }

    /// Returns the name of its event; empty if it has none.
    pub(super) const fn event(&self) -> &'static str {
        self.event
    }

    /// Returns its data, which is JSON except in the marker after the last event.
    pub(super) fn data(&self) -> &str {
        &self.data
    }

    /// Returns the marker after the last event, for OpenAI's and Cohere's clients.
    pub(super) fn done() -> Self {
        Self { event: "", data: DONE.to_owned() }
    }
}

/// The framing of documents in the bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Server-sent events.
    Events,
    /// Amazon's event stream frames.
    Frames,
    /// One document per line.
    Lines,
    /// The items of one list.
    List,
    /// The messages of a socket.
    Messages,
}

impl Shape {
    /// Returns the bytes that end a stream directly after one of its documents.
    pub(super) fn write(self, documents: &[Document]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Document { event, data } in documents {
            let name = if event.is_empty() { String::new() } else { format!("event: {event}\n") };
            match self {
                Self::Events => bytes.extend(format!("{name}data: {data}\n\n").bytes()),
                Self::Frames => bytes.extend(frames::encode(
                    &[
                        (":event-type", event),
                        (":content-type", "application/json"),
                        (":message-type", "event"),
                    ],
                    data.as_bytes(),
                )),
                Self::Lines => bytes.extend(format!("\n{data}").bytes()),
                Self::List => bytes.extend(format!(",\r\n{data}").bytes()),
                // The marker is for streams of events.
                Self::Messages if data == DONE => {}
                Self::Messages => bytes.extend(data_frame(Kind::Text, data.as_bytes(), None)),
            }
        }
        match self {
            Self::Events | Self::Frames | Self::Messages => {}
            Self::Lines => bytes.push(b'\n'),
            Self::List => bytes.extend(b"]"),
        }
        bytes
    }
}

/// The parallel choices of a stream by index, each with whether it has ended.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<(u64, bool)>);

impl Choices {
    /// The most choices that an ending closes, above any model's number.
    pub(super) const MOST: usize = 128;

    /// Records that a document of this choice has passed.
    pub(super) fn see(&mut self, index: u64, has_ended: bool) {
        if let Some((_, ended)) = self.0.iter_mut().find(|(of, _)| *of == index) {
            *ended |= has_ended;
        } else if self.0.len() < Self::MOST {
            self.0.push((index, has_ended));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the choices that have begun and not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter(|(_, ended)| !ended).map(|(index, _)| *index)
    }
}

/// Keeps a raw value for later repetition; none if it is too long.
pub(super) fn kept(raw: Option<&RawValue>) -> Option<Box<RawValue>> {
    raw.filter(|raw| raw.get().len() <= LONGEST_REPEATED).map(ToOwned::to_owned)
}

/// Returns a kept value; `null` if there is none.
pub(super) fn repeated(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Reads a member that is present, even as `null`.
pub(super) fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Returns the input, caches included, the output, and the sum of both.
pub(super) fn totals(used: &Usage) -> [u64; 3] {
    let (input, output) = (used.all_input(), used.all_output());
    [input, output, input.saturating_add(output)]
}

#[cfg(test)]
#[path = "ending_tests.rs"]
pub(super) mod tests;
