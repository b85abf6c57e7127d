//! A chat request: the model's input and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: the number of its tokens; usage includes the preamble
//! that Cohere adds itself.
//!
//! Source: Cohere's API reference, "Chat API (v2)".

use crate::api::cohere::parts::{push_document, push_part};
use crate::api::outline::Outline;
use crate::api::raw::{entries, items, text};
use crate::api::{Piece, Prompt, Request, Unread, tools};

const NAMES: [&str; 6] = ["model", "messages", "documents", "tools", "response_format", "max_tokens"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a chat request: not a JSON object, no messages, a message that is not an
/// object.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut pieces = Vec::new();
    for message in items(members.raw("messages").ok_or(Unread::Malformed)?) {
        push_message(message, &mut pieces)?;
    }
    for document in members.items("documents") {
        push_document(document, &mut pieces);
    }
    pieces.extend(members.items("tools").into_iter().map(tools::definition));
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

/// Pushes everything in a message but its ids, and the citations of an earlier answer, which only
/// point into it.
fn push_message<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
    let members = entries(raw).ok_or(Unread::Malformed)?;
    pieces.push(Piece::Message);
    for (name, value) in members {
        match &*name {
            "content" => items(value).into_iter().for_each(|part| push_part(part, pieces)),
            "tool_calls" => items(value).into_iter().for_each(|call| tools::push_call(call, pieces)),
            "role" | "tool_plan" => pieces.push(text(value)),
            "tool_call_id" | "id" | "citations" => {}
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
