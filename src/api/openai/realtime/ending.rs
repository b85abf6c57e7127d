//! The ending of a response that is stopped early: `response.done` with the status `incomplete`, as
//! when its bound is reached.
//!
//! In: the events of a response, the usage so far. Out: the event. Not here: cancelling it at the
//! server (`socket`).

use serde_json::json;

use crate::api::ending::{Cut, Document, Ending, totals};
use crate::api::raw::{string, values};

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
        let event = core::str::from_utf8(json).unwrap_or_default();
        let kind = values(event, "type").pop().and_then(string).unwrap_or_default();
        self.has_ended |= kind == "response.done";
        if kind == "response.created" {
            let response = values(event, "response").pop().unwrap_or("null");
            let id = values(response, "id").pop().and_then(string);
            self.id = id.filter(|id| id.len() <= LONGEST_ID).map(std::borrow::Cow::into_owned);
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
