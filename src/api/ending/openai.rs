//! The end of OpenAI's chat completions and of the older completions: a last chunk for each choice with `finish_reason: "length"`, the
//! chunk with the usage if the client sees usage at all, and `[DONE]`.
//!
//! In: chunks. Out: chunks. Not here: Responses, whose events are others (`responses`).
//!
//! Source: OpenAI's API reference, "The chat completion chunk object", "Stream options" and "The completion object".

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Choices, Cut, Document, Ending, kept, repeated, totals};

/// The state of a stream of chunks.
#[derive(Debug)]
pub(in crate::api) struct Chunks {
    /// The delta of a last chunk: a member and its value.
    empty: (&'static str, fn() -> Value),
    id: Option<Box<RawValue>>,
    object: Option<Box<RawValue>>,
    created: Option<Box<RawValue>>,
    model: Option<Box<RawValue>>,
    choices: Choices,
    /// Chunks have a member for usage, be it empty.
    shows_usage: bool,
    ended: bool,
}

impl Chunks {
    pub(in crate::api) fn chat() -> Box<dyn Ending> {
        Self::boxed(("delta", || json!({})))
    }

    pub(in crate::api) fn completions() -> Box<dyn Ending> {
        Self::boxed(("text", || json!("")))
    }

    fn boxed(empty: (&'static str, fn() -> Value)) -> Box<dyn Ending> {
        Box::new(Self {
            empty,
            id: None,
            object: None,
            created: None,
            model: None,
            choices: Choices::default(),
            shows_usage: false,
            ended: false,
        })
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": repeated(self.id.as_deref()),
            "object": repeated(self.object.as_deref()),
            "created": repeated(self.created.as_deref()),
            "model": repeated(self.model.as_deref()),
            "choices": choices,
        })
    }
}

impl Ending for Chunks {
    fn read(&mut self, json: &[u8]) {
        self.ended |= json == b"[DONE]";
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(json) else { return };
        self.ended |= chunk.error.is_some();
        self.shows_usage |= chunk.usage.is_some();
        let Some(choices) = chunk.choices else { return };
        if self.choices.is_empty() && !choices.is_empty() {
            self.id = kept(chunk.id);
            self.object = kept(chunk.object);
            self.created = kept(chunk.created);
            self.model = kept(chunk.model);
        }
        for Choice { index, finish_reason } in choices {
            let has_ended = finish_reason.is_some_and(|reason| reason.get() != "null");
            self.choices.see(index, has_ended);
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || self.choices.open().next().is_none() {
            return None;
        }
        let (member, empty) = self.empty;
        let last = |index| {
            let mut choice = json!({ "index": index, "logprobs": null, "finish_reason": "length" });
            if let Some(choice) = choice.as_object_mut() {
                choice.insert(member.to_owned(), empty());
            }
            Document::new("", &self.chunk(&json!([choice])))
        };
        let mut documents: Vec<_> = self.choices.open().map(last).collect();
        if self.shows_usage && !cut.hides_usage {
            let mut chunk = self.chunk(&json!([]));
            let [input, output, total] = totals(&cut.used);
            if let Some(chunk) = chunk.as_object_mut() {
                let usage =
                    json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": total });
                chunk.insert("usage".to_owned(), usage);
            }
            documents.push(Document::new("", &chunk));
        }
        documents.push(Document::done());
        Some(documents)
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    choices: Option<Vec<Choice<'a>>>,
    /// `null` counts: a server shows it in chunks of clients that have asked for usage.
    #[serde(borrow, default, deserialize_with = "super::there")]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}
