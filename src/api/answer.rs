//! Reads usage and text out of an answer as it passes through.
//!
//! In: the answer's head, then its bytes in chunks of any size. Out: [`Found`]; the bytes to pass
//! on instead, if the usage-only chunk is hidden; on demand, the bytes that end a stream after its
//! last complete document. Not here: the cost of the tokens.
//!
//! The reader passes bytes unchanged unless the filter asked for usage on the client's behalf. In
//! that case it holds back the bytes of an incomplete event. This adds no delay, because a client
//! sees an event only at its end.

mod brief;
pub(super) mod called;
mod found;
mod hiding;

use super::capture::Capture;
use super::ending::{Cut, Ending, Shape};
use super::strays::{LONGEST_TEXT, Strays};
use super::{Format, frames, sse};
use crate::coding::{Decoder, Encoding};
use crate::identity::Head;
pub(super) use brief::Written;
pub use called::{Called, ToolsCalled};
pub use found::Found;
use hiding::Hiding;

/// The limit on decoding a compressed answer. No model writes as much, even with images in base64.
/// A small answer that expands beyond it is not decoded to its end.
const LONGEST_DECODED: usize = 64 * 1024 * 1024;

/// The reader of one answer.
#[derive(Debug)]
pub struct Reader {
    format: &'static Format,
    coding: Coding,
    framing: Framing,
    found: Found,
    /// The bytes of an answer with a text content type, in case it is not JSON.
    plain: Option<Vec<u8>>,
    /// The ending that would stop the stream, if the stream may have to be stopped.
    ending: Option<Box<dyn Ending>>,
    /// The length of the whole documents in the bytes passed last; none if no document ended in the
    /// last piece.
    whole: Option<usize>,
}

/// The decoder of the bytes.
#[derive(Debug)]
enum Coding {
    Plain,
    Coded(Decoder),
    Unknown,
}

/// The framing of documents in the bytes.
#[derive(Debug)]
enum Framing {
    /// The framing that the content type announces, unless the first byte contradicts it.
    Expected(Expected),
    Events(sse::Splitter, Option<Hiding>),
    Frames(frames::Splitter),
    /// Whole messages of a socket.
    Messages,
    /// One object, kept up to [`brief::LONGEST_KEPT`] until it is whole.
    Kept(Vec<u8>),
    /// One object, or several in a known shape.
    Objects(Capture, Option<Shape>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Events {
        hide_usage: bool,
    },
    Frames,
    Lines,
    /// Objects; with `keep`, an object is kept to be read when it is whole.
    Objects {
        keep: bool,
    },
}

impl Reader {
    /// Creates a reader for an answer with this head. With `hide_usage`, it removes the usage-only
    /// chunk.
    #[must_use]
    pub fn new(format: &'static Format, head: &dyn Head, hide_usage: bool) -> Self {
        let coding = match Encoding::parse(&head.header("content-encoding").unwrap_or_default()) {
            Encoding::Identity => Coding::Plain,
            Encoding::Coded(codings) => Coding::Coded(Decoder::watching(&codings, LONGEST_DECODED)),
            Encoding::Unknown => Coding::Unknown,
        };
        let content_type = head.header("content-type").unwrap_or_default();
        let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| media_type.eq_ignore_ascii_case(name.as_bytes());
        let expected = if is("text/event-stream") {
            // The reader removes nothing from compressed bytes.
            Expected::Events { hide_usage: hide_usage && matches!(coding, Coding::Plain) }
        } else if is("application/vnd.amazon.eventstream") {
            Expected::Frames
        } else if is("application/x-ndjson") || is("application/jsonl") {
            Expected::Lines
        } else {
            Expected::Objects { keep: format.written.is_some() }
        };
        let is_stream = !matches!(expected, Expected::Objects { .. });
        let is_text = media_type.to_ascii_lowercase().starts_with(b"text/") && !is("text/html");
        let plain = (!is_stream && is_text).then(Vec::new);
        let told = (format.told_by_head)(head);
        let found =
            Found { told, readable: !matches!(coding, Coding::Unknown), is_stream, ..Found::default() };
        Self { format, coding, framing: Framing::Expected(expected), found, plain, ending: None, whole: None }
    }

    /// Creates a reader for an answer whose documents are messages of a socket: each piece is one.
    #[must_use]
    pub fn of_messages(format: &'static Format) -> Self {
        let found = Found { readable: true, is_stream: true, ..Found::default() };
        let (coding, framing) = (Coding::Plain, Framing::Messages);
        Self { format, coding, framing, found, plain: None, ending: None, whole: None }
    }

