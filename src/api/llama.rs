//! llama.cpp's own completions: `POST …/completion` and `…/infill`; on `…/completions` it speaks
//! them, too, unless the path begins with `/v1`.
//!
//! In: JSON documents of answers, and members of requests. Out: what the shared types of `api` say.
//! Not here: requests as a whole, which are read as those of OpenAI's completions are, because the
//! two share a path; llama.cpp's chat, messages and embeddings, which are those of other APIs;
//! reranking.
//!
//! Source: llama.cpp, `tools/server/README.md` ("POST `/completion`", "POST `/infill`"),
//! `server-task.cpp` and `server-context.cpp`. `tokens_cached` is all that a slot holds after the
//! call, so that what was read from the cache is taken from `timings.cache_n`. Of several prompts
//! each answer has its `index` and its own counts.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::media::decoded_len;
use super::number::Whole;
use super::openai::completions;
use super::outline::{Members, Outline};
use super::raw::{Text, entries, string};
use super::{Answer, Edit, Format, Image, Piece, ReportedUsage, ending, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "llama_completion",
    endpoints: &[post("/completion"), post("/infill")],
    read: completions::read,
    ask_for_usage: ask_for_counts,
    answer_members: &completions::ANSWER_MEMBERS,
    answer: completions::answer,
    with_model: model::with_model,
    with_max_output: completions::with_n_predict,
    ending: Some(ending::llama::Completions::ending),
    ..Format::DEFAULT
};

/// The members of an answer that [`answer`] looks at.
pub(super) const ANSWER_MEMBERS: [&str; 5] =
    ["index", "content", "tokens_evaluated", "tokens_predicted", "timings"];

/// The members of a request that say which parts of the answer the client gets.
pub(super) const RESPONSE_FIELDS: &str = "response_fields";

/// The members of a request that are read beside the prompt, before it.
pub(super) const INFILL: [&str; 3] = ["input_extra", "input_prefix", "input_suffix"];

/// Reads a whole answer, or one event of a stream, each of which tells the counts so far.
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

/// Of what was read from the cache, what was read anew, and what was written.
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

    /// None if a count is nonsense.
    fn told(self) -> Option<ReportedUsage> {
        let timings = self.timings.unwrap_or_default();
        let counts = [self.tokens_evaluated, self.tokens_predicted, timings.prompt_n, timings.predicted_n];
        if counts.contains(&Whole::Nonsense) {
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

/// The pieces of a prompt that is an object: its text, and pictures or sound in base64.
pub(super) fn prompt(raw: &str) -> Option<Vec<Piece<'_>>> {
    let prompt: Prompt<'_> = serde_json::from_str(raw).ok()?;
    let Text(text) = prompt.prompt_string?;
    let media = prompt.multimodal_data.into_iter().flatten().map(|Text(data)| {
        let picture = Image::in_base64(&data, None);
        let sound = Piece::Audio { bytes: decoded_len(&data), raw: false };
        if picture.size.is_some() { Piece::Image(picture) } else { sound }
    });
    Some([Piece::Text(text)].into_iter().chain(media).collect())
}

#[derive(Deserialize)]
struct Prompt<'a> {
    #[serde(borrow)]
    prompt_string: Option<Text<'a>>,
    #[serde(borrow)]
    multimodal_data: Option<Vec<Text<'a>>>,
}

/// The text around the gap that is to be filled, and that of other files.
pub(super) fn infill<'a>(members: &Members<'a>) -> Vec<Piece<'a>> {
    let texts = INFILL.iter().flat_map(|name| members.items(name)).flat_map(|raw| match string(raw) {
        Some(text) => vec![text],
        None => entries(raw).unwrap_or_default().into_iter().filter_map(|(_, value)| string(value)).collect(),
    });
    texts.map(Piece::Text).collect()
}

/// The edit that keeps the counts in an answer of which the client wants only some members.
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
