//! The end of a stream of Amazon's Nova: that of Converse, with each event in an object of its
//! name.
//!
//! In: documents. Out: documents. Not here: the events themselves (`converse`).
//!
//! Source: Amazon Nova's user guide, "Streaming responses".

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::bedrock::converse::ending::Converse;
use crate::api::ending::{Cut, Document, Ending};

/// The state of a message.
#[derive(Debug)]
pub(super) struct Nova(Box<dyn Ending>);

impl Nova {
    pub(super) fn ending() -> Box<dyn Ending> {
        Box::new(Self(Converse::ending()))
    }
}

impl Ending for Nova {
    fn read(&mut self, json: &[u8]) {
        let Ok(Named { start, block_start, delta, block_stop, stop }) = serde_json::from_slice(json) else {
            return;
        };
        for event in [start, block_start, delta, block_stop, stop].into_iter().flatten() {
            self.0.read(event.get().as_bytes());
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        let events = self.0.write(cut)?;
        let named = events.iter().filter_map(|document| {
            let data: &RawValue = serde_json::from_str(document.data()).ok()?;
            Some(Document::new("", &json!({ document.event(): data })))
        });
        Some(named.collect())
    }
}

/// An event in an object with its name.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "messageStart")]
    start: Option<&'a RawValue>,
    #[serde(borrow, rename = "contentBlockStart")]
    block_start: Option<&'a RawValue>,
    #[serde(borrow, rename = "contentBlockDelta")]
    delta: Option<&'a RawValue>,
    #[serde(borrow, rename = "contentBlockStop")]
    block_stop: Option<&'a RawValue>,
    #[serde(borrow, rename = "messageStop")]
    stop: Option<&'a RawValue>,
}
