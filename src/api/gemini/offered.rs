//! The functions that a request for content offers, and the request without some of them.
//!
//! In: a body, and which functions are to go. Out: names, edits. Not here: tools of Google's own,
//! which have no names, and lists in general (`tool_list`).
//!
//! Source: Google's "Gemini API reference", "Caching" (`Tool`, `ToolConfig`,
//! `FunctionCallingConfig`). `allowedFunctionNames` stand only with a mode that must call one of
//! them or check its calls; a configuration of function calls stands only where functions are
//! declared.

use std::borrow::Cow;

use crate::api::raw::{as_text, items};
use crate::api::tool_list::{Elements, Narrowed, name, replace};
use crate::api::{Edit, Hide};

const DECLARATIONS: [&str; 2] = ["functionDeclarations", "function_declarations"];
const CONFIG: [&str; 2] = ["toolConfig", "tool_config"];
const CALLING: [&str; 2] = ["functionCallingConfig", "function_calling_config"];
const ALLOWED: [&str; 2] = ["allowedFunctionNames", "allowed_function_names"];

/// The names that a body offers.
pub(super) fn offered(body: &[u8]) -> Vec<Cow<'_, str>> {
    let Some(request) = Elements::outermost(body) else { return Vec::new() };
    let tools = request.named(&["tools"]).flat_map(|tools| items(tools.raw));
    let tools: Vec<_> = tools.filter_map(|tool| Elements::object(body, tool)).collect();
    let lists = tools.iter().flat_map(|tool| tool.named(&DECLARATIONS));
    lists.flat_map(|list| items(list.raw)).flat_map(name).collect()
}

/// Edits that take functions out of a body.
pub(super) fn without(body: &[u8], hide: Hide<'_>) -> Vec<Edit> {
    let Some(request) = Elements::outermost(body) else { return Vec::new() };
    let mut functions = Functions::default();
    let mut gone: Vec<_> = request
        .items
        .iter()
        .map(|member| member.name == "tools" && functions.take_from(body, member.raw, hide))
        .collect();
    if !functions.are_taken {
        return Vec::new();
    }
    let mut edits = functions.edits;
    for (member, gone) in request.items.iter().zip(&mut gone) {
        if !CONFIG.contains(&&*member.name) {
            continue;
        }
        let Some(config) = Elements::object(body, member.raw) else { continue };
        let calling: Vec<_> = config.items.iter().map(|member| CALLING.contains(&&*member.name)).collect();
        if functions.are_left {
            let calling = config.named(&CALLING).filter_map(|calling| Elements::object(body, calling.raw));
            edits.extend(calling.flat_map(|calling| narrow(body, &calling, hide)));
        } else if config.is_empty_without(&calling) {
            *gone = true;
        } else {
            edits.extend(config.without(&calling));
        }
    }
    edits.extend(request.without(&gone));
    edits
}

/// What becomes of the functions of a request.
#[derive(Default)]
struct Functions {
    edits: Vec<Edit>,
    are_taken: bool,
    are_left: bool,
}

impl Functions {
    /// Takes functions out of a list of tools; whether all of it goes.
    fn take_from(&mut self, body: &[u8], raw: &str, hide: Hide<'_>) -> bool {
        let tools = Elements::list(body, raw);
        let mut gone = Vec::with_capacity(tools.items.len());
        let mut edits = Vec::new();
        for tool in &tools.items {
            let members = Elements::object(body, tool.raw);
            gone.push(members.is_some_and(|members| self.take_from_tool(body, &members, hide, &mut edits)));
        }
        if gone.contains(&true) && !gone.contains(&false) {
            return true;
        }
        self.edits.append(&mut edits);
        self.edits.extend(tools.without(&gone));
        false
    }

    /// Takes functions out of one tool; whether nothing else is in it, so that it goes.
    fn take_from_tool(
        &mut self,
        body: &[u8],
        tool: &Elements<'_>,
        hide: Hide<'_>,
        edits: &mut Vec<Edit>,
    ) -> bool {
        let mut gone = Vec::with_capacity(tool.items.len());
        let mut within = Vec::new();
        for member in &tool.items {
            if !DECLARATIONS.contains(&&*member.name) {
                gone.push(false);
                continue;
            }
            let list = Narrowed::read(body, member.raw, name, |_| false, hide);
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

/// Edits of a configuration of calls, which may name the functions that are allowed. Where none of
/// them is left, the model is free again.
fn narrow(body: &[u8], calling: &Elements<'_>, hide: Hide<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut gone = Vec::with_capacity(calling.items.len());
    for member in &calling.items {
        let is_allowed = ALLOWED.contains(&&*member.name);
        let list =
            is_allowed.then(|| Narrowed::read(body, member.raw, |name| vec![as_text(name)], |_| false, hide));
        gone.push(list.as_ref().is_some_and(Narrowed::is_emptied));
        edits.extend(list.filter(|list| !list.is_emptied()).iter().flat_map(Narrowed::edits));
    }
    if gone.contains(&true) {
        edits.extend(calling.named(&["mode"]).map(|mode| replace(body, mode.raw, "\"AUTO\"")));
    }
    edits.extend(calling.without(&gone));
    edits
}

#[cfg(test)]
#[path = "offered_tests.rs"]
mod tests;
