//! The end of a stream of completions, of OpenAI's API or of llama.cpp's own, which share a path.
//! llama.cpp's is a last event for each prompt with `stop`, `stop_type: "limit"` and the counts.
//!
//! In: events. Out: events. Not here: the end of OpenAI's streams (`openai::ending`).
//!
//! Source: llama.cpp, `tools/server/README.md`, "POST `/completion`", "Response format".

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::ending::{Choices, Cut, Document, Ending, totals};
use crate::api::openai::ending::Chunks;

/// The state of a stream.
#[derive(Debug)]
pub(in crate::api) struct Completions {
    /// The state of OpenAI's events.
    chunks: Box<dyn Ending>,
    /// The state of llama.cpp's events.
    prompts: Choices,
    failed: bool,
}

impl Completions {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::new(Self { chunks: Chunks::completions(), prompts: Choices::default(), failed: false })
    }
}

impl Ending for Completions {
    fn read(&mut self, json: &[u8]) {
        self.chunks.read(json);
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return };
        self.failed |= event.error.is_some();
        if let (Some(_), Some(stop)) = (event.content, event.stop) {
            self.prompts.see(event.index, stop);
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.prompts.is_empty() {
            return self.chunks.write(cut);
        }
        if self.failed || self.prompts.open().next().is_none() {
            return None;
        }
        let [input, output, _] = totals(&cut.used);
        let last = |index| {
            let event = json!({
                "index": index,
                "content": "",
                "tokens": [],
                "stop": true,
                "model": cut.model,
                "tokens_predicted": output,
                "tokens_evaluated": input,
                "truncated": false,
                "stop_type": "limit",
                "stopping_word": "",
            });
            Document::new("", &event)
        };
        Some(self.prompts.open().map(last).collect())
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    stop: Option<bool>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}
