//! The tools that a messages request offers, and edits that remove some of them.
//!
//! In: a body, and the tools to remove. Out: names, edits. Not here: the tools of remote servers
//! (`mcp_toolset`), which are not in the request, and lists in general (`tool_list`).
//!
//! Source: Anthropic's API reference, "Create a Message": `tools`, `tool_choice`. A request must
//! define tools if its history has tool calls or results. If no tool may remain in such a request,
//! the definitions stay, and the choice becomes `none`.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::{as_text, items, values};
use crate::api::tool_list::{self, Offer, name};
use crate::api::{Edit, Hide};

const OFFER: Offer = Offer { naming: name, rechoose, ..Offer::DEFAULT };

/// Returns the names that a body offers.
pub(in crate::api) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    tool_list::offered(outline, &[OFFER])
}

/// Returns the edits that remove tools from a body.
pub(in crate::api) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    let change = OFFER.without(outline, hide);
    if change.is_emptied && has_history(outline) {
        return choose_none(outline);
    }
    change.edits(outline)
}

fn choose_none(outline: &Outline<'_>) -> Vec<Edit> {
    let choices = outline.named(&["tool_choice"]);
    let edits: Vec<_> = choices.map(|choice| outline.replace(choice.raw, r#"{"type":"none"}"#)).collect();
    if !edits.is_empty() {
        return edits;
    }
    outline.insert(r#""tool_choice":{"type":"none"},"#).into_iter().collect()
}

/// Edits a choice of one tool; keeps the setting for parallel calls.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let Some(choice) = outline.object(raw).filter(|_| name(raw).iter().any(|name| hide(name))) else {
        return Vec::new();
    };
    let gone: Vec<_> = choice.elements().iter().map(|member| member.is("name")).collect();
    let kinds = choice.named(&["type"]).map(|kind| outline.replace(kind.raw, "\"auto\""));
    kinds.chain(choice.without(&gone)).collect()
}

/// Returns whether a message has a tool call or result of any kind.
fn has_history(object: &Outline<'_>) -> bool {
    let messages = object.named(&["messages"]).flat_map(|messages| items(messages.raw));
    let blocks = messages.flat_map(|message| values(message, "content")).flat_map(items);
    let mut kinds = blocks.flat_map(|block| values(block, "type")).map(as_text);
    kinds.any(|kind| kind.ends_with("tool_use") || kind.ends_with("tool_result"))
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
