//! The end of a Cohere chat stream: it closes open content or tool calls, then sends `message-end`
//! with `MAX_TOKENS` and the usage.
//!
//! In: events. Out: events. Open citations need no closing: they carry their content when they
//! begin.
//!
//! Source: Cohere's API reference, "Chat with Streaming" (v2).

use serde::Deserialize;
use serde_json::json;

use crate::api::ending::{Cut, Document, Ending, totals};
use crate::api::raw::Text;

/// The state of a message.
#[derive(Debug, Default)]
pub(in crate::api) struct Chat {
    begun: bool,
    ended: bool,
    /// The event that closes the open content or tool call, and its index.
    open: Option<(&'static str, u64)>,
}

impl Chat {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Chat {
    fn read(&mut self, json: &[u8]) {
        self.ended |= json == b"[DONE]";
        let Ok(Event { kind: Text(kind), index }) = serde_json::from_slice(json) else { return };
        match &*kind {
            "message-start" => self.begun = true,
            "content-start" => self.open = Some(("content-end", index)),
            "tool-call-start" => self.open = Some(("tool-call-end", index)),
            "content-end" | "tool-call-end" => self.open = None,
            "message-end" | "error" => self.ended = true,
            _ => {}
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || !self.begun {
            return None;
        }
        let mut documents = Vec::new();
        if let Some((kind, index)) = self.open {
            documents.push(Document::new(kind, &json!({ "type": kind, "index": index })));
        }
        let [input, output, _] = totals(&cut.used);
        let tokens = json!({ "input_tokens": input, "output_tokens": output });
        let end = json!({
            "type": "message-end",
            "delta": {
                "finish_reason": "MAX_TOKENS",
                "usage": { "billed_units": tokens, "tokens": tokens },
            },
        });
        documents.push(Document::new("message-end", &end));
        documents.push(Document::done());
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
        let start = r#"{"type":"message-start"}"#;
        assert_eq!(ended(Chat::ending(), &[start, r#"{"type":"message-end"}"#]), None);
    }
}
