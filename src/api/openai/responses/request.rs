//! A Responses request: the input of the model and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: counting tokens, and the history behind a stored
//! response or conversation.
//!
//! Source: OpenAI's API reference, "Create a model response" and "Compact a response".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::media::decoded_len;
use crate::api::openai::parts::Reading;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{Text, text, written};
use crate::api::schema::FunctionDefinition;
use crate::api::{Image, Piece, Prompt, Request, Unread};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 9] = [
    "model",
    "input",
    "instructions",
    "tools",
    "text",
    "max_output_tokens",
    "previous_response_id",
    "conversation",
    "prompt",
];

/// Members that refer to further input: a stored response, a conversation, a prompt template.
const ELSEWHERE: [&str; 3] = ["previous_response_id", "conversation", "prompt"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not such a request: no JSON object, no input, or a counted member of a wrong
/// type.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let is_elsewhere = ELSEWHERE.iter().any(|name| members.raw(name).is_some());
    let mut reading = Reading { more: is_elsewhere, ..Reading::default() };
    if let Some(instructions) = members.typed("instructions")? {
        reading.pieces.push(Piece::Message);
        reading.texts([Text(Cow::Borrowed("developer")), instructions]);
    }
    match members.raw("input") {
        Some(items) if items.starts_with('[') => {
            for raw in members.typed::<Vec<&RawValue>>("input")?.unwrap_or_default() {
                push_item(raw.get(), &mut reading)?;
            }
        }
        Some(text) => {
            let text = serde_json::from_str(text).map_err(|_| Unread::Malformed)?;
            reading.pieces.push(Piece::Message);
            reading.texts([Text(Cow::Borrowed("user")), text]);
        }
        None if reading.more || !reading.pieces.is_empty() => {}
        None => return Err(Unread::Malformed),
    }
    for tool in members.typed::<Vec<&RawValue>>("tools")?.unwrap_or_default() {
        push_tool(tool.get(), &mut reading);
    }
    reading.pieces.extend([variables(&members), schema(&members)].into_iter().flatten().map(written));
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(reading.pieces),
        more_input: reading.more,
        max_output: members.whole("max_output_tokens"),
        ..Request::default()
    })
}

/// Adds one item: everything in it that a model could read, regardless of its stated kind. An item
/// of another shape counts as its JSON text.
fn push_item<'a>(raw: &'a str, reading: &mut Reading<'a>) -> Result<(), Unread> {
    if !raw.starts_with('{') {
        return Err(Unread::Malformed);
    }
    let Ok(item) = serde_json::from_str::<Item<'_>>(raw) else {
        reading.written(raw);
        return Ok(());
    };
    let before = reading.pieces.len();
    if item.role.is_some() || item.content.is_some() {
        // Reasoning has a content, but is no message.
        reading.pieces.extend(item.role.is_some().then_some(Piece::Message));
        reading.texts(item.role);
        push_content(item.content, reading);
    }
    if item.name.is_some() || item.arguments.is_some() || item.input.is_some() {
        reading.pieces.push(Piece::ToolCall);
        reading.texts(item.name);
        let given = [item.arguments, item.input].into_iter().flatten();
        reading.pieces.extend(given.map(|raw| text(raw.get())));
    }
    if item.output.is_some() {
        reading.pieces.push(Piece::Message);
        push_content(item.output, reading);
    }
    push_content(item.summary, reading);
    // The reasoning itself, or a compacted conversation, which only the provider can read.
    let sealed = item.encrypted_content.map(|Text(data)| Piece::Unseen { bytes: decoded_len(&data) });
    let generated = item.result.map(|Text(data)| Piece::Image(Image::in_base64(&data, None)));
    reading.pieces.extend([sealed, generated].into_iter().flatten());
    if reading.pieces.len() > before {
        return Ok(());
    }
    if item.id.is_some() && item.kind.is_none_or(|Text(kind)| kind == "item_reference") {
        reading.more = true;
    } else {
        reading.written(raw);
    }
    Ok(())
}

/// Adds text, a list of parts, or a single part.
fn push_content<'a>(content: Option<&'a RawValue>, reading: &mut Reading<'a>) {
    let Some(content) = content.map(RawValue::get) else { return };
    if reading.content(content).is_err() {
        reading.part(content);
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
    #[serde(borrow)]
    result: Option<Text<'a>>,
}

/// Adds one tool. A tool other than a function counts as its JSON text; further instructions and
/// results of built-in tools are not in the request.
fn push_tool<'a>(raw: &'a str, reading: &mut Reading<'a>) {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let kind = serde_json::from_str::<Tool<'_>>(raw).map(|tool| tool.kind).unwrap_or_default();
    if kind == "function"
        && let Ok(function) = serde_json::from_str::<FunctionDefinition<'_>>(raw)
    {
        reading.pieces.push(Piece::Function(function.into()));
        return;
    }
    reading.more |= !matches!(&*kind, "function" | "custom" | "namespace");
    reading.written(raw);
}

/// Reads the values for the variables of a stored prompt.
fn variables<'a>(members: &Members<'a>) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        variables: &'a RawValue,
    }
    let prompt: Stored<'a> = serde_json::from_str(members.raw("prompt")?).ok()?;
    Some(prompt.variables.get()).filter(|variables| *variables != "null")
}

/// Returns the schema of a structured answer, which the model reads.
fn schema<'a>(members: &Members<'a>) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Options<'a> {
        #[serde(borrow)]
        format: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Structured<'a> {
        #[serde(borrow, rename = "schema")]
        _schema: &'a RawValue,
    }
    let options: Options<'a> = serde_json::from_str(members.raw("text")?).ok()?;
    let format = options.format.get();
    serde_json::from_str::<Structured<'_>>(format).ok()?;
    Some(format)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
