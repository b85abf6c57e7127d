//! The events of a streamed message.
//!
//! In: a [`Message`]. Out: its events, each named and typed, in the order of the API: the message
//! starts with the usage of its input, each block starts, gets deltas and stops, and the last delta
//! carries the complete usage. Wire format: Anthropic's guide "Streaming messages". Not here: the
//! content (`mod.rs`).

use serde_json::{Value, json};

use super::{Behaviour, Block, INPUT, Message, SIGNATURE, TOOL_USE_ID, openai};

impl Message {
    /// Returns all events.
    pub(super) fn events(&self, behaviour: &Behaviour) -> Vec<String> {
        let opening = self.opening_usage.within(self.envelope(&[], None));
        let start = json!({ "type": "message_start", "message": opening });
        let mut events = vec![event(&start, &self.opening_usage.write(&start))];
        for (index, block) in self.blocks.iter().enumerate() {
            for mut filled in block.events(behaviour) {
                filled["index"] = index.into();
                events.push(event(&filled, &filled.to_string()));
                if index == 0 && filled["type"] == "content_block_start" {
                    let ping = json!({ "type": "ping" });
                    events.push(event(&ping, &ping.to_string()));
                }
            }
        }
        let delta = json!({ "stop_reason": self.stop_reason, "stop_sequence": null });
        let delta = self.usage.within(json!({ "type": "message_delta", "delta": delta }));
        events.push(event(&delta, &self.usage.write(&delta)));
        let stop = json!({ "type": "message_stop" });
        events.push(event(&stop, &stop.to_string()));
        events
    }
}

fn event(value: &Value, json: &str) -> String {
    openai::named(value["type"].as_str().unwrap_or_default(), json)
}

impl Block {
    fn events(&self, behaviour: &Behaviour) -> Vec<Value> {
        let (empty, deltas): (_, Vec<_>) = match self {
            Self::Thinking(thought) => (
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
                vec![
                    json!({ "type": "thinking_delta", "thinking": thought }),
                    json!({ "type": "signature_delta", "signature": SIGNATURE }),
                ],
            ),
            Self::Text(text) => (
                json!({ "type": "text", "text": "" }),
                text.pieces(behaviour).map(|piece| json!({ "type": "text_delta", "text": piece })).collect(),
            ),
            Self::ToolUse { name, text } => {
                let opening = format!("{{\"{INPUT}\":\"");
                // The first delta of a tool's input is empty.
                let pieces = [String::new(), opening].into_iter().chain(text.pieces(behaviour));
                (
                    json!({ "type": "tool_use", "id": TOOL_USE_ID, "name": name, "input": {} }),
                    pieces
                        .chain(Some("\"}".to_owned()).filter(|_| !text.cut))
                        .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
                        .collect(),
                )
            }
        };
        let start = json!({ "type": "content_block_start", "content_block": empty });
        let deltas = deltas.into_iter().map(|delta| json!({ "type": "content_block_delta", "delta": delta }));
        core::iter::once(start).chain(deltas).chain([json!({ "type": "content_block_stop" })]).collect()
    }
}
