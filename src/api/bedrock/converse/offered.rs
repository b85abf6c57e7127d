//! The tools that a Converse request offers, and edits that remove some of them.
//!
//! In: a body, and the tools to remove. Out: names, edits. Not here: lists in general
//! (`tool_list`).
//!
//! Source: Amazon Bedrock API reference, "ToolConfiguration", "Tool", "ToolChoice". Converse
//! refuses a history with tool calls or results without a `toolConfig`, refuses a `toolConfig`
//! without tools, and has no choice that forbids all calls. If no tool may remain in such a
//! request, a stand-in that does nothing replaces them. If the definitions stayed, the model could
//! call a hidden tool in every conversation that has called it before; without them, Converse would
//! refuse the whole call. At worst the model calls the stand-in, and the client answers that it
//! knows no such tool.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::{items, values};
use crate::api::tool_list::{Offer, name};
use crate::api::{Edit, Hide};

const OFFER: Offer = Offer { naming, is_mark, choice: "toolChoice", rechoose, ..Offer::DEFAULT };

/// The stand-in when all tools are removed.
const STAND_IN: &str = r#"[{"toolSpec":{"name":"no_tool_available","description":"There is no tool now. Never call this.","inputSchema":{"json":{"type":"object","properties":{}}}}}]"#;

/// Returns the names that a body offers.
pub(in crate::api::bedrock) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    let configs = outline.named(&["toolConfig"]).filter_map(|config| outline.object(config.raw));
    configs.flat_map(|config| OFFER.names(&config)).collect()
}

/// Returns the edits that remove tools from a body.
pub(in crate::api::bedrock) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut gone = Vec::new();
    for member in outline.elements() {
        let config = member.is("toolConfig").then(|| outline.object(member.raw)).flatten();
        let change = config.as_ref().map(|config| OFFER.without(config, hide));
        let (Some(config), Some(change)) = (config, change) else {
            gone.push(false);
            continue;
        };
        let must_stay = has_history(outline);
        gone.push(change.is_emptied && !must_stay);
        if !change.is_emptied {
            edits.extend(change.edits(&config));
        } else if must_stay {
            edits.extend(stand_in(&config));
        }
    }
    edits.extend(outline.without(&gone));
    edits
}

/// Replaces all tools by the stand-in, and removes the choice, which would name one of them or
/// force the model to call it.
fn stand_in(config: &Outline<'_>) -> Vec<Edit> {
    let gone: Vec<_> = config.elements().iter().map(|member| member.is(OFFER.choice)).collect();
    let lists = config.named(&[OFFER.list]).map(|list| config.replace(list.raw, STAND_IN));
    lists.chain(config.without(&gone)).collect()
}

/// Returns the name of a tool, the client's or the model's own.
fn naming(raw: &str) -> Vec<Cow<'_, str>> {
    ["toolSpec", "systemTool"].iter().flat_map(|kind| values(raw, kind)).flat_map(name).collect()
}

fn is_mark(raw: &str) -> bool {
    !values(raw, "cachePoint").is_empty()
}

/// Edits a choice of one tool.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let is_hidden = values(raw, "tool").into_iter().flat_map(name).any(|name| hide(&name));
    if is_hidden { vec![outline.replace(raw, r#"{"auto":{}}"#)] } else { Vec::new() }
}

/// Returns whether a message has a tool call or result.
fn has_history(outline: &Outline<'_>) -> bool {
    let messages = outline.named(&["messages"]).flat_map(|messages| items(messages.raw));
    let mut blocks = messages.flat_map(|message| values(message, "content")).flat_map(items);
    blocks.any(|block| ["toolUse", "toolResult"].iter().any(|kind| !values(block, kind).is_empty()))
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
