//! A request for a response, `response.create`, and the settings of a session, `session.update`:
//! both have the deciding members in one object.
//!
//! In: an event. Out: [`Request`], tools, edits. Not here: the conversation that the response reads
//! besides (`socket`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::api::bound::{Bound, allowed};
use crate::api::media::decoded_len;
use crate::api::openai::parts::Reading;
use crate::api::outline::{Members, Outline};
use crate::api::raw::{entries, items, string};
use crate::api::schema::FunctionDefinition;
use crate::api::tool_list::{self, Offer, name};
use crate::api::{Bounded, Edit, Hide, Piece, Prompt, Request, Unread};

/// The members that hold the object.
const OBJECT: [&str; 2] = ["response", "session"];

/// The bounds on the output, in the present API and the older one.
pub(super) const BOUNDS: [&str; 2] = ["max_output_tokens", "max_response_output_tokens"];

const NAMES: [&str; 5] = ["input", "instructions", "tools", BOUNDS[0], BOUNDS[1]];

/// Returns the object of an event; none if it has none.
///
/// # Errors
/// [`Unread`] if it is no object, or there twice.
fn object<'a>(outline: &Outline<'a>) -> Result<Option<Outline<'a>>, Unread> {
    let members = outline.members(&OBJECT)?;
    let raw = OBJECT.iter().find_map(|name| members.raw(name));
    raw.map(|raw| outline.object(raw).ok_or(Unread::Malformed)).transpose()
}

/// Reads a request for a response.
///
/// # Errors
/// [`Unread`] if it is no such event.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let Some(object) = object(outline)? else {
        return Ok(Request { more_input: true, ..Request::default() });
    };
    let members = object.members(&NAMES)?;
    let max_output = BOUNDS.iter().filter_map(|name| members.whole(name)).min();
    Ok(Request { prompt: prompt(&members), more_input: true, max_output, ..Request::default() })
}

/// Returns the bound, instructions and tools of an object.
pub(super) fn prompt<'a>(members: &Members<'a>) -> Prompt<'a> {
    let mut reading = Reading::default();
    if let Some(instructions) = members.raw("instructions").and_then(string) {
        reading.pieces.push(Piece::Message);
        reading.pieces.push(Piece::Text(instructions));
    }
    members.items("input").into_iter().for_each(|item| push_item(item, &mut reading));
    for tool in members.items("tools") {
        match serde_json::from_str::<FunctionDefinition<'_>>(tool) {
            Ok(function) => reading.pieces.push(Piece::Function(function.into())),
            Err(_) => reading.written(tool),
        }
    }
    Prompt(reading.pieces)
}

/// Returns the members of a session that decide what its responses cost.
pub(super) fn session<'a>(outline: &Outline<'a>) -> Option<Members<'a>> {
    object(outline).ok().flatten()?.members(&NAMES).ok()
}

/// Returns the prompt of one item of the conversation.
pub(super) fn item(raw: &str) -> Prompt<'_> {
    let mut reading = Reading::default();
    push_item(raw, &mut reading);
    Prompt(reading.pieces)
}

/// Adds an item: the parts of a message, the name and arguments of a call, or its output. Sound is
/// counted by its length elsewhere (`socket`), here only as the text that is in it.
fn push_item<'a>(raw: &'a str, reading: &mut Reading<'a>) {
    let Some(members) = entries(raw) else { return reading.written(raw) };
    reading.pieces.push(Piece::Message);
    for (name, value) in members {
        match &*name {
            "content" => items(value).into_iter().for_each(|part| push_part(part, reading)),
            "name" | "arguments" | "output" => reading.pieces.push(crate::api::raw::text(value)),
            // Names and states, which the model does not read.
            "id" | "type" | "object" | "status" | "role" | "call_id" => {}
            _ => reading.written(value),
        }
    }
}

fn push_part<'a>(raw: &'a str, reading: &mut Reading<'a>) {
    if sound(raw).is_none() {
        reading.part(raw);
    }
}

/// Returns the bytes of sound in a part; none if it has no sound.
fn sound(part: &str) -> Option<u64> {
    let audio = crate::api::raw::values(part, "audio").pop()?;
    string(audio).map(|audio| decoded_len(&audio))
}

/// Returns the bytes of sound in an item.
pub(super) fn sound_of_item(raw: &str) -> u64 {
    let content = crate::api::raw::values(raw, "content").pop().unwrap_or("null");
    items(content).into_iter().filter_map(sound).fold(0, u64::saturating_add)
}

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let Some(object) = object(outline)? else {
        let members = outline.members(&OBJECT)?;
        return Ok(vec![members.insert(&format!("\"response\":{{\"{}\":{each}}}", BOUNDS[0]))]);
    };
    let members = object.members(&BOUNDS)?;
    let name = BOUNDS.iter().find(|name| members.has(name)).unwrap_or(&BOUNDS[0]);
    allowed(Bound::named(&BOUNDS).lowered(&members, name, each), each, 1, None)
}

const OFFERS: [Offer; 1] = [Offer { naming: name, rechoose, ..Offer::DEFAULT }];

/// Returns the names of the tools that an event offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    object(outline).ok().flatten().map(|object| tool_list::offered(&object, &OFFERS)).unwrap_or_default()
}

/// Returns the edits that remove tools from an event.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    object(outline)
        .ok()
        .flatten()
        .map(|object| tool_list::without(&object, &OFFERS, hide))
        .unwrap_or_default()
}

/// Lets the model choose, if a removed tool was chosen.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let is_hidden = name(raw).iter().any(|name| hide(name));
    if is_hidden { vec![outline.replace(raw, "\"auto\"")] } else { Vec::new() }
}

/// Returns a raw value of a member that was borrowed as raw JSON.
pub(super) fn raw(value: Option<&RawValue>) -> &str {
    value.map_or("null", RawValue::get)
}
