//! A response, or one event of its stream: usage, text, tool calls, and whether it is still
//! pending.
//!
//! In: one JSON document. Out: [`Answer`]. Not here: results of tools, which the model has not
//! written.
//!
//! A document that is not JSON, or not of this shape, gives an empty answer: malformed output of an
//! upstream never causes a failure. Events repeat earlier content: only deltas and the names of
//! called functions are text, and only the response within an event (`response.completed`,
//! `.incomplete`, `.failed`) has usage. The events that add and finish an item name its call.
//! A call of the provider's own tool (`web_search_call`) has no name, so its type names the tool.
//!
//! Source: OpenAI's API reference, "The response object" and "Streaming events".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Answer;
use crate::api::answer::Called;
use crate::api::openai::usage::UsageMember;
use crate::api::raw::{Text, items, string};

/// Events with deltas of audio, in base64.
const SOUND: [&str; 2] = ["response.audio.delta", "response.output_audio.delta"];

/// Reads one document.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let mut answer = Answer::default();
    let Ok(document) = serde_json::from_slice::<Document<'_>>(json) else { return answer };
    let Some(Text(kind)) = document.kind else {
        for (item, place) in
            document.output.map(RawValue::get).map(items).unwrap_or_default().into_iter().zip(0..)
        {
            answer.tools.extend(call(item, Some(place)));
            push_item(item, &mut answer.text);
        }
        read_state(document.status, document.usage, &mut answer);
        return answer;
    };
    if kind.ends_with(".delta") && !SOUND.contains(&&*kind) {
        answer.text.extend(document.delta.map(RawValue::get).and_then(string));
    }
    if kind == "response.output_item.added"
        && let Some(item) = document.item.and_then(|item| serde_json::from_str::<Item<'_>>(item.get()).ok())
    {
        answer.text.extend(item.name.map(|Text(name)| name));
    }
    if matches!(&*kind, "response.output_item.added" | "response.output_item.done")
        && let Some(item) = document.item
    {
        let place = document.output_index.and_then(|index| index.get().parse().ok());
        answer.tools.extend(call(item.get(), place));
    }
    if let Some(response) =
        document.response.and_then(|response| serde_json::from_str::<Stored<'_>>(response.get()).ok())
    {
        read_state(response.status, response.usage, &mut answer);
    }
    answer
}

fn read_state<'a>(status: Option<Text<'a>>, usage: Option<&'a RawValue>, answer: &mut Answer<'a>) {
    answer.tell(usage, UsageMember::told);
    let is_waiting = status.is_some_and(|Text(status)| status == "queued" || status == "in_progress");
    answer.pending = is_waiting && answer.told.is_nothing();
}

/// Returns the tool call that an output item is. Items of named tools count once they have a name;
/// others have only a type.
fn call(item: &str, index: Option<u64>) -> Option<Called<'_>> {
    let item: Item<'_> = serde_json::from_str(item).ok()?;
    let kind = item.kind.and_then(|kind| string(kind.get()))?;
    let tool = kind.strip_suffix("_call")?;
    let name = match (item.name, tool) {
        (Some(Text(name)), _) => name,
        (None, "function" | "custom_tool" | "mcp") => return None,
        (None, tool) => Cow::Owned(tool.to_owned()),
    };
    // The id that the client answers to. Calls that the provider answers itself have only `id`.
    let id = [item.call_id, item.id].into_iter().flatten().map(RawValue::get);
    let id = id.filter(|id| !matches!(*id, "\"\"" | "null")).map(Cow::Borrowed).next();
    Some(Called { name, id, index, choice: 0 })
}

/// Adds the text of an output item: the parts of a message, the name and arguments of a call, the
/// text of reasoning.
fn push_item<'a>(item: &'a str, texts: &mut Vec<Cow<'a, str>>) {
    let Ok(item) = serde_json::from_str::<Item<'_>>(item) else { return };
    texts.extend(item.name.map(|Text(name)| name));
    texts.extend([item.arguments, item.input].into_iter().flatten().map(RawValue::get).filter_map(string));
    for part in [item.content, item.summary].into_iter().flatten().map(RawValue::get).flat_map(items) {
        let Ok(part) = serde_json::from_str::<Part<'_>>(part) else { continue };
        texts.extend([part.text, part.refusal].into_iter().flatten().map(|Text(text)| text));
    }
}

#[derive(Deserialize)]
struct Document<'a> {
    /// The kind of event; a whole response has none.
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
