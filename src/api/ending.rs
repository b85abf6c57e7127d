//! The end of a stream that is stopped early: the documents that tell a client, in the words of its
//! API, that the output was cut for its length.
//!
//! In: the documents of a stream as they pass; then what was used. Out: the documents that end it,
//! and their bytes. A stream that has ended by itself, or has not begun, gets no ending. Not here:
//! the ending of each API, which is in the format's own folder; when a stream is stopped
//! (`exchange`), and where in its bytes (`answer`).
//!
//! An ending keeps only the names and numbers that it must repeat, and that of Responses the text
//! that its last events repeat; all of it bounded. No ending says that a tool call is complete that
//! was cut.

use core::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Usage, frames};

/// The longest name, id or number that an ending repeats, in bytes.
const LONGEST_REPEATED: usize = 1024;

/// The state of a stream, as its documents have shown it so far.
pub trait Ending: fmt::Debug {
    /// Takes in the next document.
    fn read(&mut self, json: &[u8]);

    /// Whether such a stream can be ended, as far as it has shown itself.
    fn is_possible(&self) -> bool {
        true
    }

    /// Writes the documents that end the stream here; none if it has ended already, or cannot be
    /// ended yet.
    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>>;
}

/// The facts that an ending tells.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The model asked for.
    pub model: &'a str,
    /// The usage.
    pub used: Usage,
    /// The client has not asked for the chunk that only tells usage.
    pub hides_usage: bool,
}

/// One document of an ending.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of its event; empty if its events have none.
    event: &'static str,
    data: String,
}

impl Document {
    pub(super) fn new(event: &'static str, data: &Value) -> Self {
        Self { event, data: data.to_string() }
    }

    /// The name of its event; empty if it has none.
    pub(super) const fn event(&self) -> &'static str {
        self.event
    }

    /// Its data: JSON, except at the end of all events.
    pub(super) fn data(&self) -> &str {
        &self.data
    }

    /// The end of all events for OpenAI's and Cohere's clients.
    pub(super) fn done() -> Self {
        Self { event: "", data: "[DONE]".to_owned() }
    }
}

/// The framing of documents in the bytes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Server-sent events.
    Events,
    /// Amazon's frames.
    Frames,
    /// Each on a line.
    Lines,
    /// The items of one list.
    List,
}

impl Shape {
    /// Writes the bytes that end a stream right behind one of its documents.
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
            }
        }
        match self {
            Self::Events | Self::Frames => {}
            Self::Lines => bytes.push(b'\n'),
            Self::List => bytes.extend(b"]"),
        }
        bytes
    }
}

/// The answers that a stream gives side by side, by their index, and whether each has ended.
#[derive(Debug, Default)]
pub(super) struct Choices(Vec<(u64, bool)>);

impl Choices {
    /// The most that are ended. No model gives as many.
    pub(super) const MOST: usize = 128;

    /// Notes that a document of this choice has passed.
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

    /// Those that have begun and not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter(|(_, ended)| !ended).map(|(index, _)| *index)
    }
}

/// Keeps a value as it was written, to be repeated; none that is too long.
pub(super) fn kept(raw: Option<&RawValue>) -> Option<Box<RawValue>> {
    raw.filter(|raw| raw.get().len() <= LONGEST_REPEATED).map(ToOwned::to_owned)
}

/// Gives a value that was kept; `null` if none was.
pub(super) fn repeated(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Reads a member that is there, even as `null`.
pub(super) fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// Sums up the input, as an API tells it that counts caches among it, the output, and both
/// together.
pub(super) fn totals(used: &Usage) -> [u64; 3] {
    let (input, output) = (used.all_input(), used.all_output());
    [input, output, input.saturating_add(output)]
}

#[cfg(test)]
#[path = "ending_tests.rs"]
pub(super) mod tests;
