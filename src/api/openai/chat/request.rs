//! A chat completions request: what the model will read and may write.
//!
//! In: a body. Out: [`Request`]. Not here: the tokens of it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::members::Members;
use crate::api::openai::parts::Reading;
use crate::api::openai::stream_options::ask_for_usage;
use crate::api::schema::FunctionDefinition;
use crate::api::{Piece, Prompt, Request, Unread};

/// The members looked at. A body that names one of them twice is ambiguous.
const NAMES: [&str; 11] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "tools",
    "functions",
    "response_format",
    "prediction",
];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a chat request: no JSON object, no list of messages, a wrong type in what is counted.
pub(super) fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    let members = Members::read(body, &NAMES)?;
    let mut reading = Reading::default();
    for message in members.typed::<Vec<Message<'_>>>("messages")?.ok_or(Unread::Malformed)? {
        message.push_to(&mut reading)?;
    }
    let Reading { mut pieces, more } = reading;
    for tool in members.typed::<Vec<&RawValue>>("tools")?.unwrap_or_default() {
        pieces.push(tool_piece(tool.get()));
    }
    for function in members.typed::<Vec<FunctionDefinition<'_>>>("functions")?.unwrap_or_default() {
        pieces.push(Piece::Function(function.into()));
    }
    if let Some(schema) = schema_text(&members) {
        pieces.push(schema);
    }
    let stream = members.is_true("stream");
    let model = members.text("model")?;
    Ok(Request {
        prompt: Prompt(pieces),
        more_input: more,
        max_output: max_output(&members),
        ask_for_usage: if stream { ask_for_usage(&members, model.as_deref()) } else { None },
        model,
        ..Request::default()
    })
}

/// The bound on the whole call's output: the newer member wins, times the number of choices.
fn max_output(members: &Members<'_>) -> Option<u64> {
    let choices = members.whole("n").unwrap_or(1).max(1);
    let bound = members.whole("max_completion_tokens").or_else(|| members.whole("max_tokens"))?;
    Some(bound.saturating_mul(choices))
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<CalledFunction<'a>>,
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
        reading.texts([self.refusal, self.reasoning_content].into_iter().flatten());
        let custom = |call: ToolCall<'a>| call.function.or(call.custom);
        let called = self.tool_calls.into_iter().flatten().filter_map(custom).chain(self.function_call);
        for CalledFunction { name, arguments, input } in called {
            reading.pieces.push(Piece::ToolCall);
            reading.texts([name, arguments, input].into_iter().flatten());
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Option<CalledFunction<'a>>,
    #[serde(borrow)]
    custom: Option<CalledFunction<'a>>,
}

#[derive(Deserialize)]
struct CalledFunction<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<Cow<'a, str>>,
}

/// One tool; what is not a function is counted as the text it is written as.
fn tool_piece(raw: &str) -> Piece<'_> {
    match serde_json::from_str::<Tool<'_>>(raw) {
        Ok(Tool { function }) => Piece::Function(function.into()),
        Err(_) => Piece::Text(Cow::Borrowed(raw)),
    }
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: FunctionDefinition<'a>,
}

/// The schema of a structured answer, which the model is shown.
fn schema_text<'a>(members: &Members<'a>) -> Option<Piece<'a>> {
    #[derive(Deserialize)]
    struct ResponseFormat<'a> {
        #[serde(borrow)]
        json_schema: &'a RawValue,
    }
    let format: ResponseFormat<'a> = serde_json::from_str(members.raw("response_format")?).ok()?;
    Some(Piece::Text(Cow::Borrowed(format.json_schema.get())))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
