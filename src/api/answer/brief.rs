//! Reads the usage of a whole answer without the text that the model wrote.
//!
//! In: a whole body. Out: what reading all of it would report, if this can prove that. Most answers
//! are one JSON object with its usage and without calls of tools, and nothing counts their text.
//! Not here: any other answer, which [`Reader`](super::Reader) reads in full.

use memchr::memchr_iter;
use serde_json::value::RawValue;

use crate::api::raw::Pairs;
use crate::api::{Answer, Format, Side};

/// The longest answer that is kept until it is whole. A full reading keeps up to four times as much
/// of one member, so this takes no further memory.
pub(super) const LONGEST_KEPT: usize = 64 * 1024;

/// The members of a whole answer that hold what the model wrote. Without them, and without calls of
/// tools in them, [`Format::answer`] must report the same usage.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Written {
    /// The names of the members.
    pub(in crate::api) members: &'static [&'static str],
    /// The letters that every name or type of a tool call contains.
    pub(in crate::api) call: &'static [u8],
}

/// Reads a body; returns none unless it is one valid JSON object that names each member once,
/// reports its output and calls no tool.
pub(super) fn read(format: &Format, body: &[u8]) -> Option<Answer<'static>> {
    let written = format.written?;
    let body = core::str::from_utf8(body).ok()?;
    let Pairs(members) = serde_json::from_str::<Pairs<&RawValue, &RawValue>>(body).ok()?;
    let mut seen: Vec<&str> = Vec::with_capacity(format.answer_members.len());
    let mut document = vec![b'{'];
    for (name, value) in members {
        let (quoted, value) = (name.get(), value.get());
        let name = quoted.strip_prefix('"')?.strip_suffix('"')?;
        if !format.answer_members.contains(&name) {
            continue;
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        if written.members.contains(&name) {
            if may_call(value.as_bytes(), written.call) {
                return None;
            }
            continue;
        }
        if document.len() > 1 {
            document.push(b',');
        }
        document.extend_from_slice(quoted.as_bytes());
        document.push(b':');
        document.extend_from_slice(value.as_bytes());
    }
    document.push(b'}');
    let Answer { told, otherwise, unreadable, text, tools, part, pending, .. } = (format.answer)(&document);
    let is_all = text.is_empty() && tools.is_empty() && part.is_none() && !unreadable && !pending;
    (is_all && told.tells(Side::Output)).then(|| Answer { told, otherwise, ..Answer::default() })
}

/// Returns whether a JSON value may contain a call of a tool: the letters of a call, other than in
/// the name of an empty member, or letters in an escaped form.
fn may_call(value: &[u8], call: &[u8]) -> bool {
    let Some(&first) = call.first() else { return true };
    let after = |letters: &[u8], at: usize| value.get(at..)?.strip_prefix(letters);
    memchr_iter(first, value).filter_map(|at| after(call, at)).any(|rest| !is_empty_member(rest))
        || memchr_iter(b'\\', value).any(|at| after(b"\\u00", at).is_some())
}

/// Returns whether a value continues with the end of a member's name, and the member is empty.
fn is_empty_member(rest: &[u8]) -> bool {
    let name_end = rest.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(rest.len());
    let colon = rest.get(name_end..).and_then(|rest| rest.strip_prefix(b"\""));
    let Some(value) = colon.and_then(|rest| after_space(rest, b":")) else { return false };
    let is_empty_list = || after_space(value, b"[").is_some_and(|items| after_space(items, b"]").is_some());
    after_space(value, b"null").is_some() || is_empty_list()
}

/// Returns what follows these bytes, if they are next but for white space.
fn after_space<'a>(rest: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    rest.trim_ascii_start().strip_prefix(wanted)
}

#[cfg(test)]
#[path = "brief_tests.rs"]
mod tests;
