//! The tools that a Converse request offers, and the request without some of them.
//!
//! In: a body, and which tools are to go. Out: names, edits. Not here: lists in general
//! (`tool_list`).
//!
//! Source: Amazon Bedrock API reference, "ToolConfiguration", "Tool", "ToolChoice". Converse
//! refuses a history with calls or results of tools where no `toolConfig` is defined, refuses one
//! without tools, and has no choice that forbids to call any. If no tool may be left of such a
//! request, one that does nothing stands in for them. To leave the definitions would let the model
//! call what it must not, in every conversation that has called it before, and to take them away
//! would have the whole call refused. At worst the model calls the stand-in, and the client says
//! that it knows no such tool.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::{items, values};
use crate::api::tool_list::{Offer, name};
use crate::api::{Edit, Hide};

const OFFER: Offer = Offer { naming, is_mark, choice: "toolChoice", rechoose, ..Offer::DEFAULT };

/// The stand-in for tools that are all taken away.
const STAND_IN: &str = r#"[{"toolSpec":{"name":"no_tool_available","description":"There is no tool now. Never call this.","inputSchema":{"json":{"type":"object","properties":{}}}}}]"#;

/// The names that a body offers.
pub(in crate::api::bedrock) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    let configs = outline.named(&["toolConfig"]).filter_map(|config| outline.object(config.raw));
    configs.flat_map(|config| OFFER.names(&config)).collect()
}

/// Edits that take tools out of a body.
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

/// The stand-in for all tools, and no choice, which would name one of them or force the model to
/// call it.
fn stand_in(config: &Outline<'_>) -> Vec<Edit> {
    let gone: Vec<_> = config.elements().iter().map(|member| member.is(OFFER.choice)).collect();
    let lists = config.named(&[OFFER.list]).map(|list| config.replace(list.raw, STAND_IN));
    lists.chain(config.without(&gone)).collect()
}

/// The name of a tool, of the client's or of the model's own.
fn naming(raw: &str) -> Vec<Cow<'_, str>> {
    ["toolSpec", "systemTool"].iter().flat_map(|kind| values(raw, kind)).flat_map(name).collect()
}

fn is_mark(raw: &str) -> bool {
    !values(raw, "cachePoint").is_empty()
}

/// A choice of one tool.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let is_hidden = values(raw, "tool").into_iter().flat_map(name).any(|name| hide(&name));
    if is_hidden { vec![outline.replace(raw, r#"{"auto":{}}"#)] } else { Vec::new() }
}

/// Whether a message has a call or a result of a tool.
fn has_history(outline: &Outline<'_>) -> bool {
    let messages = outline.named(&["messages"]).flat_map(|messages| items(messages.raw));
    let mut blocks = messages.flat_map(|message| values(message, "content")).flat_map(items);
    blocks.any(|block| ["toolUse", "toolResult"].iter().any(|kind| !values(block, kind).is_empty()))
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