    /// Starts to keep the state needed to end the stream early, and returns whether that is
    /// possible. It is not for compressed bytes, as nothing can be inserted there.
    pub fn prepare_ending(&mut self) -> bool {
        let ending = self.format.ending.filter(|_| matches!(self.coding, Coding::Plain));
        self.ending = ending.map(|begin| begin());
        if let (Framing::Expected(Expected::Objects { keep }), Some(_)) = (&mut self.framing, &self.ending) {
            *keep = false;
        }
        self.ending.is_some()
    }

    /// Returns whether the stream can be ended early, judging by the documents so far.
    #[must_use]
    pub fn has_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_possible())
    }

    /// Returns the bytes to pass on instead of the last piece, of which `passed` was to pass: its
    /// whole documents, then the ending. Returns none if the stream cannot be ended here.
    #[must_use]
    pub fn end(&self, passed: &[u8], cut: &Cut<'_>) -> Option<Vec<u8>> {
        let documents = self.ending.as_ref()?.write(cut)?;
        let mut bytes = passed.get(..self.whole?)?.to_vec();
        bytes.extend(self.framing.shape()?.write(&documents));
        Some(bytes)
    }

    /// Returns whether the reader may remove bytes.
    #[must_use]
    pub const fn is_hiding(&self) -> bool {
        matches!(
            self.framing,
            Framing::Expected(Expected::Events { hide_usage: true }) | Framing::Events(_, Some(_))
        )
    }

    /// Reads the next bytes; returns the bytes to pass on instead, if they differ.
    pub fn feed(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let Self { format, coding, framing, found, plain, ending, whole } = self;
        let chosen = format.answer_members;
        *whole = None;
        let passed = match coding {
            Coding::Plain => {
                found.bytes = found.bytes.saturating_add(piece.len() as u64);
                keep_plain(plain, piece);
                framing.feed(piece, chosen, whole, &mut |json| {
                    if let Some(ending) = ending {
                        ending.read(json);
                    }
                    found.add(format, json)
                })
            }
            Coding::Coded(decoder) => {
                decoder.feed(piece, &mut |decoded| {
                    found.bytes = found.bytes.saturating_add(decoded.len() as u64);
                    keep_plain(plain, decoded);
                    framing.feed(decoded, chosen, whole, &mut |json| found.add(format, json));
                });
                None
            }
            Coding::Unknown => None,
        };
        self.look_for_damage();
        passed
    }

    /// Ends the answer; returns the bytes that were still held back.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let Self { format, coding, framing, found, .. } = self;
        if let Coding::Coded(decoder) = coding {
            decoder.finish();
        }
        let brief = framing.kept().and_then(|body| brief::read(format, body));
        let passed = if let Some(answer) = brief {
            found.add_brief(&answer);
            *framing = Framing::Expected(Expected::Objects { keep: false });
            None
        } else {
            framing.finish(format.answer_members, &mut |json| found.add(format, json))
        };
        self.look_for_damage();
        self.end_strays();
        passed
    }

    /// Ends an answer that breaks off. An incomplete document outside a stream counts as far as it
    /// has arrived.
    pub fn cut(&mut self) {
        let Self { format, framing, found, .. } = self;
        if !found.is_stream {
            framing.finish(format.answer_members, &mut |json| found.add(format, json));
        }
        self.look_for_damage();
        self.end_strays();
    }

    fn end_strays(&mut self) {
        self.found.end(self.framing.take_strays(), self.plain.take());
    }

    fn look_for_damage(&mut self) {
        let coding_is_broken = matches!(&self.coding, Coding::Coded(decoder) if decoder.is_broken());
        let frames_are_broken = matches!(&self.framing, Framing::Frames(splitter) if splitter.is_broken());
        self.found.readable &= !coding_is_broken && !frames_are_broken;
        self.found.unread = self.framing.passed_over();
    }

    /// Returns the findings.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }
}

/// Keeps the bytes of an answer that may be plain text, up to the limit for counted text.
fn keep_plain(plain: &mut Option<Vec<u8>>, bytes: &[u8]) {
    if let Some(plain) = plain {
        let room = LONGEST_TEXT.saturating_sub(plain.len());
        plain.extend(bytes.iter().take(room));
    }
}

