//! A request for content: the model's input and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: the parts of contents (`content`), the number of tokens,
//! and whether the answer streams, which only the path says.
//!
//! Source: Google's "Gemini API reference", "Generating content", `GenerateContentRequest` and
//! `GenerationConfig`; the guide "Thinking": thoughts count towards `maxOutputTokens`, so the
//! thinking budget sets no bound of its own.

use std::borrow::Cow;

use super::content::{Contents, is_low_resolution};
use super::either;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{entries, items, text, written};
use crate::api::schema::FunctionDefinition;
use crate::api::{Piece, Prompt, Request, Unread};

const NAMES: [&str; 9] = [
    "model",
    "contents",
    "systemInstruction",
    "system_instruction",
    "tools",
    "generationConfig",
    "generation_config",
    "cachedContent",
    "cached_content",
];

const GENERATION_NAMES: [&str; 10] = [
    "maxOutputTokens",
    "max_output_tokens",
    "candidateCount",
    "candidate_count",
    "responseSchema",
    "response_schema",
    "responseJsonSchema",
    "response_json_schema",
    "mediaResolution",
    "media_resolution",
];

/// Reads a body.
///
/// # Errors
/// [`Unread`] if it does not have this shape: not a JSON object, no contents, a wrong type in a
/// counted member, a member in both spellings.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let generation = match either(&members, "generationConfig", "generation_config")? {
        Some(generation) => Generation::read(&members.of_object(generation, &GENERATION_NAMES)?)?,
        None => Generation::default(),
    };
    let mut contents = Contents { low_resolution: generation.low_resolution, ..Contents::default() };
    if let Some(system) = either(&members, "systemInstruction", "system_instruction")? {
        contents.push_all(system)?;
    }
    contents.push_all(members.raw("contents").ok_or(Unread::Malformed)?)?;
    for tool in members.items("tools") {
        push_tool(tool, &mut contents.pieces);
    }
    contents.pieces.extend(generation.schemas.into_iter().map(written));
    let cached = either(&members, "cachedContent", "cached_content")?;
    Ok(Request {
        model: members.text("model")?.map(last_segment),
        prompt: Prompt(contents.pieces),
        more_input: contents.more_input || cached.is_some(),
        max_output: generation.max_output,
        choices: generation.choices,
        ..Request::default()
    })
}

/// Returns the last segment of a name: `gemini-2.5-flash` of `models/gemini-2.5-flash`.
pub(super) fn last_segment(name: Cow<'_, str>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.rsplit('/').next().unwrap_or(name)),
        Cow::Owned(name) => Cow::Owned(name.rsplit('/').next().unwrap_or(&name).to_owned()),
    }
}

/// The members of `generationConfig` that decide what the call costs.
#[derive(Default)]
struct Generation<'a> {
    max_output: Option<u64>,
    choices: Option<u64>,
    schemas: Vec<&'a str>,
    low_resolution: bool,
}

impl<'a> Generation<'a> {
    fn read(members: &Members<'a>) -> Result<Self, Unread> {
        let count = |camel, snake| -> Result<Option<u64>, Unread> {
            either(members, camel, snake)?;
            let known = members.whole(camel).or_else(|| members.whole(snake));
            // Protocol buffers write an unset number as zero.
            Ok(known.filter(|count| *count > 0))
        };
        let bound = count("maxOutputTokens", "max_output_tokens")?;
        let choices = count("candidateCount", "candidate_count")?;
        let schemas = [
            either(members, "responseSchema", "response_schema")?,
            either(members, "responseJsonSchema", "response_json_schema")?,
        ];
        let resolution = either(members, "mediaResolution", "media_resolution")?;
        Ok(Self {
            max_output: bound.map(|bound| bound.saturating_mul(choices.unwrap_or(1))),
            choices,
            schemas: schemas.into_iter().flatten().collect(),
            low_resolution: resolution.is_some_and(is_low_resolution),
        })
    }
}

/// Pushes one entry of `tools`: functions, or Google's own tools, which count as their raw JSON
/// text.
fn push_tool<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let Some(members) = entries(raw) else {
        pieces.push(text(raw));
        return;
    };
    for (name, value) in members {
        if matches!(&*name, "functionDeclarations" | "function_declarations") {
            items(value).into_iter().for_each(|function| push_function(function, pieces));
        } else {
            pieces.extend([Piece::Text(name), text(value)]);
        }
    }
}

fn push_function<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let (Ok(function), Some(members)) = (serde_json::from_str::<FunctionDefinition<'a>>(raw), entries(raw))
    else {
        pieces.push(text(raw));
        return;
    };
    pieces.push(Piece::Function(function.into()));
    // Schemas in the other form, and the schema of the function's result.
    let known = ["name", "description", "parameters", "behavior"];
    let further = members.into_iter().filter(|(name, _)| !known.contains(&&**name));
    pieces.extend(further.map(|(_, value)| text(value)));
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
