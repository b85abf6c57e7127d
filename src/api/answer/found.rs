//! The combined findings of all documents of an answer.
//!
//! In: documents, one after the other. Out: [`Found`]: usage, text, calls of tools. Not here: the
//! framing of documents in the bytes (`answer`), and the cost of the tokens.

use std::collections::BTreeMap;

use super::ToolsCalled;
use crate::api::capture::Capture;
use crate::api::strays::{LONGEST_TEXT, Search, Strays};
use crate::api::{Answer, Format, ReportedUsage, Spoken};

/// The most prompts of a call with separate usage, more than servers answer at once. The usage of
/// further prompts is added up each time it is reported.
const MOST_PARTS: usize = 1024;

/// The findings so far.
#[derive(Debug, Default)]
pub struct Found {
    /// The usage reported so far.
    pub told: ReportedUsage,
    /// Whether an unreadable usage was reported.
    pub unreadable: bool,
    /// Whether the model has not answered yet, and the client will fetch the answer by another
    /// call.
    pub pending: bool,
    /// The sound that the model spoke, as far as documents without usage contain it.
    pub spoken: Spoken,
    /// The text that the model wrote, up to a bound.
    pub text: String,
    /// The tools that the model called, as far as known.
    pub tools: ToolsCalled,
    /// Bytes of text beyond the bound.
    pub more_text: u64,
    /// Whether the format has read anything in any document: usage, text (even empty), or a call of
    /// a tool.
    pub(super) understood: bool,
    /// Text in documents that the format cannot read, as long as it could read none of them.
    pub(super) odd: Search,
    /// Text in bytes that belong to no document.
    pub(super) skipped: Strays,
    /// The usage of each prompt, if the answer reports it separately.
    pub(super) parts: BTreeMap<u64, ReportedUsage>,
    /// Bytes of documents or members that were too long to read, with usage or text.
    pub unread: u64,
    /// Bytes of the answer after decoding.
    pub bytes: u64,
    /// Whether all of the answer so far was readable; false if its coding is unknown, or if the
    /// answer or its frames are broken.
    pub readable: bool,
    /// Whether it came in parts, whose text is complete up to now.
    pub is_stream: bool,
}

impl Found {
    /// Adds one document; returns whether it reports usage and nothing else.
    pub(super) fn add(&mut self, format: &Format, json: &[u8]) -> bool {
        let mut answer = (format.answer)(json);
        let plain;
        if answer == Answer::default() {
            // A duplicate member makes a document unreadable to some formats' readers. To clients
            // its last value counts.
            plain = last_of_each(format.answer_members, json);
            answer = (format.answer)(&plain);
        }
        self.tell(&answer);
        self.unreadable |= answer.unreadable;
        self.pending = answer.pending;
        self.spoken.ms = self.spoken.ms.saturating_add(answer.spoken.ms);
        self.spoken.tokens = self.spoken.tokens.saturating_add(answer.spoken.tokens);
        let is_understood = !answer.told.is_nothing() || answer.spoken.ms > 0;
        self.understood |= is_understood || !answer.text.is_empty() || !answer.tools.is_empty();
        if !self.understood {
            self.odd.feed(json);
            self.odd.cut();
        }
        answer.tools.iter().for_each(|called| self.tools.add(called));
        for piece in answer.text {
            if self.text.len().saturating_add(piece.len()) <= LONGEST_TEXT {
                self.text.push_str(&piece);
            } else {
                self.more_text = self.more_text.saturating_add(piece.len() as u64);
            }
        }
        answer.only_usage
    }

    /// Adds the usage of the only document, whose text and tools do not matter.
    pub(super) fn add_brief(&mut self, answer: &Answer<'_>) {
        self.tell(answer);
        self.understood = true;
    }

    /// Returns the text to count in addition to [`text`](Self::text) if usage is missing. Text in
    /// documents that the format cannot read counts only if it can read none of the answer's
    /// documents; otherwise it repeats text already read. Skipped text is complete once the answer
    /// has ended.
    pub fn strays(&self) -> impl Iterator<Item = &Strays> {
        let all = [self.odd.found(), &self.skipped].into_iter();
        all.filter(|strays| strays.seen && (strays.of_format || !self.understood))
    }

    /// Returns whether the answer has no known text, although it may contain some.
    #[must_use]
    pub fn is_unrecognised(&self) -> bool {
        let may_have_text = self.unread > 0 || (!self.understood && self.bytes > 0);
        may_have_text && self.strays().next().is_none()
    }

    /// Adds the usage that a document reports.
    fn tell(&mut self, answer: &Answer<'_>) {
        let with = |before: ReportedUsage| answer.otherwise.then(before).then(answer.told);
        let Some(part) = answer.part else {
            self.told = with(self.told);
            return;
        };
        if self.parts.len() < MOST_PARTS || self.parts.contains_key(&part) {
            let before = self.parts.get(&part).copied().unwrap_or_default();
            self.parts.insert(part, with(before));
        } else if let Some(mut last) = self.parts.last_entry() {
            let more = last.get().plus(answer.told);
            last.insert(more);
        }
        self.told = self.parts.values().fold(ReportedUsage::default(), |sum, part| sum.plus(*part));
    }

    /// Ends the answer. `skipped` is text in bytes that belong to no document, `plain` the bytes of
    /// an answer with a text content type, which count as text unless they proved to be something
    /// else.
    pub(super) fn end(&mut self, skipped: Strays, plain: Option<Vec<u8>>) {
        if !self.skipped.seen {
            self.skipped = skipped;
        }
        let Some(plain) = plain.filter(|plain| plain.trim_ascii_start().first() != Some(&b'<')) else {
            return;
        };
        if self.understood || !self.readable || self.strays().next().is_some() {
            return;
        }
        self.skipped.seen = !plain.is_empty();
        self.skipped.more = self.bytes.saturating_sub(plain.len() as u64);
        self.skipped.push(&String::from_utf8_lossy(&plain));
    }
}

/// Returns the document with only the selected members, each with its last value.
fn last_of_each(chosen: &'static [&'static str], json: &[u8]) -> Vec<u8> {
    let mut last = Vec::new();
    Capture::new(chosen).feed(json, |object, _| {
        last.clear();
        last.extend_from_slice(object);
    });
    last
}
