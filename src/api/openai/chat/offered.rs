//! The tools that a chat request offers, in their two forms, and edits that remove some of them.
//!
//! In: a body, and the tools to remove. Out: names, edits. Not here: lists in general
//! (`tool_list`).
//!
//! Source: OpenAI's API reference, "Create chat completion": `tools`, `tool_choice`,
//! `parallel_tool_calls`, which the API allows only beside `tools`, and the older `functions` and
//! `function_call`. A history with calls needs no definitions.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::values;
use crate::api::tool_list::{self, Narrowed, Offer, name};
use crate::api::{Edit, Hide};

const OFFERS: [Offer; 2] = [
    Offer { naming: of_tool, rechoose, only_with_tools: &["parallel_tool_calls"], ..Offer::DEFAULT },
    Offer { list: "functions", naming: name, choice: "function_call", rechoose, ..Offer::DEFAULT },
];

/// Returns the names that a body offers.
pub(in crate::api) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    tool_list::offered(outline, &OFFERS)
}

/// Returns the edits that remove tools from a body.
pub(in crate::api) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    tool_list::without(outline, &OFFERS, hide)
}

/// Returns the name of a tool of either kind.
pub(in crate::api) fn of_tool(raw: &str) -> Vec<Cow<'_, str>> {
    ["function", "custom"].iter().flat_map(|kind| values(raw, kind)).flat_map(name).collect()
}

/// Edits a choice of one tool, or of a list of allowed tools.
fn rechoose<'a>(outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> Vec<Edit> {
    let auto = || vec![outline.replace(raw, "\"auto\"")];
    if of_tool(raw).into_iter().chain(name(raw)).any(|name| hide(&name)) {
        return auto();
    }
    let allowed = values(raw, "allowed_tools").into_iter().flat_map(|allowed| values(allowed, "tools"));
    let allowed: Vec<_> =
        allowed.map(|list| Narrowed::read(outline, list, of_tool, |_| false, hide)).collect();
    if allowed.iter().any(Narrowed::is_emptied) {
        return auto();
    }
    allowed.iter().flat_map(Narrowed::edits).collect()
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
