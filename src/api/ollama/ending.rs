//! The end of an Ollama stream: a last line with `done`, `done_reason: "length"` and the counts.
//!
//! In: lines. Out: a line.
//!
//! Source: Ollama's API reference (`docs/api.md`), "Generate a completion" and "Generate a chat
//! completion".

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::ending::{Cut, Document, Ending, kept, repeated, totals};

/// The state of a stream.
#[derive(Debug)]
pub(in crate::api) struct Lines {
    /// The member that a last line has in place of text, and its value.
    empty: (&'static str, fn() -> Value),
    begun: bool,
    ended: bool,
    created: Option<Box<RawValue>>,
}

impl Lines {
    pub(in crate::api) fn chat() -> Box<dyn Ending> {
        Self::boxed(("message", || json!({ "role": "assistant", "content": "" })))
    }

    pub(in crate::api) fn generate() -> Box<dyn Ending> {
        Self::boxed(("response", || json!("")))
    }

    fn boxed(empty: (&'static str, fn() -> Value)) -> Box<dyn Ending> {
        Box::new(Self { empty, begun: false, ended: false, created: None })
    }
}

impl Ending for Lines {
    fn read(&mut self, json: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(json) else { return };
        self.begun = true;
        self.ended |= line.done_reason.is_some() || line.error.is_some();
        self.created = kept(line.created_at).or_else(|| self.created.take());
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        if self.ended || !self.begun {
            return None;
        }
        let [input, output, _] = totals(&cut.used);
        let mut line = json!({
            "model": cut.model,
            "done": true,
            "done_reason": "length",
            "prompt_eval_count": input,
            "eval_count": output,
        });
        if let Some(line) = line.as_object_mut() {
            let (member, empty) = self.empty;
            line.insert(member.to_owned(), empty());
            if self.created.is_some() {
                line.insert("created_at".to_owned(), repeated(self.created.as_deref()));
            }
        }
        Some(vec![Document::new("", &line)])
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    done_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ending::tests::ended;

    #[test]
    fn a_stream_that_has_ended_is_not_ended() {
        assert_eq!(ended(Lines::chat(), &[r#"{"message":{}}"#, r#"{"done_reason":"stop"}"#]), None);
    }
}
