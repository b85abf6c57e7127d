//! Reads usage and text out of an answer as it passes.
//!
//! In: the answer's head, then its bytes in any pieces. Out: [`Found`], and where the chunk that
//! only tells usage is to be hidden, the bytes to pass on instead; on demand, what ends a stream
//! behind the last of its documents. Not here: what the tokens cost.
//!
//! Bytes pass unchanged unless the caller asked for usage on the client's behalf: then the bytes of
//! an event that has not ended are held back, which delays nothing, because a client sees an event
//! only at its end.

pub(super) mod called;
mod found;
mod hiding;

use super::capture::Capture;
use super::ending::{Cut, Ending, Shape};
use super::strays::{LONGEST_TEXT, Strays};
use super::{Format, frames, sse};
use crate::coding::{Decoder, Encoding};
use crate::identity::Head;
pub use called::{Called, ToolsCalled};
pub use found::Found;
use hiding::Hiding;

/// How much of a compressed answer is decoded: more than any model writes, pictures in base64 among
/// it. A small answer that stands for so much is not decoded to its end.
const LONGEST_DECODED: usize = 64 * 1024 * 1024;

/// The reader of one answer.
#[derive(Debug)]
pub struct Reader {
    format: &'static Format,
    coding: Coding,
    framing: Framing,
    found: Found,
    /// The bytes of an answer that is said to be text, in case it is no JSON.
    plain: Option<Vec<u8>>,
    /// The ending that would stop the stream, if it may have to be stopped.
    ending: Option<Box<dyn Ending>>,
    /// How much of what passed last is whole documents; none if none of them ended in the last
    /// piece.
    whole: Option<usize>,
}

/// How the bytes are to be decoded.
#[derive(Debug)]
enum Coding {
    Plain,
    Coded(Decoder),
    Unknown,
}

