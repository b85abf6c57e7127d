//! A chat completions request: what the model will read, what it may write, and where to ask for usage.
//!
//! In: a body. Out: [`Request`]. Not here: the tokens of it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::Members;
use crate::api::number::Whole;
use crate::api::{Edit, Function, Image, Piece, Prompt, Property, Request, Unread};

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it is not a chat request: no JSON object, no list of messages, a wrong type in what is counted.
pub(super) fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    let members = Members::read(body)?;
    let mut pieces = Vec::new();
    for message in typed::<Vec<Message<'_>>>(&members, "messages")?.ok_or(Unread::Malformed)? {
        message.push_to(&mut pieces)?;
    }
    for tool in typed::<Vec<&RawValue>>(&members, "tools")?.unwrap_or_default() {
        pieces.push(tool_piece(tool.get()));
    }
    for function in typed::<Vec<FunctionDefinition<'_>>>(&members, "functions")?.unwrap_or_default() {
        pieces.push(Piece::Function(function.into()));
    }
    if let Some(schema) = schema_text(&members) {
        pieces.push(schema);
    }
    let stream = members.raw("stream") == Some("true");
    Ok(Request {
        model: typed(&members, "model")?.map(|Text(model)| model),
        prompt: Prompt(pieces),
        max_output: max_output(&members),
        stream,
        ask_for_usage: if stream { ask_for_usage(&members) } else { None },
    })
}

fn typed<'a, T: Deserialize<'a>>(members: &Members<'a>, name: &str) -> Result<Option<T>, Unread> {
    members.raw(name).map(serde_json::from_str).transpose().map_err(|_| Unread::Malformed)
}

/// The bound on the whole call's output: the newer member wins, times the number of choices. Nonsense counts as
/// no bound, because that is what an upstream makes of it, if it does not refuse the call.
fn max_output(members: &Members<'_>) -> Option<u64> {
    let whole = |name| members.raw(name).and_then(|raw| serde_json::from_str::<Whole>(raw).ok()?.count());
    let choices = whole("n").unwrap_or(1).max(1);
    let bound = whole("max_completion_tokens").or_else(|| whole("max_tokens"))?;
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

/// Text borrowed from the body unless it contains escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

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

#[derive(Deserialize)]
struct FunctionDefinition<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parameters: Option<Schema<'a>>,
}

impl<'a> From<FunctionDefinition<'a>> for Function<'a> {
    fn from(definition: FunctionDefinition<'a>) -> Self {
        let mut properties = Vec::new();
        if let Some(parameters) = definition.parameters {
            parameters.push_members_to(&mut properties);
        }
        Self { name: definition.name, description: definition.description.unwrap_or_default(), properties }
    }
}

/// As much of JSON Schema as a model is shown. The reader's depth limit bounds the nesting.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Schema<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "enum")]
    choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow, deserialize_with = "in_order")]
    properties: Vec<(Cow<'a, str>, Self)>,
    #[serde(borrow)]
    items: Option<Box<Self>>,
}

impl<'a> Schema<'a> {
    fn push_members_to(self, properties: &mut Vec<Property<'a>>) {
        for (name, schema) in self.properties {
            schema.push_to(name, properties);
        }
        if let Some(items) = self.items {
            items.push_to(Cow::Borrowed(""), properties);
        }
    }

    fn push_to(mut self, name: Cow<'a, str>, properties: &mut Vec<Property<'a>>) {
        properties.push(Property {
            name,
            kind: self.kind.map(unquoted).unwrap_or_default(),
            description: self.description.take().unwrap_or_default(),
            choices: self.choices.take().unwrap_or_default().into_iter().map(unquoted).collect(),
        });
        self.push_members_to(properties);
    }
}

/// A string's text; any other value as it is written.
fn unquoted(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Text<'_>>(raw.get()).map_or_else(|_| Cow::Borrowed(raw.get()), |Text(text)| text)
}

/// An object's members in the order they are written in.
fn in_order<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Cow<'de, str>, Schema<'de>)>, D::Error> {
    struct InOrder;

    impl<'de> serde::de::Visitor<'de> for InOrder {
        type Value = Vec<(Cow<'de, str>, Schema<'de>)>;

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("an object of schemas")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some((Text(name), schema)) = members.next_entry()? {
                found.push((name, schema));
            }
            Ok(found)
        }
    }

    deserializer.deserialize_map(InOrder)
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