impl Framing {
    /// Reads the next bytes and calls `document` for each document that ends in them; `document`
    /// returns whether to hide it. Sets `whole` to the length of the whole documents in the passed
    /// bytes, if one ends in them.
    fn feed(
        &mut self,
        piece: &[u8],
        chosen: &'static [&'static str],
        whole: &mut Option<usize>,
        document: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        if let Self::Expected(expected) = self {
            let first = piece.trim_ascii_start().first()?;
            *self = expected.seen(*first, chosen);
        }
        if let Self::Kept(body) = self {
            if body.len().saturating_add(piece.len()) <= brief::LONGEST_KEPT {
                body.extend_from_slice(piece);
                return None;
            }
            self.read_kept(chosen, document);
        }
        match self {
            Self::Expected(_) | Self::Kept(_) => None,
            Self::Messages => {
                document(piece);
                // The ending begins with a message of its own.
                *whole = Some(0);
                None
            }
            Self::Objects(capture, _) => {
                capture.feed(piece, |object, end| {
                    document(object);
                    *whole = Some(end);
                });
                None
            }
            Self::Frames(splitter) => {
                splitter.feed(piece, |payload, end| {
                    document(payload);
                    *whole = Some(end);
                });
                None
            }
            Self::Events(splitter, None) => {
                splitter.feed(piece, |data, end| {
                    document(data);
                    *whole = Some(end);
                });
                None
            }
            Self::Events(splitter, Some(hiding)) => {
                let passed = hiding.feed(splitter, piece, document);
                *whole = hiding.whole();
                passed
            }
        }
    }

    /// Returns the object that is kept to be read when it is whole.
    fn kept(&self) -> Option<&[u8]> {
        match self {
            Self::Kept(body) => Some(body),
            _ => None,
        }
    }

    /// Reads the bytes that were kept, and keeps no more.
    fn read_kept(&mut self, chosen: &'static [&'static str], document: &mut dyn FnMut(&[u8]) -> bool) {
        let Self::Kept(body) = self else { return };
        let mut capture = Capture::new(chosen);
        capture.feed(body, |object, _| {
            document(object);
        });
        *self = Self::Objects(capture, None);
    }

    /// Takes the text found in bytes that belong to no document.
    fn take_strays(&mut self) -> Strays {
        match self {
            Self::Expected(_) | Self::Kept(_) | Self::Messages => Strays::default(),
            Self::Events(splitter, _) => splitter.take_strays(),
            Self::Frames(splitter) => splitter.take_strays(),
            Self::Objects(capture, _) => capture.take_strays(),
        }
    }

    /// Returns the number of bytes too long to keep.
    const fn passed_over(&self) -> u64 {
        match self {
            Self::Expected(_) | Self::Kept(_) | Self::Messages => 0,
            Self::Events(splitter, _) => splitter.passed_over(),
            Self::Frames(splitter) => splitter.passed_over(),
            Self::Objects(capture, _) => capture.passed_over(),
        }
    }

    /// Returns the framing of further documents; none if there can be none.
    const fn shape(&self) -> Option<Shape> {
        match self {
            Self::Expected(_) | Self::Kept(_) => None,
            Self::Messages => Some(Shape::Messages),
            Self::Events(..) => Some(Shape::Events),
            Self::Frames(_) => Some(Shape::Frames),
            Self::Objects(_, shape) => *shape,
        }
    }

    fn finish(
        &mut self,
        chosen: &'static [&'static str],
        document: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        self.read_kept(chosen, document);
        match self {
            Self::Objects(capture, _) => {
                capture.finish(|object| {
                    document(object);
                });
                None
            }
            Self::Events(_, Some(hiding)) => hiding.finish(),
            Self::Events(_, None) | Self::Frames(_) | Self::Expected(_) | Self::Kept(_) | Self::Messages => {
                None
            }
        }
    }
}

impl Expected {
    /// Returns the framing of an answer that begins with this byte. The byte takes precedence over
    /// the content type.
    fn seen(self, first: u8, chosen: &'static [&'static str]) -> Framing {
        match self {
            Self::Objects { keep: true } if first == b'{' => Framing::Kept(Vec::new()),
            _ if first == b'[' => Framing::Objects(Capture::new(chosen), Some(Shape::List)),
            _ if first == b'{' => {
                let shape = (self == Self::Lines).then_some(Shape::Lines);
                Framing::Objects(Capture::new(chosen), shape)
            }
            // The length of a frame; text never begins with a zero byte.
            _ if first == 0 => Framing::Frames(frames::Splitter::default()),
            Self::Events { hide_usage } => {
                Framing::Events(sse::Splitter::default(), hide_usage.then(Hiding::default))
            }
            Self::Frames => Framing::Frames(frames::Splitter::default()),
            Self::Lines | Self::Objects { .. } => Framing::Objects(Capture::new(chosen), None),
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
