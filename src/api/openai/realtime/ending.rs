//! The ending of a response that is stopped early: `response.done` with the status `incomplete`, as
//! when its bound is reached.
//!
//! In: the events of a response, the usage so far. Out: the event. Not here: cancelling it at the
//! server (`socket`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::ending::{Cut, Document, Ending, totals};
use crate::api::raw::{Text, string, values};

/// The most bytes kept of the response's id.
const LONGEST_ID: usize = 256;

/// A response that has begun.
#[derive(Debug, Default)]
pub(super) struct Talked {
    id: Option<String>,
    has_ended: bool,
}

impl Talked {
    pub(super) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Talked {
    fn read(&mut self, json: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return };
        match event.kind.as_str() {
            "response.created" => {
                let response = event.response.map_or("null", RawValue::get);
                let id = values(response, "id").pop().and_then(string);
                self.id = id.filter(|id| id.len() <= LONGEST_ID).map(Cow::into_owned);
            }
            "response.done" => self.has_ended = true,
            _ => {}
        }
    }

    fn is_possible(&self) -> bool {
        self.id.is_some() && !self.has_ended
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        let id = self.id.as_ref().filter(|_| !self.has_ended)?;
        let [input, output, total] = totals(&cut.used);
        let used = &cut.used;
        let heard = used.audio_input.saturating_add(used.cached_audio_input);
        let event = json!({
            "type": "response.done",
            "event_id": "event_tollgate",
            "response": {
                "object": "realtime.response",
                "id": id,
                "status": "incomplete",
                "status_details": { "type": "incomplete", "reason": "max_output_tokens" },
                "output": [],
                "usage": {
                    "total_tokens": total,
                    "input_tokens": input,
                    "output_tokens": output,
                    "input_token_details": {
                        "text_tokens": input.saturating_sub(heard),
                        "audio_tokens": heard,
                        "cached_tokens": used.cached_input.saturating_add(used.cached_audio_input),
                    },
                    "output_token_details": {
                        "text_tokens": output.saturating_sub(used.audio_output),
                        "audio_tokens": used.audio_output,
                    },
                },
            },
        });
        Some(vec![Document::new("", &event)])
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}
