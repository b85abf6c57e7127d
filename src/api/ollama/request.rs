//! Ollama's requests: the model's input and the bound on its output.
//!
//! In: a body. Out: [`Request`]. Not here: the number of its tokens, and the template that a
//! model's own file puts around a prompt.
//!
//! Source: Ollama's API reference, "Generate a chat completion", "Generate a completion", "Generate
//! Embeddings"; its model file reference, `num_predict`: -1 and -2 mean no bound, as does 0
//! (Ollama's runner).

use crate::api::outline::{Element, Members, Outline};
use crate::api::raw::{entries, items, string, text, written};
use crate::api::{Image, Piece, Prompt, Request, Unread, Usage, tools};

const CHAT_NAMES: [&str; 5] = ["model", "messages", "tools", "format", "options"];

const GENERATE_NAMES: [&str; 9] =
    ["model", "prompt", "suffix", "images", "system", "template", "context", "format", "options"];

const EMBED_NAMES: [&str; 3] = ["model", "input", "prompt"];

/// Reads the body of a chat.
///
/// # Errors
/// [`Unread`] if it is not a chat request: not a JSON object, a message that is not an object.
pub(super) fn chat<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = members(outline, &CHAT_NAMES)?;
    let mut pieces = Vec::new();
    for message in members.items("messages") {
        push_message(message, &mut pieces)?;
    }
    pieces.extend(members.items("tools").into_iter().map(tools::definition));
    generation(&members, pieces)
}

/// Reads the body of a completion. One without a prompt only loads the model.
///
/// # Errors
/// [`Unread`] if it is not a JSON object.
pub(super) fn generate<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = members(outline, &GENERATE_NAMES)?;
    let mut pieces = Vec::new();
    pieces.extend(
        ["system", "template", "prompt", "suffix"].into_iter().filter_map(|name| members.raw(name)).map(text),
    );
    push_images(members.raw("images").unwrap_or("null"), &mut pieces);
    let context = members.items("context").len() as u64;
    pieces.extend((context > 0).then_some(Piece::Tokens(context)));
    generation(&members, pieces)
}

/// Reads the body of a request for embeddings.
///
/// # Errors
/// [`Unread`] if it is not a JSON object, or has nothing to embed.
pub(super) fn embed<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = members(outline, &EMBED_NAMES)?;
    let input = members.raw("input").or_else(|| members.raw("prompt")).ok_or(Unread::Malformed)?;
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(items(input).into_iter().map(text).collect()),
        known: Some(Usage::default()),
        ..Request::default()
    })
}

/// Returns the members of a body. Ollama reads names in any case and the last of several counts, so
/// two names that differ only in case are duplicates.
///
/// # Errors
/// [`Unread`] if it is not a JSON object, or if a member is there twice or in another case.
pub(super) fn members<'a>(
    outline: &Outline<'a>,
    names: &'static [&'static str],
) -> Result<Members<'a>, Unread> {
    let members = outline.members(names)?;
    for name in outline.elements().iter().map(Element::name) {
        let known = names.iter().find(|known| folded(known).eq(folded(&name)));
        if let Some(member) = known.filter(|known| **known != name) {
            return Err(Unread::Ambiguous { member });
        }
    }
    Ok(members)
}

/// Folds a name as Go's JSON reader does: to lower case, including the two letters that fold into
/// ASCII.
pub(super) fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    })
}

/// Reads the members that completions and chats have in common.
fn generation<'a>(members: &Members<'a>, mut pieces: Vec<Piece<'a>>) -> Result<Request<'a>, Unread> {
    // The word `json` only constrains the output; many templates also show a schema to the model.
    let schema = members.raw("format").filter(|format| format.starts_with('{'));
    pieces.extend(schema.map(written));
    let options = members.inside("options", &["num_predict"])?;
    let max_output = options.and_then(|options| options.whole("num_predict")).filter(|bound| *bound > 0);
    Ok(Request { model: members.text("model")?, prompt: Prompt(pieces), max_output, ..Request::default() })
}

fn push_message<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) -> Result<(), Unread> {
    let members = entries(raw).ok_or(Unread::Malformed)?;
    pieces.push(Piece::Message);
    for (name, value) in members {
        match &*name {
            "role" | "content" | "thinking" | "tool_name" | "name" => pieces.push(text(value)),
            "images" => push_images(value, pieces),
            "tool_calls" => items(value).into_iter().for_each(|call| tools::push_call(call, pieces)),
            "tool_call_id" => {}
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
    Ok(())
}

fn push_images(raw: &str, pieces: &mut Vec<Piece<'_>>) {
    let image = |raw: &str| Image::in_base64(&string(raw).unwrap_or_default(), None);
    pieces.extend(items(raw).into_iter().map(|raw| Piece::Image(image(raw))));
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
