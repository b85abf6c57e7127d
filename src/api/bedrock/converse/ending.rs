//! The end of a stream of Bedrock's Converse. It closes the open block, `messageStop` reports
//! `max_tokens`, and `metadata` the usage.
//!
//! In: the payloads of frames; their members show their kind. Out: payloads and the types of their
//! events. Not here: streams of InvokeModel, which each have their model's form
//! (`bedrock::invoke`).
//!
//! Source: Amazon Bedrock's API reference, "ConverseStreamOutput".

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::Usage;
use crate::api::ending::{Cut, Document, Ending};

/// The state of a message.
#[derive(Debug, Default)]
pub(in crate::api) struct Converse {
    begun: bool,
    ended: bool,
    /// The block that has begun and not ended, by its index. A text block begins with its first
    /// delta.
    open: Option<u64>,
}

impl Converse {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Converse {
    fn read(&mut self, json: &[u8]) {
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(json) else { return };
        self.begun |= payload.role.is_some();
        // Any other payload with a message is an exception, the last of a stream.
        self.ended |= payload.stop_reason.is_some() || payload.message.is_some();
        if let Some(index) = payload.index {
            let goes_on = payload.start.is_some() || payload.delta.is_some();
            self.open = goes_on.then_some(index);
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || !self.begun {
            return None;
        }
        let mut documents = Vec::new();
        if let Some(index) = self.open {
            documents.push(Document::new("contentBlockStop", &json!({ "contentBlockIndex": index })));
        }
        documents.push(Document::new("messageStop", &json!({ "stopReason": "max_tokens" })));
        let output = cut.used.all_output();
        let written = cut.used.cache_write.saturating_add(cut.used.cache_write_1h);
        let metadata = json!({
            "usage": {
                "inputTokens": input_beside_caches(&cut.used),
                "outputTokens": output,
                "totalTokens": cut.used.all_input().saturating_add(output),
                "cacheReadInputTokens": cut.used.cached_input,
                "cacheWriteInputTokens": written,
            },
            "metrics": { "latencyMs": 0 },
        });
        documents.push(Document::new("metadata", &metadata));
        Some(documents)
    }
}

/// Returns the input in Amazon's form, without the tokens read from caches and written to them.
pub(in crate::api::bedrock) fn input_beside_caches(used: &Usage) -> u64 {
    let caches = [used.cached_input, used.cache_write, used.cache_write_1h];
    caches.into_iter().fold(used.all_input(), u64::saturating_sub)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(rename = "contentBlockIndex")]
    index: Option<u64>,
    #[serde(borrow)]
    start: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ending::tests::ended;

    #[test]
    fn a_message_that_has_ended_is_not_ended() {
        let role = r#"{"role":"assistant"}"#;
        for end in [r#"{"stopReason":"end_turn"}"#, r#"{"message":"too many requests"}"#] {
            assert_eq!(ended(Converse::ending(), &[role, end]), None, "{end}");
        }
    }
}
