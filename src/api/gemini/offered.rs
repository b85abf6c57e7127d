//! The functions that a request for content offers, and edits that remove some.
//!
//! In: a body, and which functions to remove. Out: names, edits. Not here: Google's own tools,
//! which have no names, and lists in general (`tool_list`).
//!
//! Source: Google's "Gemini API reference", "Caching" (`Tool`, `ToolConfig`,
//! `FunctionCallingConfig`). `allowedFunctionNames` is only valid with a mode that must call one of
//! them or that validates calls; a function calling configuration is only valid with declared
//! functions.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::raw::{as_text, items};
use crate::api::tool_list::{Narrowed, name};
use crate::api::{Edit, Hide};

const DECLARATIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];
const CONFIG: [&str; 2] = ["toolConfig", "tool_config"];
const CALLING: [&str; 2] = ["functionCallingConfig", "function_calling_config"];
const ALLOWED: [&str; 2] = ["allowedFunctionNames", "allowed_function_names"];

/// Returns the names that a body offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    let tools = outline.named(&["tools"]).flat_map(|tools| items(tools.raw));
    let tools: Vec<_> = tools.filter_map(|tool| outline.object(tool)).collect();
    let lists = tools.iter().flat_map(|tool| tool.named(&DECLARATIONS));
    lists.flat_map(|list| items(list.raw)).flat_map(name).collect()
}

/// Returns edits that remove functions from a body.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    let mut functions = Functions::default();
    let mut gone: Vec<_> = outline
        .elements()
        .iter()
        .map(|member| member.is("tools") && functions.take_from(outline, member.raw, hide))
        .collect();
    if !functions.are_taken {
        return Vec::new();
    }
    let mut edits = functions.edits;
    for (member, gone) in outline.elements().iter().zip(&mut gone) {
        if !member.is_any(&CONFIG) {
            continue;
        }
        let Some(config) = outline.object(member.raw) else { continue };
        let calling: Vec<_> = config.elements().iter().map(|member| member.is_any(&CALLING)).collect();
        if functions.are_left {
            let calling = config.named(&CALLING).filter_map(|calling| outline.object(calling.raw));
            edits.extend(calling.flat_map(|calling| narrow(&calling, hide)));
        } else if config.is_empty_without(&calling) {
            *gone = true;
        } else {
            edits.extend(config.without(&calling));
        }
    }
    edits.extend(outline.without(&gone));
    edits
}

/// The edits of a request's functions.
#[derive(Default)]
struct Functions {
    edits: Vec<Edit>,
    are_taken: bool,
    are_left: bool,
}

impl Functions {
    /// Removes functions from a list of tools; returns whether to remove all of it.
    fn take_from<'a>(&mut self, outline: &Outline<'a>, raw: &'a str, hide: Hide<'_>) -> bool {
        let tools = outline.list(raw);
        let mut gone = Vec::with_capacity(tools.elements().len());
        let mut edits = Vec::new();
        for tool in tools.elements() {
            let members = outline.object(tool.raw);
            gone.push(members.is_some_and(|members| self.take_from_tool(&members, hide, &mut edits)));
        }
        if gone.contains(&true) && !gone.contains(&false) {
            return true;
        }
        self.edits.append(&mut edits);
        self.edits.extend(tools.without(&gone));
        false
    }

    /// Removes functions from one tool; returns whether to remove the tool because nothing else is
    /// in it.
    fn take_from_tool(&mut self, tool: &Outline<'_>, hide: Hide<'_>, edits: &mut Vec<Edit>) -> bool {
        let mut gone = Vec::with_capacity(tool.elements().len());
        let mut within = Vec::new();
        for member in tool.elements() {
            if !member.is_any(&DECLARATIONS) {
                gone.push(false);
                continue;
            }
            let list = Narrowed::read(tool, member.raw, name, |_| false, hide);
            self.are_taken |= list.is_changed();
            self.are_left |= list.has_left();
            gone.push(list.is_emptied());
            if !list.is_emptied() {
                within.extend(list.edits());
            }
        }
        if gone.contains(&true) && tool.is_empty_without(&gone) {
            return true;
        }
        edits.extend(within);
        edits.extend(tool.without(&gone));
        false
    }
}

/// Returns edits of a function calling configuration, which may list the allowed functions. If none
/// of them remains, the mode becomes `AUTO`.
fn narrow(calling: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut gone = Vec::with_capacity(calling.elements().len());
    for member in calling.elements() {
        let is_allowed = member.is_any(&ALLOWED);
        let list = is_allowed
            .then(|| Narrowed::read(calling, member.raw, |name| vec![as_text(name)], |_| false, hide));
        gone.push(list.as_ref().is_some_and(Narrowed::is_emptied));
        edits.extend(list.filter(|list| !list.is_emptied()).iter().flat_map(Narrowed::edits));
    }
    if gone.contains(&true) {
        edits.extend(calling.named(&["mode"]).map(|mode| calling.replace(mode.raw, "\"AUTO\"")));
    }
    edits.extend(calling.without(&gone));
    edits
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
