//! A messages request: the input of the model and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: the blocks of a message (`blocks`), and counting tokens.
//!
//! Source: Anthropic's API reference, "Create a Message". `thinking.budget_tokens` is no separate
//! bound: it is part of `max_tokens` (guide "Extended thinking").

use serde::Deserialize;
use serde_json::value::RawValue;

use super::blocks::Block;
use super::tools;
use crate::api::blocks::{Message, push_content};
use crate::api::outline::{Members, Outline};
use crate::api::raw::written;
use crate::api::{Prompt, Request, Unread};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 9] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "tools",
    "tool_choice",
    "output_config",
    "output_format",
    "mcp_servers",
];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a messages request: no JSON object, no list of messages, or a counted
/// member of a wrong type.
pub(in crate::api) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let model = members.text("model")?;
    let mut pieces = Vec::new();
    if let Some(system) = members.raw("system") {
        push_content::<Block<'_>>(system, &mut pieces)?;
    }
    for message in members.typed::<Vec<Message<'_>>>("messages")?.ok_or(Unread::Malformed)? {
        message.push_to::<Block<'_>>(&mut pieces)?;
    }
    let tools = members.typed::<Vec<&RawValue>>("tools")?.unwrap_or_default();
    let choice = members.raw("tool_choice");
    let searches = tools::push(&tools, choice, model.as_deref().unwrap_or_default(), &mut pieces);
    pieces.extend(schema(&members).map(written));
    Ok(Request {
        model,
        prompt: Prompt(pieces),
        // The model also reads the tools of remote servers and the results of Anthropic's own
        // tools, which are not in the request.
        more_input: searches || members.raw("mcp_servers").is_some_and(|servers| servers.len() > "[]".len()),
        max_output: members.whole("max_tokens"),
        ..Request::default()
    })
}

/// Returns the schema of a structured answer, which the model reads; `output_format` is its older
/// name.
fn schema<'a>(members: &Members<'a>) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct Format<'a> {
        #[serde(borrow)]
        schema: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Config<'a> {
        #[serde(borrow)]
        format: Format<'a>,
    }
    let newer = members.raw("output_config").and_then(|raw| serde_json::from_str::<Config<'_>>(raw).ok());
    let older = || members.raw("output_format").and_then(|raw| serde_json::from_str::<Format<'_>>(raw).ok());
    Some(newer.map(|config| config.format).or_else(older)?.schema.get())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
