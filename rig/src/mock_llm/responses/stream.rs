//! The events of a streamed response.
//!
//! In: a [`Reply`]. Out: its events, each named, typed and numbered, in the order of the API: the
//! response begins, each item is added, gets deltas and is done, and the response ends. Wire
//! format: OpenAI's API reference, "Responses, streaming events". Not here: `[DONE]`, which this
//! API does not send.

use serde_json::{Value, json};

use super::{ARGUMENTS, Behaviour, Item, Reply, Stage, openai, output_text};

impl Reply {
    /// Returns all events of a stream over HTTP.
    pub(super) fn events(&self, behaviour: &Behaviour) -> Vec<String> {
        let named = self.typed_events(behaviour).into_iter().map(|(name, json)| openai::named(&name, &json));
        named.collect()
    }

    /// Returns the type and the JSON of all events.
    pub(super) fn typed_events(&self, behaviour: &Behaviour) -> Vec<(String, String)> {
        let of_response = |kind: &str, stage| json!({ "type": format!("response.{kind}"), "response": self.response(stage) });
        let mut events = if self.background() {
            vec![of_response("created", Stage::Queued), of_response("queued", Stage::Queued)]
        } else {
            vec![of_response("created", Stage::Begun)]
        };
        events.push(of_response("in_progress", Stage::Begun));
        for (index, item) in self.items.iter().enumerate() {
            events.extend(item.events(index, self, behaviour));
        }
        events.push(of_response(self.status(), Stage::Ended));

        let numbered = events.into_iter().enumerate().map(|(number, mut event)| {
            event["sequence_number"] = number.into();
            (event["type"].as_str().unwrap_or_default().to_owned(), self.usage.write(&event))
        });
        numbered.collect()
    }
}

impl Item {
    fn events(&self, index: usize, reply: &Reply, behaviour: &Behaviour) -> Vec<Value> {
        let whole = self.whole(index, reply);
        let added = |empty: &str, nothing: Value| {
            let mut item = whole.clone();
            item[empty] = nothing;
            if item["status"].is_string() {
                item["status"] = "in_progress".into();
            }
            json!({ "type": "response.output_item.added", "output_index": index, "item": item })
        };
        let id = self.id(index);
        let event = |kind: &str, more: Value| {
            let mut event =
                json!({ "type": format!("response.{kind}"), "item_id": id, "output_index": index });
            if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
                event.extend(more);
            }
            event
        };
        let mut events = match self {
            Self::Reasoning(summary) => {
                let part = |text: &str| json!({ "summary_index": 0, "part": { "type": "summary_text", "text": text } });
                vec![
                    added("summary", json!([])),
                    event("reasoning_summary_part.added", part("")),
                    event("reasoning_summary_text.delta", json!({ "summary_index": 0, "delta": summary })),
                    event("reasoning_summary_text.done", json!({ "summary_index": 0, "text": summary })),
                    event("reasoning_summary_part.done", part(summary)),
                ]
            }
            Self::Message(text) => {
                let part = |text: &str| json!({ "content_index": 0, "part": output_text(text) });
                let delta = |piece| json!({ "content_index": 0, "delta": piece, "logprobs": [] });
                let opening =
                    [added("content", json!([])), event("content_part.added", part(""))].into_iter();
                let deltas = text.pieces(behaviour).map(|piece| event("output_text.delta", delta(piece)));
                let text = text.whole();
                let done = json!({ "content_index": 0, "text": text, "logprobs": [] });
                let closing = [event("output_text.done", done), event("content_part.done", part(&text))];
                opening.chain(deltas).chain(closing).collect()
            }
            Self::Call { text, .. } => {
                let [opening, closing] = ARGUMENTS.map(str::to_owned);
                let pieces = core::iter::once(opening)
                    .chain(text.pieces(behaviour))
                    .chain(Some(closing).filter(|_| !text.cut));
                let deltas =
                    pieces.map(|piece| event("function_call_arguments.delta", json!({ "delta": piece })));
                let done = json!({ "name": whole["name"], "arguments": whole["arguments"] });
                core::iter::once(added("arguments", "".into()))
                    .chain(deltas)
                    .chain([event("function_call_arguments.done", done)])
                    .collect()
            }
        };
        events.push(json!({ "type": "response.output_item.done", "output_index": index, "item": whole }));
        events
    }
}
