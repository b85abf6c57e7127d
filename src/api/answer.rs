//! Reads usage and text out of an answer as it passes.
//!
//! In: the answer's content type and encoding, then its bytes in any pieces. Out: [`Found`], and where the chunk that
//! only tells usage is to be hidden, the bytes to pass on instead. Not here: what the tokens cost.
//!
//! Bytes pass unchanged unless the caller asked for usage on the client's behalf: then the bytes of an event that has
//! not ended are held back, which delays nothing, because a client sees an event only at its end.

use super::{Format, Usage};
use crate::api::capture::Capture;
use crate::api::sse::Splitter;

/// How much text is kept to be counted where usage is missing; beyond it only its length is.
const LONGEST_TEXT: usize = 256 * 1024;

/// How large an unfinished event may be to be held back. The chunk that only tells usage is far smaller.
const LONGEST_HELD: usize = 16 * 1024;

/// What an answer has told so far.
#[derive(Debug, Default)]
pub struct Found {
    /// The last usage told.
    pub usage: Option<Usage>,
    /// Whether a usage was told that could not be read.
    pub usage_unreadable: bool,
    /// The text that the model wrote, up to a bound.
    pub text: String,
    /// Bytes of text beyond the bound.
    pub more_text: u64,
    /// Whether the answer was in a form whose text can be read at all.
    pub readable: bool,
    /// Whether it came as a stream of events, whose text is there as far as it has come.
    pub is_stream: bool,
}

impl Found {
    fn add(&mut self, format: &dyn Format, json: &[u8]) -> bool {
        let answer = format.answer(json);
        self.usage = answer.usage.or(self.usage);
        self.usage_unreadable |= answer.usage_unreadable;
        for piece in answer.text {
            if self.text.len().saturating_add(piece.len()) <= LONGEST_TEXT {
                self.text.push_str(&piece);
            } else {
                self.more_text = self.more_text.saturating_add(piece.len() as u64);
            }
        }
        answer.only_usage
    }
}

/// The reader of one answer.
#[derive(Debug)]
pub struct Reader {
    format: &'static dyn Format,
    framing: Framing,
    found: Found,
}

#[derive(Debug)]
enum Framing {
    Events { splitter: Splitter, hiding: Option<Hiding> },
    Document(Capture),
    Opaque,
}

/// Takes the chunk that only tells usage out of a stream.
#[derive(Debug, Default)]
struct Hiding {
    /// Bytes of an event that has not ended.
    held: Vec<u8>,
    /// The event that ended last was taken out.
    hid_last: bool,
}

impl Reader {
    /// A reader for an answer with these headers. With `hide_usage`, the chunk that only tells usage is taken out.
    #[must_use]
    pub fn new(
        format: &'static dyn Format,
        content_type: Option<&[u8]>,
        content_encoding: Option<&[u8]>,
        hide_usage: bool,
    ) -> Self {
        let plain = content_encoding.is_none_or(|encoding| {
            let encoding = encoding.trim_ascii();
            encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity")
        });
        let media_type =
            content_type.unwrap_or_default().split(|&byte| byte == b';').next().unwrap_or_default();
        let media_type = media_type.trim_ascii();
        let framing = if !plain {
            Framing::Opaque
        } else if media_type.eq_ignore_ascii_case(b"text/event-stream") {
            let hiding = hide_usage.then(Hiding::default);
            Framing::Events { splitter: Splitter::default(), hiding }
        } else {
            // A content type that lies costs nothing: what is no JSON gives no usage.
            Framing::Document(Capture::new(format.answer_members()))
        };
        let found = Found {
            readable: !matches!(framing, Framing::Opaque),
            is_stream: matches!(framing, Framing::Events { .. }),
            ..Found::default()
        };
        Self { format, framing, found }
    }

    /// Whether bytes may be taken out.
    #[must_use]
    pub const fn is_hiding(&self) -> bool {
        matches!(self.framing, Framing::Events { hiding: Some(_), .. })
    }

    /// Takes the next bytes; gives the bytes to pass on instead, if they differ.
    pub fn feed(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        match &mut self.framing {
            Framing::Opaque => None,
            Framing::Document(capture) => {
                capture.feed(piece);
                None
            }
            Framing::Events { splitter, hiding: None } => {
                splitter.feed(piece, |data, _| {
                    self.found.add(self.format, data);
                });
                None
            }
            Framing::Events { splitter, hiding: Some(hiding) } => {
                hiding.feed(splitter, piece, |data| self.found.add(self.format, data))
            }
        }
    }

    /// Ends the answer; gives the bytes that were still held back.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        match &mut self.framing {
            Framing::Document(capture) => {
                self.found.add(self.format, &capture.document());
                None
            }
            Framing::Events { hiding: Some(hiding), .. } => {
                Some(core::mem::take(&mut hiding.held)).filter(|held| !held.is_empty())
            }
            Framing::Events { .. } | Framing::Opaque => None,
        }
    }

    /// What has been found.
    #[must_use]
    pub const fn found(&self) -> &Found {
        &self.found
    }
}

impl Hiding {
    fn feed(
        &mut self,
        splitter: &mut Splitter,
        piece: &[u8],
        mut is_hidden: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        // A line feed may complete the line end of the event before: it goes where that event went.
        let completes = self.held.is_empty() && splitter.is_after_return() && piece.first() == Some(&b'\n');
        let mut start = usize::from(completes);
        let mut changed = !self.held.is_empty() || (completes && self.hid_last);
        let mut passed = core::mem::take(&mut self.held);
        if completes && !self.hid_last {
            passed.push(b'\n');
        }
        let mut event_start = if completes { passed.len() } else { 0 };
        splitter.feed(piece, |data, end| {
            passed.extend_from_slice(piece.get(start..end).unwrap_or_default());
            start = end;
            self.hid_last = is_hidden(data);
            if self.hid_last {
                passed.truncate(event_start);
                changed = true;
            }
            event_start = passed.len();
        });
        let unfinished = piece.get(start..).unwrap_or_default();
        let begun = passed.len().saturating_sub(event_start).saturating_add(unfinished.len());
        if begun == 0 || begun > LONGEST_HELD {
            passed.extend_from_slice(unfinished);
            return changed.then_some(passed);
        }
        self.held = passed.split_off(event_start);
        self.held.extend_from_slice(unfinished);
        Some(passed)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
