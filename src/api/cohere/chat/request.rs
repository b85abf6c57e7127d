//! A chat request: what the model will read and what it may write.
//!
//! In: a body. Out: [`Request`]. Not here: the tokens of it; of the preamble that Cohere adds itself, usage tells.
//!
//! Source: Cohere's API reference, "Chat API (v2)".

use std::borrow::Cow;

use serde::Deserialize;

use crate::api::cohere::embed::push_image_url;
use crate::api::members::Members;
use crate::api::raw::{as_text, entries, items, text};
use crate::api::schema::FunctionDefinition;
use crate::api::{Piece, Prompt, Request, Unread};

const NAMES: [&str; 6] =
    ["model", "messages", "documents", "tools", "response_format", "max_tokens"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a chat request: no JSON object, no messages, a message that is no object.
pub(in crate::api::cohere) fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    let members = Members::read(body, &NAMES)?;
    let mut pieces = Vec::new();
    for message in items(members.raw("messages").ok_or(Unread::Malformed)?) {
        push_message(message, &mut pieces)?;
    }
    for document in items(members.raw("documents").unwrap_or("null")) {
        push_document(document, &mut pieces);
    }
    pieces.extend(items(members.raw("tools").unwrap_or("null")).into_iter().map(tool_piece));
    let format = members.raw("response_format").and_then(entries).unwrap_or_default();
    let schemas = format.into_iter().filter(|(name, _)| matches!(&**name, "json_schema" | "schema"));
    pieces.extend(schemas.map(|(_, schema)| text(schema)));
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(pieces),
        max_output: members.whole("max_tokens"),
        ..Request::default()
    })
}

/// Everything in a message but its ids, and the citations of an earlier answer, which only point into it.
fn push_message<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
    let members = entries(raw).ok_or(Unread::Malformed)?;
    pieces.push(Piece::Message);
    for (name, value) in members {
        match &*name {
            "content" => items(value).into_iter().for_each(|part| push_part(part, pieces)),
            "tool_calls" => items(value).into_iter().for_each(|call| push_call(call, pieces)),
            "role" | "tool_plan" => pieces.push(text(value)),
            "tool_call_id" | "id" | "citations" => {}
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
    Ok(())
}

/// Content that is text, or one part of it: everything in it that a model could read.
fn push_part<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let Some(members) = entries(raw) else {
        pieces.push(text(raw));
        return;
    };
    for (name, value) in members {
        match &*name {
            "type" => {}
            "text" | "thinking" => pieces.push(text(value)),
            "image_url" => push_image_url(value, pieces),
            "document" => push_document(value, pieces),
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
}

fn push_call<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    pieces.push(Piece::ToolCall);
    let Some(members) = entries(raw) else {
        pieces.push(text(raw));
        return;
    };
    for (name, value) in members {
        match &*name {
            "id" | "type" => {}
            "function" => match entries(value) {
                Some(function) => pieces.extend(function.into_iter().map(|(_, value)| text(value))),
                None => pieces.push(text(value)),
            },
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
}

/// A document to ground the answer on: a text, or an object whose `data` the model is shown, and its id to cite it by.
fn push_document<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    match entries(raw) {
        Some(members) => pieces.extend(members.into_iter().map(|(_, value)| Piece::Text(as_text(value)))),
        None => pieces.push(text(raw)),
    }
}

/// One tool; what is not a function is counted as the text it is written as.
fn tool_piece(raw: &str) -> Piece<'_> {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow)]
        function: FunctionDefinition<'a>,
    }
    match serde_json::from_str::<Tool<'_>>(raw) {
        Ok(Tool { function }) => Piece::Function(function.into()),
        Err(_) => Piece::Text(Cow::Borrowed(raw)),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
