//! A Converse request: the input of the model and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: the blocks of a message (`blocks`), and counting tokens.
//!
//! Source: Amazon Bedrock API reference, "Converse". `additionalModelRequestFields` are parameters,
//! not text.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::blocks::Block;
use crate::api::blocks::{Message, push_content};
use crate::api::number::Whole;
use crate::api::outline::Outline;
use crate::api::raw::{Text, written};
use crate::api::{Piece, Prompt, Request, Unread};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 6] =
    ["messages", "system", "inferenceConfig", "toolConfig", "promptVariables", "outputConfig"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a Converse request: no JSON object, or a counted member of a wrong type.
pub(in crate::api::bedrock) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut pieces = Vec::new();
    if let Some(system) = members.raw("system") {
        push_content::<Block<'_>>(system, &mut pieces)?;
    }
    let messages = members.typed::<Vec<Message<'_>>>("messages")?;
    // A stored prompt has the messages in these cases.
    let is_stored = messages.is_none() || members.raw("promptVariables").is_some();
    for message in messages.unwrap_or_default() {
        message.push_to::<Block<'_>>(&mut pieces)?;
    }
    pieces
        .extend(["promptVariables", "outputConfig"].iter().filter_map(|name| members.raw(name)).map(written));
    let tools = members.typed::<ToolConfig<'_>>("toolConfig")?.unwrap_or_default().tools;
    for tool in tools.into_iter().flatten() {
        push_tool(tool.get(), &mut pieces);
    }
    let inference = members.typed::<InferenceConfig>("inferenceConfig")?.unwrap_or_default();
    Ok(Request {
        prompt: Prompt(pieces),
        more_input: is_stored,
        max_output: inference.max_tokens.count().or_else(|| inference.max_new_tokens.count()),
        ..Request::default()
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InferenceConfig {
    #[serde(rename = "maxTokens")]
    max_tokens: Whole,
    /// The older name of the bound, in Nova's own form only.
    max_new_tokens: Whole,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// Adds one tool. A tool of an unknown form counts as its JSON text.
fn push_tool<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    match serde_json::from_str(raw) {
        Ok(Tool::CachePoint {}) => {}
        Ok(Tool::ToolSpec { name, description, input_schema }) => {
            pieces.push(name.into());
            pieces.extend(description.map(Piece::from));
            pieces.extend(input_schema.map(|schema| written(schema.json.get())));
        }
        Err(_) => pieces.push(written(raw)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Tool<'a> {
    #[serde(rename_all = "camelCase")]
    ToolSpec {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        input_schema: Option<InputSchema<'a>>,
    },
    CachePoint {},
}

#[derive(Deserialize)]
struct InputSchema<'a> {
    #[serde(borrow)]
    json: &'a RawValue,
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
