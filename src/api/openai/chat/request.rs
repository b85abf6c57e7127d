//! A chat completions request: what the model will read, what it may write, and where to ask for usage.
//!
//! In: a body. Out: [`Request`]. Not here: the tokens of it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::members::{Members, Text};
use crate::api::schema::FunctionDefinition;
use crate::api::{Edit, Image, Piece, Prompt, Request, Unread};

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
    let mut pieces = Vec::new();
    for message in members.typed::<Vec<Message<'_>>>("messages")?.ok_or(Unread::Malformed)? {
        message.push_to(&mut pieces)?;
    }
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
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(pieces),
        max_output: max_output(&members),
        stream,
        ask_for_usage: if stream { ask_for_usage(&members) } else { None },
        ..Request::default()
    })
}

/// The bound on the whole call's output: the newer member wins, times the number of choices.
fn max_output(members: &Members<'_>) -> Option<u64> {
    let choices = members.whole("n").unwrap_or(1).max(1);
    let bound = members.whole("max_completion_tokens").or_else(|| members.whole("max_tokens"))?;
    Some(bound.saturating_mul(choices))
}

/// The edit that sets `stream_options.include_usage`, or none where the client has set it.
fn ask_for_usage(members: &Members<'_>) -> Option<Edit> {
    let Some(options) = members.written("stream_options") else {
        let start = members.first_place();
        return Some(Edit { range: start..start, text: r#""stream_options":{"include_usage":true},"# });
    };
    if options == "null" {
        return Some(Edit { range: members.place(options), text: r#"{"include_usage":true}"# });
    }
    // Options of another shape than an object are left for the upstream to refuse.
    let StreamOptions { include_usage } = serde_json::from_str(options).ok()?;
    match include_usage.map(RawValue::get) {
        Some("true") => None,
        Some(other) => Some(Edit { range: members.place(other), text: "true" }),
        None => {
            let inside = members.place(options).start.saturating_add(1);
            let empty = options.trim_start_matches('{').trim_start().starts_with('}');
            let text = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            Some(Edit { range: inside..inside, text })
        }
    }
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "as_written")]
    include_usage: Option<&'a RawValue>,
}

/// A value as it is written, `null` too.
fn as_written<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
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
    fn push_to(self, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
        pieces.push(Piece::Message);
        pieces.push(Piece::Text(self.role));
        match self.content.map(RawValue::get) {
            None => {}
            Some(parts) if parts.starts_with('[') => {
                let parts: Vec<&RawValue> = serde_json::from_str(parts).map_err(|_| Unread::Malformed)?;
                parts.into_iter().for_each(|part| push_part(part.get(), pieces));
            }
            Some(text) => {
                let Text(text) = serde_json::from_str(text).map_err(|_| Unread::Malformed)?;
                pieces.push(Piece::Text(text));
            }
        }
        if let Some(name) = self.name {
            pieces.push(Piece::Name);
            pieces.push(Piece::Text(name));
        }
        pieces.extend([self.refusal, self.reasoning_content].into_iter().flatten().map(Piece::Text));
        let custom = |call: ToolCall<'a>| call.function.or(call.custom);
        let called = self.tool_calls.into_iter().flatten().filter_map(custom).chain(self.function_call);
        for CalledFunction { name, arguments, input } in called {
            pieces.push(Piece::ToolCall);
            pieces.extend([name, arguments, input].into_iter().flatten().map(Piece::Text));
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

/// One part of a message's content: everything in it that a model could read, whatever kind it says it is. A part of an unknown
/// kind is counted as the text it is written as.
fn push_part<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let Part { text, refusal, image_url, input_audio, file } = serde_json::from_str(raw).unwrap_or_default();
    let before = pieces.len();
    pieces.extend([text, refusal].into_iter().flatten().map(Piece::Text));
    pieces.extend(image_url.map(|image| Piece::Image(image.into())));
    pieces.extend(input_audio.map(|InputAudio { data, format }| Piece::Audio {
        bytes: decoded_len(&data),
        raw: matches!(format.as_deref(), Some("wav" | "pcm16")),
    }));
    pieces.extend(
        file.map(|File { file_data }| Piece::File { bytes: file_data.map(|data| decoded_len(&data)) }),
    );
    if pieces.len() == before {
        pieces.push(Piece::Text(Cow::Borrowed(raw)));
    }
}

const fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64 / 4).saturating_mul(3)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    image_url: Option<ImageUrl<'a>>,
    #[serde(borrow)]
    input_audio: Option<InputAudio<'a>>,
    #[serde(borrow)]
    file: Option<File<'a>>,
}

/// OpenAI's form is the object; many compatible servers take the URL alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum ImageUrl<'a> {
    Object {
        #[serde(borrow)]
        url: Cow<'a, str>,
        #[serde(borrow)]
        detail: Option<Cow<'a, str>>,
    },
    Bare(#[serde(borrow)] Cow<'a, str>),
}

impl From<ImageUrl<'_>> for Image {
    fn from(image: ImageUrl<'_>) -> Self {
        match image {
            ImageUrl::Object { url, detail } => Self::at(&url, detail.as_deref()),
            ImageUrl::Bare(url) => Self::at(&url, None),
        }
    }
}

#[derive(Deserialize)]
struct InputAudio<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    format: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    file_data: Option<Cow<'a, str>>,
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
