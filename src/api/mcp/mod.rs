//! MCP over HTTP: the tools that a client calls at a server of the Model Context Protocol.
//!
//! In: bodies of `POST`, JSON-RPC messages. Out: [`Messages`]: the tools called, and the ids for
//! replies that reject them. Not here: answers, whose errors are the server's own; streams that a
//! client opens by `GET`. Messages that a server does not treat as calls do not count: responses of
//! the client, other methods, calls that name no tool.
//!
//! Limits on risky tools rely on this code, so it reads everything that some server would read
//! ([`scan`], [`encoding`]), and refuses input that servers would read differently. Members may be
//! written in any case, because Go's `encoding/json` accepts that. A client that repeats a call
//! with the input that the server requested (`inputResponses`) counts again: only the server knows
//! whether it belongs to an earlier call.
//!
//! Source: modelcontextprotocol.io, specification 2026-07-28, "Streamable HTTP" and "Overview", and
//! 2025-06-18, "Transports" (which removed batches; clients of 2025-03-26 send them); JSON-RPC 2.0,
//! sections 4 and 6.

mod encoding;
mod scan;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::scan::Scanner;
use super::raw::Text;
use super::{Dialect, Format, Unread, post};

/// Calls of tools, and everything else that MCP clients send.
pub(super) static FORMAT: Format = Format {
    name: "mcp",
    dialect: Dialect::Mcp,
    endpoints: &[post("/mcp")],
    messages: Some(read),
    ..Format::DEFAULT
};

/// The longest id, in bytes of JSON, that an answer repeats; a longer one is answered as `null`.
const LONGEST_ID: usize = 1024;

/// The JSON-RPC requests and notifications of a body, without responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages<'a> {
    /// Whether they came as a list, so that the answer must be a list, too.
    pub is_batch: bool,
    /// The messages in order.
    pub list: Vec<Message<'a>>,
}

/// A JSON-RPC request or notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The raw JSON of the id; `null` if it cannot be repeated. A notification has none, and gets
    /// no answer.
    pub id: Option<Cow<'a, str>>,
    /// The name of the tool that it calls.
    pub tool: Option<Cow<'a, str>>,
}

impl<'a> Messages<'a> {
    /// Returns the called tools, one for each call.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter_map(|message| message.tool.as_deref())
    }

    /// Reads the next value, and returns whether it is JSON-RPC at all.
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

/// Reads the first JSON value of a body. It ignores the rest, like some servers.
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

/// The raw members that determine the kind of a message.
#[derive(Default)]
struct Envelope<'a> {
    method: Option<&'a [u8]>,
    params: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    is_response: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the next value; anything but an object has none of the members.
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

    /// Returns the request or notification with these members.
    fn message(self) -> Result<Option<Message<'a>>, Unread> {
        let Some(method) = self.method() else { return Ok(None) };
        let tool = if method == "tools/call" { self.params.map(tool).transpose()?.flatten() } else { None };
        Ok(Some(Message { id: self.id.map(repeatable), tool }))
    }
}

/// Returns the name of the tool in the parameters of a call.
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
        // A name that is not valid text matches none of the members.
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

/// Returns whether some server accepts this name for the intended one: the same letters in any
/// case, by Unicode folding.
fn is(name: &str, meant: &str) -> bool {
    let folded =
        name.chars().map(|letter| if letter == '\u{17f}' { 's' } else { letter.to_ascii_lowercase() });
    folded.eq(meant.chars())
}

/// Returns the text of a JSON string; none for any other value.
fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice(raw).ok().map(|Text(text)| text)
}

/// Returns the text of a JSON string, with invalid bytes replaced.
fn lossy(raw: &[u8]) -> Cow<'_, str> {
    let between = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    string(raw).unwrap_or_else(|| String::from_utf8_lossy(between))
}

/// Returns an id in a form that an answer can repeat.
fn repeatable(raw: &[u8]) -> Cow<'_, str> {
    let short = core::str::from_utf8(raw).ok().filter(|raw| raw.len() <= LONGEST_ID);
    let valid = short.filter(|raw| serde_json::from_str::<&RawValue>(raw).is_ok());
    Cow::Borrowed(valid.unwrap_or("null"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
