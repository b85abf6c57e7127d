//! An InvokeModel request in its model's form.
//!
//! In: a body. Out: [`Request`]. Not here: the forms of other formats.
//!
//! The model is in the path, so the members distinguish the forms: Anthropic's messages, Nova's,
//! OpenAI's chat (Mistral, AI21, DeepSeek, Qwen, gpt-oss), and those with plain members (Llama,
//! Titan, Cohere, older models). Plain members with text, a list or an object count
//! unless they are known parameters, so an unknown one with content is never free.
//!
//! Source: Amazon Bedrock's user guide, "Inference request parameters and response fields for
//! foundation models".

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::bedrock::converse;
use crate::api::number::Whole;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{Text, text, written};
use crate::api::{Image, Piece, Prompt, Request, Unread, Usage, anthropic, openai};

/// The members that decide the form or the bound on the output. A body that names one of them twice
/// is ambiguous.
pub(super) const NAMES: [&str; 16] = [
    "anthropic_version",
    "messages",
    "schemaVersion",
    "inferenceConfig",
    "toolConfig",
    "prompt",
    "inputText",
    "message",
    "max_gen_len",
    "max_tokens",
    "maxTokens",
    "max_tokens_to_sample",
    "textGenerationConfig",
    "num_generations",
    "numResults",
    "n",
];

/// The names of the bound on output tokens: Llama, Mistral and Cohere, AI21, older Claude models.
pub(super) const BOUNDS: [&str; 4] = ["max_gen_len", "max_tokens", "maxTokens", "max_tokens_to_sample"];

/// The names of the number of answers: Cohere, AI21.
const CHOICES: [&str; 3] = ["num_generations", "numResults", "n"];

/// Plain members that are not text for the model.
const PARAMETERS: [&str; 17] = [
    "anthropic_version",
    "anthropic_beta",
    "schemaVersion",
    "textGenerationConfig",
    "embeddingConfig",
    "embeddingTypes",
    "embedding_types",
    "input_type",
    "truncate",
    "return_likelihoods",
    "prompt_truncation",
    "citation_quality",
    "stop",
    "stop_sequences",
    "stopSequences",
    "logit_bias",
    "response_format",
];

/// Plain members that only requests for embeddings have.
const OF_EMBEDDINGS: [&str; 7] = [
    "texts",
    "input_type",
    "embeddingConfig",
    "embeddingTypes",
    "embedding_types",
    "dimensions",
    "normalize",
];

/// Plain members that are images in base64, alone or in a list.
const PICTURES: [&str; 3] = ["inputImage", "image", "images"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is no JSON object, or has a counted member of a wrong type.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    match Form::of(outline) {
        Form::Messages => anthropic::request::read(outline),
        Form::Converse => converse::request::read(outline),
        Form::Chat => (openai::chat::FORMAT.read)(outline),
        Form::Plain => Ok(plain(&members, outline)),
    }
}

/// The form of a body.
pub(super) enum Form {
    /// Anthropic's messages.
    Messages,
    /// Nova's, the same as Converse's.
    Converse,
    /// OpenAI's chat.
    Chat,
    /// Plain members.
    Plain,
}

impl Form {
    /// Returns the form of a body.
    pub(super) fn of(outline: &Outline<'_>) -> Self {
        if !outline.has_value(&["messages"]) {
            return Self::Plain;
        }
        if outline.has_value(&["anthropic_version"]) {
            return Self::Messages;
        }
        let is_novas = outline.has_value(&["schemaVersion", "inferenceConfig", "toolConfig"]);
        let mut messages = outline.named(&["messages"]);
        if is_novas || messages.any(|messages| has_untyped_blocks(messages.raw)) {
            Self::Converse
        } else {
            Self::Chat
        }
    }
}

/// Returns whether a message has blocks without a type, like Nova's.
fn has_untyped_blocks(messages: &str) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
    }
    let messages: Vec<Message<'_>> = serde_json::from_str(messages).unwrap_or_default();
    let contents = messages.into_iter().filter_map(|message| message.content);
    let blocks = contents.filter_map(|raw| serde_json::from_str::<Vec<Block<'_>>>(raw.get()).ok());
    blocks.flatten().any(|block| block.kind.is_none())
}

/// Reads a body of plain members.
fn plain<'a>(members: &Members<'a>, outline: &Outline<'a>) -> Request<'a> {
    let mut pieces = Vec::new();
    for member in outline.elements().iter().filter(|member| !member.is_any(&PARAMETERS)) {
        let raw = member.raw;
        match raw.as_bytes().first() {
            Some(b'"' | b'[' | b'{') if member.is_any(&PICTURES) => push_pictures(raw, &mut pieces),
            Some(b'"') => pieces.push(text(raw)),
            Some(b'[' | b'{') => push_texts(raw, &mut pieces),
            // Numbers, booleans and null.
            _ => {}
        }
    }
    let generates = outline.has_value(&["prompt", "message", "textGenerationConfig"]);
    let embeds = !generates && outline.has_value(&OF_EMBEDDINGS);
    let choices = CHOICES.iter().find_map(|name| members.whole(name)).map(|choices| choices.max(1));
    Request {
        prompt: Prompt(pieces),
        max_output: max_output(members).map(|bound| bound.saturating_mul(choices.unwrap_or(1))),
        choices,
        known: embeds.then(Usage::default),
        ..Request::default()
    }
}

/// Adds a list of texts as texts, and anything else as its JSON text.
fn push_texts<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    match serde_json::from_str::<Vec<Text<'_>>>(raw) {
        Ok(texts) => pieces.extend(texts.into_iter().map(Piece::from)),
        Err(_) => pieces.push(written(raw)),
    }
}

fn push_pictures<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let one = || serde_json::from_str::<Text<'_>>(raw).map(|text| vec![text]);
    let Ok(pictures) = serde_json::from_str::<Vec<Text<'_>>>(raw).or_else(|_| one()) else {
        return pieces.push(written(raw));
    };
    pieces.extend(pictures.iter().map(|Text(data)| {
        let is_url = data.starts_with("data:");
        Piece::Image(if is_url { Image::at(data, None) } else { Image::in_base64(data, None) })
    }));
}

/// Returns the bound on each answer.
fn max_output(members: &Members<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    struct TextGeneration {
        #[serde(default, rename = "maxTokenCount")]
        max_token_count: Whole,
    }
    let titan = || members.typed::<TextGeneration>("textGenerationConfig").ok()??.max_token_count.count();
    BOUNDS.iter().find_map(|name| members.whole(name)).or_else(titan)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
