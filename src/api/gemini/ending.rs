//! The end of a Gemini stream: one more answer, in which each open candidate finishes with
//! `MAX_TOKENS`, with the usage.
//!
//! In: answers. Out: an answer. Not here: their framing as events or items of a list.
//!
//! Source: Google's "Gemini API reference", "GenerateContentResponse".

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::api::ending::{Choices, Cut, Document, Ending, kept, repeated};
use crate::api::raw::items;

/// The state of a stream.
#[derive(Debug, Default)]
pub(in crate::api) struct Candidates {
    ended: bool,
    seen: Choices,
    version: Option<Box<RawValue>>,
    id: Option<Box<RawValue>>,
}

impl Candidates {
    pub(in crate::api) fn ending() -> Box<dyn Ending> {
        Box::<Self>::default()
    }
}

impl Ending for Candidates {
    fn read(&mut self, json: &[u8]) {
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(json) else { return };
        self.ended |= answer.error.is_some();
        if self.seen.is_empty() {
            self.version = kept(answer.version);
            self.id = kept(answer.id);
        }
        for candidate in answer.candidates.map(|raw| items(raw.get())).unwrap_or_default() {
            let Ok(Candidate { index, finish }) = serde_json::from_str(candidate) else { continue };
            let has_finished = finish.is_some_and(|finish| finish.get() != "null");
            self.seen.see(index, has_finished);
        }
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        let open = self.seen.open();
        let last = |index| {
            json!({
                "content": { "role": "model", "parts": [ { "text": "" } ] },
                "finishReason": "MAX_TOKENS",
                "index": index,
            })
        };
        let candidates: Vec<_> = open.map(last).collect();
        if self.ended || candidates.is_empty() {
            return None;
        }
        let used = &cut.used;
        let mut answer = json!({
            "candidates": candidates,
            "usageMetadata": {
                "promptTokenCount": used.all_input(),
                "cachedContentTokenCount": used.cached_input,
                "candidatesTokenCount": used.all_output().saturating_sub(used.reasoning),
                "thoughtsTokenCount": used.reasoning,
                "totalTokenCount": used.all_input().saturating_add(used.all_output()),
            },
        });
        if let Some(answer) = answer.as_object_mut() {
            for (name, value) in [("modelVersion", &self.version), ("responseId", &self.id)] {
                if value.is_some() {
                    answer.insert(name.to_owned(), repeated(value.as_deref()));
                }
            }
        }
        Some(vec![Document::new("", &answer)])
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    candidates: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow, rename = "modelVersion")]
    version: Option<&'a RawValue>,
    #[serde(borrow, rename = "responseId")]
    id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Candidate<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow, rename = "finishReason")]
    finish: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ending::tests::ended;

    #[test]
    fn candidates_that_have_finished_are_not_ended() {
        let candidate = r#"{"candidates":[{"index":0}]}"#;
        let finished = candidate.replace("0}", "0,\"finishReason\":\"STOP\"}");
        assert_eq!(ended(Candidates::ending(), &[candidate, &finished]), None);
    }
}
