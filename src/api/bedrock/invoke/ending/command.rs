//! The end of a stream of Cohere's Command: a last document with `is_finished` and `MAX_TOKENS`.
//! Command R's is a `stream-end`, which repeats the text.
//!
//! In: documents. Out: a document. Not here: Cohere's own API, which has other events
//! (`cohere::chat`). The end repeats no tool calls: a cut call does not count, and the client has
//! the earlier ones.
//!
//! Source: Amazon Bedrock's user guide, "Cohere Command models" and "Cohere Command R and Command
//! R+ models".

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::ending::{Cut, Document, Ending, kept, repeated};
use crate::api::raw::Text;

/// The most bytes of text kept to repeat. The last document omits a longer text.
const LONGEST_TEXT: usize = 256 * 1024;

/// The state of a stream.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// The documents are events, like Command R's.
    has_events: bool,
    ended: bool,
    id: Option<Box<RawValue>>,
    text: String,
    overlong: bool,
}

impl Command {
    pub(super) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }

    /// Returns all streamed text in the form of Command R's last event.
    fn response(&self) -> Value {
        json!({
            "text": self.text,
            "generation_id": repeated(self.id.as_deref()),
            "finish_reason": "MAX_TOKENS",
        })
    }
}

impl Ending for Command {
    fn read(&mut self, json: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return };
        self.has_events |= event.event_type.is_some();
        self.ended |= event.is_finished || event.finish_reason.is_some();
        self.id = kept(event.generation_id).or_else(|| self.id.take());
        if let Some(Text(text)) = event.text.filter(|_| self.has_events && !self.overlong) {
            self.overlong = self.text.len().saturating_add(text.len()) > LONGEST_TEXT;
            if self.overlong {
                self.text = String::new();
            } else {
                self.text.push_str(&text);
            }
        }
    }

    fn write(&self, _: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended {
            return None;
        }
        let mut last = json!({ "is_finished": true, "finish_reason": "MAX_TOKENS" });
        if let Some(last) = last.as_object_mut() {
            if self.has_events {
                last.insert("event_type".to_owned(), json!("stream-end"));
                last.insert("response".to_owned(), self.response());
            } else {
                last.insert("text".to_owned(), json!(""));
            }
        }
        Some(vec![Document::new("", &last)])
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(default)]
    is_finished: bool,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    generation_id: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
}
