//! An answer of InvokeModel, or one chunk of its stream, in its model's form.
//!
//! In: one JSON document: a whole answer, the payload of a frame (`{"bytes"}`, base64 of the
//! model's own chunk), or such a chunk. Out: [`Answer`]. The last chunk of every stream has
//! Amazon's own count; the model's more detailed counts come before it. Not here: the counts in
//! headers (`invoke`), and frames (`frames`).
//!
//! Source: Amazon Bedrock's user guide, "Inference request parameters and response fields for
//! foundation models"; API reference, "PayloadPart".

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::answer::Called;
use crate::api::bedrock::converse;
use crate::api::number::Whole;
use crate::api::raw::{Text, entries, items, string};
use crate::api::{Answer, ReportedUsage, anthropic, openai};

/// The members of all forms.
pub(super) const MEMBERS: [&str; 26] = [
    "bytes",
    "type",
    "message",
    "usage",
    "content",
    "content_block",
    "delta",
    "choices",
    "output",
    "contentBlockStart",
    "contentBlockDelta",
    "metadata",
    "generation",
    "prompt_token_count",
    "generation_token_count",
    "inputTextTokenCount",
    "totalOutputTextTokenCount",
    "outputText",
    "results",
    "outputs",
    "generations",
    "completions",
    "completion",
    "text",
    "tool_calls",
    "amazon-bedrock-invocationMetrics",
];

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let Ok(Payload { bytes }) = serde_json::from_slice(json) else { return own(json) };
    let Ok(chunk) = STANDARD.decode(bytes.0.as_bytes()) else { return Answer::default() };
    let Answer { told, otherwise, unreadable, text, tools, part, only_usage, pending, spoken } = own(&chunk);
    let text = text.into_iter().map(|text| Cow::Owned(text.into_owned())).collect();
    let tools = tools.into_iter().map(Called::into_owned).collect();
    Answer { told, otherwise, unreadable, text, tools, part, only_usage, pending, spoken }
}

/// The payload of a frame.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    bytes: Text<'a>,
}

/// Reads a document in a model's own form.
fn own(json: &[u8]) -> Answer<'_> {
    let Ok(form) = serde_json::from_slice::<Form<'_>>(json) else { return Answer::default() };
    let mut answer = if form.choices.is_some() {
        Answer { only_usage: false, ..(openai::chat::FORMAT.answer)(json) }
    } else if form.kind.is_some() && form.completion.is_none() {
        anthropic::answer::read(json)
    } else if form.is_nova() {
        converse::answer::read(json)
    } else {
        plain(json)
    };
    let metrics = form.metrics.and_then(|raw| serde_json::from_str::<Metrics>(raw.get()).ok());
    if let Some(told) = metrics.map(Metrics::told).filter(|told| !told.is_incredible()) {
        answer.otherwise = answer.otherwise.then(told);
    }
    answer
}

/// The members that distinguish the forms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form<'a> {
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    /// The output of Claude's older text completions, whose chunks also have a type.
    #[serde(borrow)]
    completion: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block_start: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block_delta: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow, rename = "amazon-bedrock-invocationMetrics")]
    metrics: Option<&'a RawValue>,
}

impl Form<'_> {
    fn is_nova(&self) -> bool {
        [self.output, self.content_block_start, self.content_block_delta, self.metadata]
            .iter()
            .any(Option::is_some)
    }
}

/// Amazon's own count.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metrics {
    input_token_count: Whole,
    output_token_count: Whole,
    cache_read_input_token_count: Whole,
    cache_write_input_token_count: Whole,
}

impl Metrics {
    fn told(self) -> ReportedUsage {
        ReportedUsage {
            input: self.input_token_count.count(),
            cached_input: self.cache_read_input_token_count.count(),
            cache_write: self.cache_write_input_token_count.count(),
            output: self.output_token_count.count(),
            ..ReportedUsage::default()
        }
    }
}

/// Reads the forms of Llama, Titan, Mistral, Cohere, AI21 and older Claude models.
fn plain(json: &[u8]) -> Answer<'_> {
    let Ok(plain) = serde_json::from_slice::<Plain<'_>>(json) else { return Answer::default() };
    let told = plain.told();
    let lists = [plain.results, plain.outputs, plain.generations, plain.completions];
    let listed = lists
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|item| [item.output_text, item.text, item.data.and_then(|it| it.text)]);
    let texts = [plain.generation, plain.output_text, plain.completion, plain.text].into_iter().chain(listed);
    let calls =
        plain.tool_calls.map(RawValue::get).map(items).into_iter().flatten().filter_map(entries).flatten();
    let called = calls.filter(|(name, _)| name == "name").filter_map(|(_, name)| string(name));
    let believed = told.filter(|told| !told.is_incredible());
    Answer {
        told: believed.unwrap_or_default(),
        unreadable: believed.is_none(),
        text: texts.flatten().map(|Text(text)| text).collect(),
        tools: called.map(Called::once).collect(),
        ..Answer::default()
    }
}

#[derive(Deserialize)]
struct Plain<'a> {
    /// Llama's output.
    #[serde(borrow)]
    generation: Option<Text<'a>>,
    #[serde(default)]
    prompt_token_count: Whole,
    #[serde(default)]
    generation_token_count: Whole,
    /// Titan's output.
    #[serde(borrow, rename = "outputText")]
    output_text: Option<Text<'a>>,
    #[serde(default, rename = "inputTextTokenCount")]
    input_text_token_count: Whole,
    #[serde(default, rename = "totalOutputTextTokenCount")]
    total_output_text_token_count: Whole,
    #[serde(borrow)]
    results: Option<Vec<Item<'a>>>,
    /// Mistral's output.
    #[serde(borrow)]
    outputs: Option<Vec<Item<'a>>>,
    /// Cohere's output. The last chunk of a stream repeats all of it in `response`, which is not
    /// read.
    #[serde(borrow)]
    text: Option<Text<'a>>,
    /// Command R's calls, each complete and with its name.
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    generations: Option<Vec<Item<'a>>>,
    /// AI21's output.
    #[serde(borrow)]
    completions: Option<Vec<Item<'a>>>,
    /// The output of Claude's older text completions.
    #[serde(borrow)]
    completion: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow, rename = "outputText")]
    output_text: Option<Text<'a>>,
    #[serde(default, rename = "tokenCount")]
    token_count: Whole,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

impl Plain<'_> {
    /// Returns the reported usage; none if a count is invalid.
    fn told(&self) -> Option<ReportedUsage> {
        let listed = self.results.iter().flatten().map(|item| item.token_count);
        let output = [self.generation_token_count, self.total_output_text_token_count];
        if listed
            .clone()
            .chain(output)
            .chain([self.prompt_token_count, self.input_text_token_count])
            .any(|it| it == Whole::Invalid)
        {
            return None;
        }
        let listed = listed.filter_map(Whole::count).reduce(u64::saturating_add);
        let input = self.prompt_token_count.count().or_else(|| self.input_text_token_count.count());
        let output = output.into_iter().find_map(Whole::count).or(listed);
        Some(ReportedUsage { input, output, ..ReportedUsage::default() })
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
