//! How a stream is ended before its time: what tells a client, in the words of the API, that the
//! output was cut for its length.
//!
//! In: the documents of a stream as they pass; then what was used. Out: the documents that end it,
//! and their bytes. A stream that has ended by itself, or has not begun, is not ended. Not here:
//! when a stream is ended (`exchange`), and where in its bytes (`answer`).
//!
//! Of what passes only names and numbers are kept that the ending must repeat, and of Responses the
//! text that its last events repeat; all of it bounded. A tool call that was cut is never told to
//! be complete. One file per API.

pub(super) mod anthropic;
pub(super) mod bedrock;
pub(super) mod cohere;
pub(super) mod gemini;
pub(super) mod invoke;
pub(super) mod llama;
pub(super) mod ollama;
pub(super) mod openai;
pub(super) mod responses;

use core::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Usage, frames};

/// How much is kept of a name, an id or a number that the ending repeats.
const LONGEST_REPEATED: usize = 1024;

/// What a stream has shown of itself so far.
pub trait Ending: fmt::Debug {
    /// Takes in the next document.
    fn read(&mut self, json: &[u8]);

    /// Whether such a stream can be ended, as far as it has shown itself.
    fn is_possible(&self) -> bool {
        true
    }

    /// What ends the stream here; none if it has ended already, or cannot be ended yet.
    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>>;
}

/// What an ending is told.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The model asked for.
    pub model: &'a str,
    /// What was used.
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
    fn new(event: &'static str, data: &Value) -> Self {
        Self { event, data: data.to_string() }
    }

    /// What OpenAI's and Cohere's clients take for the end of all events.
    fn done() -> Self {
        Self { event: "", data: "[DONE]".to_owned() }
    }
}

/// How documents stand in the bytes of a stream.
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
    /// The bytes that end a stream right behind one of its documents.
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
struct Choices(Vec<(u64, bool)>);

impl Choices {
    /// How many are ended; more of them than any model gives are not.
    const MOST: usize = 128;

    fn see(&mut self, index: u64, has_ended: bool) {
        if let Some((_, ended)) = self.0.iter_mut().find(|(of, _)| *of == index) {
            *ended |= has_ended;
        } else if self.0.len() < Self::MOST {
            self.0.push((index, has_ended));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that have begun and not ended.
    fn open(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter(|(_, ended)| !ended).map(|(index, _)| *index)
    }
}

/// A value to be repeated as it was written; none that is too long.
fn kept(raw: Option<&RawValue>) -> Option<Box<RawValue>> {
    raw.filter(|raw| raw.get().len() <= LONGEST_REPEATED).map(ToOwned::to_owned)
}

/// A value that was kept, as a value.
fn repeated(raw: Option<&RawValue>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// A member that is there, even as `null`.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The input in all, as an API tells it that counts caches among it; the output in all; and both
/// together.
fn totals(used: &Usage) -> [u64; 3] {
    let (input, output) = (used.all_input(), used.all_output());
    [input, output, input.saturating_add(output)]
}

#[cfg(test)]
mod tests;
