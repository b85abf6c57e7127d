//! The end of a stream of Bedrock's InvokeModel: that of the model's own API, each document in
//! base64 within `{"bytes"}`, the last one with Amazon's own count.
//!
//! In: the payloads of frames. Out: payloads of events of the type `chunk`. Not here: the members
//! that distinguish forms when reading usage (`answer`), and endings shared with other APIs, which
//! are in their modules.
//!
//! The first document of a known form decides the form. A stream without such a document cannot be
//! ended.
//!
//! Source: Amazon Bedrock's API reference, "InvokeModelWithResponseStream" and "PayloadPart"; its
//! user guide, "Inference request parameters and response fields for foundation models"; Amazon
//! Nova's user guide, "Streaming responses"; AWS's code examples for
//! `amazon-bedrock-invocationMetrics`, which the last chunk of every stream has.

mod command;
mod nova;
mod plain;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::api::bedrock::converse::ending::input_beside_caches;
use crate::api::ending::{Cut, Document, Ending};
use crate::api::raw::Text;
use crate::api::{anthropic, openai};
use command::Command;
use nova::Nova;
use plain::Plain;

/// Amazon's count, a member of the last document.
const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// The state of a stream.
#[derive(Debug, Default)]
pub(in crate::api) struct Invoke {
    /// The ending of this model's streams, once the form is known.
    own: Option<Box<dyn Ending>>,
    /// A document of any form has passed.
    begun: bool,
    ended: bool,
}

impl Invoke {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Invoke {
    fn read(&mut self, json: &[u8]) {
        let Ok(payload) = serde_json::from_slice::<Payload<'_>>(json) else { return };
        // A payload with a message is an exception, the last of a stream.
        self.ended |= payload.message.is_some();
        let Some(Text(bytes)) = payload.bytes else { return };
        self.begun = true;
        let Ok(document) = STANDARD.decode(bytes.as_bytes()) else { return };
        let Ok(form) = serde_json::from_slice::<Form<'_>>(&document) else { return };
        self.ended |= form.metrics.is_some();
        if self.own.is_none() {
            self.own = form.ending(&document);
        }
        if let Some(own) = &mut self.own {
            own.read(&document);
        }
    }

    fn is_possible(&self) -> bool {
        self.own.is_some() || !self.begun
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended {
            return None;
        }
        // Amazon's count has the usage. A chunk with nothing else is unusual here, and clients
        // expect a choice in every chunk.
        let documents = self.own.as_ref()?.write(&Cut { hides_usage: true, ..*cut })?;
        // Omits `[DONE]`.
        let objects = documents.iter().filter_map(|document| serde_json::from_str(document.data()).ok());
        let mut objects: Vec<Map<String, Value>> = objects.collect();
        objects.last_mut()?.insert(METRICS.to_owned(), metrics(cut));
        Some(objects.into_iter().map(|object| chunk(&Value::Object(object))).collect())
    }
}

/// Returns Amazon's count. The latencies are not known here.
fn metrics(cut: &Cut<'_>) -> Value {
    let used = &cut.used;
    let mut metrics = json!({
        "inputTokenCount": input_beside_caches(used),
        "outputTokenCount": used.all_output(),
        "invocationLatency": 0,
        "firstByteLatency": 0,
    });
    let written = used.cache_write.saturating_add(used.cache_write_1h);
    let caches = [("cacheReadInputTokenCount", used.cached_input), ("cacheWriteInputTokenCount", written)];
    if let Some(metrics) = metrics.as_object_mut() {
        let there = caches.into_iter().filter(|(_, count)| *count > 0);
        metrics.extend(there.map(|(name, count)| (name.to_owned(), json!(count))));
    }
    metrics
}

fn chunk(document: &Value) -> Document {
    Document::new("chunk", &json!({ "bytes": STANDARD.encode(document.to_string()) }))
}

/// The payload of a frame.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    bytes: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// The members that distinguish the forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message_start: Option<&'a RawValue>,
    #[serde(borrow)]
    generation: Option<&'a RawValue>,
    #[serde(borrow)]
    output_text: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    #[serde(borrow)]
    completion: Option<&'a RawValue>,
    #[serde(borrow, rename = "is_finished")]
    is_finished: Option<&'a RawValue>,
    #[serde(borrow, rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<&'a RawValue>,
}

impl Form<'_> {
    /// Begins the ending for streams of such documents.
    fn ending(&self, document: &[u8]) -> Option<Box<dyn Ending>> {
        if self.choices.is_some() {
            return openai::ending::Chunks::like(document);
        }
        let plain = [
            (self.completion, plain::CLAUDE),
            (self.generation, plain::LLAMA),
            (self.output_text, plain::TITAN),
            (self.outputs, plain::MISTRAL),
        ];
        if let Some((_, last)) = plain.into_iter().find(|(member, _)| member.is_some()) {
            return Some(Plain::ending(last));
        }
        if self.is_finished.is_some() {
            return Some(Command::ending());
        }
        if self.message_start.is_some() {
            return Some(Nova::ending());
        }
        let is_message = self.kind.is_some_and(|kind| kind.get() == "\"message_start\"");
        is_message.then(anthropic::ending::Message::ending)
    }
}

#[cfg(test)]
mod tests;
