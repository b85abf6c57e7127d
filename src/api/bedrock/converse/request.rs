//! A Converse request: what the model will read, and what it may write.
//!
//! In: a body. Out: [`Request`]. Not here: the blocks of a message (`blocks`), and the tokens of
//! anything.
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

/// The members looked at. A body that names one of them twice is ambiguous.
const NAMES: [&str; 6] =
    ["messages", "system", "inferenceConfig", "toolConfig", "promptVariables", "outputConfig"];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a Converse request: no JSON object, a wrong type in what is counted.
pub(in crate::api::bedrock) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut pieces = Vec::new();
    if let Some(system) = members.raw("system") {
        push_content::<Block<'_>>(system, &mut pieces)?;
    }
    let messages = members.typed::<Vec<Message<'_>>>("messages")?;
    // A stored prompt has the messages then.
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
    /// Its older name, in Nova's own form only.
    max_new_tokens: Whole,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolConfig<'a> {
    #[serde(borrow)]
    tools: Option<Vec<&'a RawValue>>,
}

/// One tool; what is not defined like one is counted as the text it is written as.
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