/// How documents stand in the bytes.
#[derive(Debug)]
enum Framing {
    /// As the content type says, unless the first byte says otherwise.
    Expected(Expected),
    Events(sse::Splitter, Option<Hiding>),
    Frames(frames::Splitter),
    /// One object, or several in a shape that is known.
    Objects(Capture, Option<Shape>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Events { hide_usage: bool },
    Frames,
    Lines,
    Objects,
}

impl Reader {
    /// A reader for an answer with this head. With `hide_usage`, the chunk that only tells usage is
    /// taken out.
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
            // Nothing is taken out of compressed bytes.
            Expected::Events { hide_usage: hide_usage && matches!(coding, Coding::Plain) }
        } else if is("application/vnd.amazon.eventstream") {
            Expected::Frames
        } else if is("application/x-ndjson") || is("application/jsonl") {
            Expected::Lines
        } else {
            Expected::Objects
        };
        let is_text = media_type.to_ascii_lowercase().starts_with(b"text/") && !is("text/html");
        let plain = (expected == Expected::Objects && is_text).then(Vec::new);
        let told = (format.told_by_head)(head);
        let found = Found {
            told,
            readable: !matches!(coding, Coding::Unknown),
            is_stream: expected != Expected::Objects,
            ..Found::default()
        };
        Self { format, coding, framing: Framing::Expected(expected), found, plain, ending: None, whole: None }
    }

    /// From now on keeps what is needed to end the stream before its time; whether that is
    /// possible. Nothing can be put into compressed bytes.
    pub fn prepare_ending(&mut self) -> bool {
        let ending = self.format.ending.filter(|_| matches!(self.coding, Coding::Plain));
        self.ending = ending.map(|begin| begin());
        self.ending.is_some()
    }

    /// Whether the stream can be ended before its time, as far as it has shown itself.
    #[must_use]
    pub fn has_ending(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_possible())
    }

    /// Writes the bytes to pass on in place of the last piece, of which `passed` was to pass: its
    /// whole documents, and the ending behind them. None if the stream cannot be ended here.
    #[must_use]
    pub fn end(&self, passed: &[u8], cut: &Cut<'_>) -> Option<Vec<u8>> {
        let documents = self.ending.as_ref()?.write(cut)?;
        let mut bytes = passed.get(..self.whole?)?.to_vec();
        bytes.extend(self.framing.shape()?.write(&documents));
        Some(bytes)
    }

    /// Whether bytes may be taken out.
    #[must_use]
    pub const fn is_hiding(&self) -> bool {
        matches!(
            self.framing,
            Framing::Expected(Expected::Events { hide_usage: true }) | Framing::Events(_, Some(_))
        )
    }

    /// Takes the next bytes; gives the bytes to pass on instead, if they differ.
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

    /// Ends the answer; gives the bytes that were still held back.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let Self { format, coding, framing, found, .. } = self;
        if let Coding::Coded(decoder) = coding {
            decoder.finish();
        }
        let passed = framing.finish(&mut |json| found.add(format, json));
        self.look_for_damage();
        self.end_strays();
        passed
    }

    /// Ends an answer that breaks off: what has come of a document that is no part of a stream
    /// counts as far as it has come.
    pub fn cut(&mut self) {
        let Self { format, framing, found, .. } = self;
        if !found.is_stream {
            framing.finish(&mut |json| found.add(format, json));
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

    /// Returns what the reader has found.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }
}

/// Keeps the bytes of an answer that may be plain text, as many as are counted.
fn keep_plain(plain: &mut Option<Vec<u8>>, bytes: &[u8]) {
    if let Some(plain) = plain {
        let room = LONGEST_TEXT.saturating_sub(plain.len());
        plain.extend(bytes.iter().take(room));
    }
}

impl Framing {
    /// Takes the next bytes; `document` is called for each document that ends in them, and says
    /// whether it is to be hidden. `whole` is set to how much of what passes is whole documents, if
    /// one ends in them.
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
        match self {
            Self::Expected(_) => None,
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

    /// The text that was found in bytes of which no document was made.
    fn take_strays(&mut self) -> Strays {
        match self {
            Self::Expected(_) => Strays::default(),
            Self::Events(splitter, _) => splitter.take_strays(),
            Self::Frames(splitter) => splitter.take_strays(),
            Self::Objects(capture, _) => capture.take_strays(),
        }
    }

    /// How many bytes were too long to be kept.
    const fn passed_over(&self) -> u64 {
        match self {
            Self::Expected(_) => 0,
            Self::Events(splitter, _) => splitter.passed_over(),
            Self::Frames(splitter) => splitter.passed_over(),
            Self::Objects(capture, _) => capture.passed_over(),
        }
    }

    /// How further documents would stand in the bytes; none if there can be none.
    const fn shape(&self) -> Option<Shape> {
        match self {
            Self::Expected(_) => None,
            Self::Events(..) => Some(Shape::Events),
            Self::Frames(_) => Some(Shape::Frames),
            Self::Objects(_, shape) => *shape,
        }
    }

    fn finish(&mut self, document: &mut dyn FnMut(&[u8]) -> bool) -> Option<Vec<u8>> {
        match self {
            Self::Objects(capture, _) => {
                capture.finish(|object| {
                    document(object);
                });
                None
            }
            Self::Events(_, Some(hiding)) => hiding.finish(),
            Self::Events(_, None) | Self::Frames(_) | Self::Expected(_) => None,
        }
    }
}

impl Expected {
    /// The framing of an answer that begins with this byte, which counts for more than its content
    /// type.
    fn seen(self, first: u8, chosen: &'static [&'static str]) -> Framing {
        match self {
            _ if first == b'[' => Framing::Objects(Capture::new(chosen), Some(Shape::List)),
            _ if first == b'{' => {
                let shape = (self == Self::Lines).then_some(Shape::Lines);
                Framing::Objects(Capture::new(chosen), shape)
            }
            // The length of a frame; no text begins with it.
            _ if first == 0 => Framing::Frames(frames::Splitter::default()),
            Self::Events { hide_usage } => {
                Framing::Events(sse::Splitter::default(), hide_usage.then(Hiding::default))
            }
            Self::Frames => Framing::Frames(frames::Splitter::default()),
            Self::Lines | Self::Objects => Framing::Objects(Capture::new(chosen), None),
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
