//! The end of an Anthropic message. It closes the open block, `message_delta` reports `max_tokens`
//! and the output, and `message_stop` ends the stream.
//!
//! In: events. Out: events. Not here: the framing of event streams (`sse`). A tool call that was
//! cut leaves a block whose input is not JSON, as when the provider cuts it.
//!
//! Source: Anthropic's guide "Streaming messages".

use serde::Deserialize;
use serde_json::json;

use crate::api::ending::{Cut, Document, Ending};
use crate::api::raw::Text;

/// The state of a message.
#[derive(Debug, Default)]
pub(in crate::api) struct Message {
    begun: bool,
    ended: bool,
    /// The block that has begun and not ended, by its index.
    open: Option<u64>,
}

impl Message {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Message {
    fn read(&mut self, json: &[u8]) {
        let Ok(Event { kind: Text(kind), index }) = serde_json::from_slice(json) else { return };
        match &*kind {
            "message_start" => self.begun = true,
            "content_block_start" => self.open = Some(index),
            "content_block_stop" => self.open = None,
            "message_delta" | "message_stop" | "error" => self.ended = true,
            _ => {}
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || !self.begun {
            return None;
        }
        let event = |kind, data| Document::new(kind, &data);
        let mut documents = Vec::new();
        if let Some(index) = self.open {
            let stop = json!({ "type": "content_block_stop", "index": index });
            documents.push(event("content_block_stop", stop));
        }
        let delta = json!({
            "type": "message_delta",
            "delta": { "stop_reason": "max_tokens", "stop_sequence": null },
            "usage": { "output_tokens": cut.used.all_output() },
        });
        documents.push(event("message_delta", delta));
        documents.push(event("message_stop", json!({ "type": "message_stop" })));
        Some(documents)
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    index: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ending::tests::ended;

    #[test]
    fn a_message_that_has_ended_is_not_ended() {
        let message = r#"{"type":"message_start"}"#;
        for end in [r#"{"type":"message_delta"}"#, r#"{"type":"message_stop"}"#, r#"{"type":"error"}"#] {
            assert_eq!(ended(Message::ending(), &[message, end]), None, "{end}");
        }
    }
}
