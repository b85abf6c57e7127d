//! The tools that a Responses request offers, and edits that remove some of them.
//!
//! In: a body, and the tools to remove. Out: names, edits. Not here: the tools of remote servers,
//! which are not in the request (an `mcp` tool stays or goes as a whole), and lists in general
//! (`tool_list`).
//!
//! A tool of the provider's own has no name; its type (`web_search_preview`) names it, as in its
//! calls (`answer`).
//!
//! Source: OpenAI's API reference, "Create a model response": `tools`, `tool_choice`,
//! `parallel_tool_calls`.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::{as_text, values};
use crate::api::tool_list::{self, Narrowed, Offer, name};
use crate::api::{Edit, Hide};

const OFFERS: [Offer; 1] =
    [Offer { naming, rechoose, only_with_tools: &["parallel_tool_calls"], ..Offer::DEFAULT }];

/// Returns the names that a body offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    tool_list::offered(outline, &OFFERS)
}

/// Returns the edits that remove tools from a body.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    tool_list::without(outline, &OFFERS, hide)
}

/// Returns the name of a tool, or else its type.
fn naming(raw: &str) -> Vec<Cow<'_, str>> {
    let names = name(raw);
    if names.is_empty() { values(raw, "type").into_iter().map(as_text).collect() } else { names }
}

/// Edits a choice of one tool, or of a list of allowed tools.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let auto = || vec![outline.replace(raw, "\"auto\"")];
    let allowed = values(raw, "tools").into_iter();
    let allowed: Vec<_> =
        allowed.map(|list| Narrowed::read(outline, list, naming, |_| false, hide)).collect();
    let is_hidden = allowed.is_empty() && naming(raw).iter().any(|name| hide(name));
    if is_hidden || allowed.iter().any(Narrowed::is_emptied) {
        return auto();
    }
    allowed.iter().flat_map(Narrowed::edits).collect()
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
