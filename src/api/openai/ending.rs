//! The end of OpenAI's chat completions and of the older completions: a last chunk for each choice
//! with `finish_reason: "length"`, the usage chunk if the client sees usage at all, and `[DONE]`.
//!
//! In: chunks. Out: chunks. Not here: Responses, which has other events (`responses`).
//!
//! Source: OpenAI's API reference, "The chat completion chunk object", "Stream options" and "The
//! completion object".

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::ending::{Choices, Cut, Document, Ending, kept, repeated, there, totals};

/// The state of a stream of chunks.
#[derive(Debug)]
pub(in crate::api) struct Chunks {
    form: Form,
    id: Option<Box<RawValue>>,
    object: Option<Box<RawValue>>,
    created: Option<Box<RawValue>>,
    model: Option<Box<RawValue>>,
    choices: Choices,
    /// Chunks have a member for usage, even an empty one.
    shows_usage: bool,
    ended: bool,
}

/// The form of a choice's last chunk.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// The member that replaces the output, and its value.
    empty: (&'static str, fn() -> Value),
    /// The member with the reason of the end.
    reason: &'static str,
}

const DELTA: (&str, fn() -> Value) = ("delta", || json!({}));
const MESSAGE: (&str, fn() -> Value) = ("message", || json!({ "role": "assistant", "content": "" }));
const TEXT: (&str, fn() -> Value) = ("text", || json!(""));

const FINISH_REASON: &str = "finish_reason";
const STOP_REASON: &str = "stop_reason";

impl Chunks {
    pub(in crate::api) fn chat() -> Box<dyn Ending> {
        Self::boxed(Form { empty: DELTA, reason: FINISH_REASON })
    }

    pub(in crate::api) fn completions() -> Box<dyn Ending> {
        Self::boxed(Form { empty: TEXT, reason: FINISH_REASON })
    }

    /// Returns the ending for chunks like this one, which are not of OpenAI's own API; none if
    /// their form is unknown. Some models on Bedrock have whole messages in place of deltas, or
    /// text, and name the reason differently.
    pub(in crate::api) fn like(chunk: &[u8]) -> Option<Box<dyn Ending>> {
        let Chunk { choices, .. } = serde_json::from_slice(chunk).ok()?;
        let first = choices?.into_iter().next()?;
        let there = [(first.delta, DELTA), (first.message, MESSAGE), (first.text, TEXT)];
        let (_, empty) = there.into_iter().find(|(member, _)| member.is_some())?;
        // If a server has both members, `stop_reason` has the stop sequence.
        let is_other = first.stop_reason.is_some() && first.finish_reason.is_none();
        Some(Self::boxed(Form { empty, reason: if is_other { STOP_REASON } else { FINISH_REASON } }))
    }

    fn boxed(form: Form) -> Box<dyn Ending> {
        Box::new(Self {
            form,
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
        for Choice { index, finish_reason, stop_reason, .. } in choices {
            let reason = if self.form.reason == STOP_REASON { stop_reason } else { finish_reason };
            self.choices.see(index, reason.is_some_and(|reason| reason.get() != "null"));
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || self.choices.open().next().is_none() {
            return None;
        }
        let Form { empty: (member, empty), reason } = self.form;
        let last = |index| {
            let mut choice = json!({ "index": index, "logprobs": null, reason: "length" });
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
    /// `null` counts: a server shows it in chunks to clients that asked for usage.
    #[serde(borrow, default, deserialize_with = "there")]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, default, deserialize_with = "there")]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ending::tests::ended;

    #[test]
    fn a_stream_that_has_ended_is_not_ended() {
        let chunk = r#"{"choices":[{"index":0,"delta":{},"finish_reason":null}]}"#;
        let finished = chunk.replace("null", "\"stop\"");
        for end in [&finished, r#"{"error":{"message":"no"}}"#, "[DONE]"] {
            assert_eq!(ended(Chunks::chat(), &[chunk, end]), None, "{end}");
        }
    }

    #[test]
    fn only_choices_that_are_open_are_ended() {
        let chunk = |index: u64, reason: &str| {
            format!(r#"{{"id":"c","choices":[{{"index":{index},"delta":{{}},"finish_reason":{reason}}}]}}"#)
        };
        let chunks = [chunk(0, "null"), chunk(2, "null"), chunk(0, "\"stop\"")];
        let ended = ended(Chunks::chat(), &chunks.each_ref().map(String::as_str)).unwrap();
        assert_eq!(ended.len(), 2, "{ended:?}");
        assert_eq!((&ended[0]["choices"][0]["index"], &ended[1]), (&json!(2), &json!("[DONE]")));
    }

    #[test]
    fn what_a_stream_repeats_of_itself_is_bounded() {
        let chunk = format!(r#"{{"id":"{}","choices":[{{"index":0}}]}}"#, "x".repeat(100_000));
        assert_eq!(ended(Chunks::chat(), &[&chunk]).unwrap()[0]["id"], Value::Null);
        let many: Vec<_> = (0..10_000).map(|index| format!(r#"{{"index":{index}}}"#)).collect();
        let chunk = format!(r#"{{"choices":[{}]}}"#, many.join(","));
        assert_eq!(ended(Chunks::chat(), &[&chunk]).unwrap().len(), Choices::MOST + 1);
    }
}
