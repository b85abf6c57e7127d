//! A chat completions request: the input of the model and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: counting tokens.
//!
//! Source: OpenAI's API reference, "Create chat completion"; for `reasoning_content` in messages
//! vLLM's "Reasoning Outputs".

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::{Called, ToolCall};
use crate::api::openai::n_predict::{self, N_PREDICT};
use crate::api::openai::parts::Reading;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{Text, written};
use crate::api::schema::FunctionDefinition;
use crate::api::{Piece, Prompt, Request, Unread, tools};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 12] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    N_PREDICT,
    "n",
    "tools",
    "functions",
    "response_format",
    "prediction",
];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a chat request: no JSON object, no list of messages, or a counted member
/// of a wrong type.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut reading = Reading::default();
    for message in members.typed::<Vec<Message<'_>>>("messages")?.ok_or(Unread::Malformed)? {
        message.push_to(&mut reading)?;
    }
    let Reading { mut pieces, more } = reading;
    for tool in members.typed::<Vec<&RawValue>>("tools")?.unwrap_or_default() {
        pieces.push(tools::definition(tool.get()));
    }
    for function in members.typed::<Vec<FunctionDefinition<'_>>>("functions")?.unwrap_or_default() {
        pieces.push(Piece::Function(function.into()));
    }
    pieces.extend(schema(&members).map(written));
    Ok(Request {
        prompt: Prompt(pieces),
        more_input: more,
        max_output: max_output(&members),
        choices: members.whole("n").map(|choices| choices.max(1)),
        model: members.text("model")?,
        ..Request::default()
    })
}

/// Returns the bound on the whole call's output: the newer member wins, times the number of
/// choices.
fn max_output(members: &Members<'_>) -> Option<u64> {
    let choices = members.whole("n").unwrap_or(1).max(1);
    let bound = n_predict::bound(members, &["max_completion_tokens", "max_tokens"])?;
    Some(bound.saturating_mul(choices))
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Called<'a>>,
}

impl<'a> Message<'a> {
    fn push_to(self, reading: &mut Reading<'a>) -> Result<(), Unread> {
        reading.pieces.push(Piece::Message);
        reading.texts([self.role]);
        if let Some(content) = self.content {
            reading.content(content.get())?;
        }
        if let Some(name) = self.name {
            reading.pieces.push(Piece::Name);
            reading.texts([name]);
        }
        reading.texts(self.refusal);
        reading.texts(self.reasoning_content);
        let mut call = |called: Called<'a>| {
            reading.pieces.push(Piece::ToolCall);
            reading.texts(called.texts());
        };
        if let Some(calls) = self.tool_calls {
            calls.into_iter().filter_map(ToolCall::called).for_each(&mut call);
        }
        if let Some(called) = self.function_call {
            call(called);
        }
        Ok(())
    }
}

/// Returns the schema of a structured answer, which the model reads.
fn schema<'a>(members: &Members<'a>) -> Option<&'a str> {
    #[derive(Deserialize)]
    struct ResponseFormat<'a> {
        #[serde(borrow)]
        json_schema: &'a RawValue,
    }
    let format: ResponseFormat<'a> = serde_json::from_str(members.raw("response_format")?).ok()?;
    Some(format.json_schema.get())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
