//! MCP over HTTP: the tools that a client calls at a server of the Model Context Protocol.
//!
//! In: bodies of `POST`, JSON-RPC messages. Out: [`Messages`]: which tools are called, and what has
//! to be answered if they may not be. Not here: answers, whose errors are the server's own affair,
//! and streams that a client opens by `GET`. What a server does not take for a call is none:
//! responses of the client, other methods, calls that name no tool.
//!
//! Limits on risky tools rest on this, so it reads whatever some server would read ([`scan`],
//! [`encoding`]), and refuses what servers would read differently. Members may be written in any
//! case, because Go's `encoding/json` takes them so. A call that is asked again with what the
//! server wanted to know (`inputResponses`) counts again: nobody but the server knows whether it
//! belongs to an earlier one.
//!
//! Source: modelcontextprotocol.io, specification 2026-07-28, "Streamable HTTP" and "Overview", and
//! 2025-06-18, "Transports" (which took batches out; clients of 2025-03-26 send them); JSON-RPC
//! 2.0, sections 4 and 6.

mod encoding;
mod scan;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::scan::Scanner;
use super::raw::Text;
use super::{Dialect, Format, Unread, post};

/// Calls of tools, and all else that clients of MCP send.
pub(super) static FORMAT: Format = Format {
    name: "mcp",
    dialect: Dialect::Mcp,
    endpoints: &[post("/mcp")],
    messages: Some(read),
    ..Format::DEFAULT
};

/// An id that is longer, in bytes of JSON, is answered as `null`.
const LONGEST_ID: usize = 1024;

/// The JSON-RPC messages of a body that ask for something; responses are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages<'a> {
    /// Whether they came as a list, so that their answers must, too.
    pub is_batch: bool,
    /// The messages in their order.
    pub list: Vec<Message<'a>>,
}

/// A JSON-RPC request or notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The id as JSON, byte for byte; `null` where it cannot be repeated. A notification has none,
    /// and gets no answer.
    pub id: Option<Cow<'a, str>>,
    /// The name of the tool that it calls.
    pub tool: Option<Cow<'a, str>>,
}

impl<'a> Messages<'a> {
    /// The tools that are called, one for each call.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|message| message.tool.as_deref())
    }

    /// Reads the next value, and tells whether it is of JSON-RPC at all.
    fn add_next(&mut self, scanner: &mut Scanner<'a>) -> Result<bool, Unread> {
        let envelope = Envelope::read(scanner)?;
        let is_rpc = envelope.is_rpc();
        self.list.extend(envelope.message()?);
        Ok(is_rpc)
    }

    fn into_owned(self) -> Messages<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        let list = self.list.into_iter();
        let list = list.map(|message| Message { id: owned(message.id), tool: owned(message.tool) }).collect();
        Messages { is_batch: self.is_batch, list }
    }
}

fn read(body: &[u8]) -> Result<Messages<'_>, Unread> {
    match encoding::utf8(body) {
        Cow::Borrowed(body) => messages(body),
        Cow::Owned(body) => messages(&body).map(Messages::into_owned),
    }
}

/// Reads the first JSON value of a body. What follows it is not looked at, as some servers do not
/// either.
fn messages(body: &[u8]) -> Result<Messages<'_>, Unread> {
    let mut scanner = Scanner::new(body);
    let mut messages = Messages { is_batch: scanner.take(b'['), list: Vec::new() };
    let mut is_rpc = false;
    if messages.is_batch {
        while scanner.has_more(b']').ok_or(Unread::Malformed)? {
            is_rpc |= messages.add_next(&mut scanner)?;
        }
    } else {
        is_rpc = messages.add_next(&mut scanner)?;
    }
    if is_rpc { Ok(messages) } else { Err(Unread::Malformed) }
}

/// The raw members of a message that decide what it is.
#[derive(Default)]
struct Envelope<'a> {
    method: Option<&'a [u8]>,
    params: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    is_response: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the next value; what is no object has none of the members.
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Unread> {
        let mut envelope = Self::default();
        if scanner.peek() != Some(b'{') {
            scanner.value().ok_or(Unread::Malformed)?;
            return Ok(envelope);
        }
        each_member(scanner, |name, value| {
            if is(name, "method") {
                once(&mut envelope.method, value, "method")
            } else if is(name, "params") {
                once(&mut envelope.params, value, "params")
            } else if is(name, "id") {
                once(&mut envelope.id, value, "id")
            } else {
                envelope.is_response |= matches!(name, "result" | "error");
                Ok(())
            }
        })?;
        Ok(envelope)
    }

    fn is_rpc(&self) -> bool {
        self.is_response || self.method().is_some()
    }

    fn method(&self) -> Option<Cow<'a, str>> {
        self.method.and_then(string)
    }

    /// The request or notification that these are the members of.
    fn message(self) -> Result<Option<Message<'a>>, Unread> {
        let Some(method) = self.method() else { return Ok(None) };
        let tool = if method == "tools/call" { self.params.map(tool).transpose()?.flatten() } else { None };
        Ok(Some(Message { id: self.id.map(repeatable), tool }))
    }
}

/// The name of the tool that parameters are for.
fn tool(params: &[u8]) -> Result<Option<Cow<'_, str>>, Unread> {
    let mut scanner = Scanner::new(params);
    if scanner.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut tool = None;
    each_member(
        &mut scanner,
        |name, value| {
            if is(name, "name") { once(&mut tool, value, "name") } else { Ok(()) }
        },
    )?;
    Ok(tool.filter(|raw| raw.starts_with(b"\"")).map(lossy))
}

/// Reads an object, member by member.
fn each_member<'a>(
    scanner: &mut Scanner<'a>,
    mut found: impl FnMut(&str, &'a [u8]) -> Result<(), Unread>,
) -> Result<(), Unread> {
    scanner.take(b'{');
    while scanner.has_more(b'}').ok_or(Unread::Malformed)? {
        let (name, value) = scanner.member().ok_or(Unread::Malformed)?;
        // A name that is no text is none of those that matter.
        found(&string(name).unwrap_or_default(), value)?;
    }
    Ok(())
}

fn once<'a>(member: &mut Option<&'a [u8]>, value: &'a [u8], known: &'static str) -> Result<(), Unread> {
    match member.replace(value) {
        None => Ok(()),
        Some(_) => Err(Unread::Ambiguous { member: known }),
    }
}

/// Whether some server takes a member of this name for the one that is meant: the same letters in
/// any case, as Unicode folds it.
fn is(name: &str, meant: &str) -> bool {
    let folded =
        name.chars().map(|letter| if letter == '\u{17f}' { 's' } else { letter.to_ascii_lowercase() });
    folded.eq(meant.chars())
}

/// The text of a JSON string; none of any other value.
fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice(raw).ok().map(|Text(text)| text)
}

/// The text of a JSON string, as far as it is text.
fn lossy(raw: &[u8]) -> Cow<'_, str> {
    let between = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    string(raw).unwrap_or_else(|| String::from_utf8_lossy(between))
}

/// An id as it can be written into an answer.
fn repeatable(raw: &[u8]) -> Cow<'_, str> {
    let short = core::str::from_utf8(raw).ok().filter(|raw| raw.len() <= LONGEST_ID);
    let valid = short.filter(|raw| serde_json::from_str::<&RawValue>(raw).is_ok());
    Cow::Borrowed(valid.unwrap_or("null"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
