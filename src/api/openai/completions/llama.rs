//! The forms of llama.cpp's own completions.
//!
//! In: JSON documents of answers, and members of requests. Out: the shared types of `api`. Not
//! here: whole requests, which `request` reads like OpenAI's, and prompts that are objects
//! (`prompts`).
//!
//! Source: llama.cpp, `tools/server/README.md` ("POST `/completion`", "POST `/infill`"),
//! `server-task.cpp` and `server-context.cpp`. `tokens_cached` is all that a slot holds after the
//! call, so the tokens read from the cache come from `timings.cache_n`. With several prompts, each
//! answer has its `index` and its own counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::number::Whole;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{entries, string};
use crate::api::{Answer, Edit, Piece, ReportedUsage};

/// The members of an answer that [`answer`] uses.
pub(super) const ANSWER_MEMBERS: [&str; 5] =
    ["index", "content", "tokens_evaluated", "tokens_predicted", "timings"];

/// The member of a request that lists the parts of the answer for the client.
pub(super) const RESPONSE_FIELDS: &str = "response_fields";

/// The members of a request that are read in addition to the prompt, before it.
pub(super) const INFILL: [&str; 3] = ["input_extra", "input_prefix", "input_suffix"];

/// Reads a whole answer, or one event of a stream; each event reports the counts so far.
pub(super) fn answer(json: &[u8]) -> Answer<'_> {
    let Ok(document) = serde_json::from_slice::<Document<'_>>(json) else { return Answer::default() };
    let mut answer = Answer { part: document.index.count(), ..Answer::default() };
    answer.text.extend(document.content.map(RawValue::get).and_then(string));
    if document.is_counted() {
        answer.tell(serde_json::from_slice(json).ok(), Document::told);
    }
    answer
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(default)]
    index: Whole,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    tokens_evaluated: Whole,
    #[serde(default)]
    tokens_predicted: Whole,
    timings: Option<Timings>,
}

/// The tokens read from the cache, read anew, and written.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Timings {
    cache_n: Whole,
    prompt_n: Whole,
    predicted_n: Whole,
}

impl Document<'_> {
    fn is_counted(&self) -> bool {
        self.timings.is_some()
            || [self.tokens_evaluated, self.tokens_predicted].iter().any(|count| *count != Whole::Absent)
    }

    /// Returns the reported usage; none if a count is invalid.
    fn told(self) -> Option<ReportedUsage> {
        let timings = self.timings.unwrap_or_default();
        let counts = [self.tokens_evaluated, self.tokens_predicted, timings.prompt_n, timings.predicted_n];
        if counts.contains(&Whole::Invalid) {
            return None;
        }
        let cached = timings.cache_n.count();
        let read = self.tokens_evaluated.count().map(|all| all.saturating_sub(cached.unwrap_or_default()));
        Some(ReportedUsage {
            input: read.or_else(|| timings.prompt_n.count()),
            cached_input: cached,
            output: self.tokens_predicted.count().or_else(|| timings.predicted_n.count()),
            ..ReportedUsage::default()
        })
    }
}

/// Returns the text around the gap to fill, and the text of other files.
pub(super) fn infill<'a>(members: &Members<'a>) -> Vec<Piece<'a>> {
    let texts = INFILL.iter().flat_map(|name| members.items(name)).flat_map(|raw| match string(raw) {
        Some(text) => vec![text],
        None => entries(raw).unwrap_or_default().into_iter().filter_map(|(_, value)| string(value)).collect(),
    });
    texts.map(Piece::Text).collect()
}

/// Returns the edit that keeps the counts in an answer that the client restricts to some members.
pub(super) fn ask_for_counts(outline: &Outline<'_>, _: &str) -> Option<Edit> {
    let members = outline.members(&[RESPONSE_FIELDS]).ok()?;
    let wanted = members.raw(RESPONSE_FIELDS).filter(|raw| raw.starts_with('['))?;
    let names: Vec<_> = members.items(RESPONSE_FIELDS).into_iter().filter_map(string).collect();
    let missing: Vec<_> = ["tokens_evaluated", "tokens_predicted"]
        .into_iter()
        .filter(|count| !names.iter().any(|name| name == count))
        .map(|count| format!("\"{count}\","))
        .collect();
    // An empty list stands for all members.
    if names.is_empty() || missing.is_empty() {
        return None;
    }
    let inside = members.place(wanted).start.saturating_add(1);
    Some(Edit { range: inside..inside, text: missing.concat().into() })
}

#[cfg(test)]
#[path = "llama_tests.rs"]
mod tests;
