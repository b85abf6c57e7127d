//! The findings of all documents of an answer together.
//!
//! In: documents, one after the other. Out: [`Found`]: usage, text, calls of tools. Not here: how
//! documents stand in the bytes (`answer`), and what the tokens cost.

use std::collections::BTreeMap;

use super::ToolsCalled;
use crate::api::capture::Capture;
use crate::api::strays::{LONGEST_TEXT, Search, Strays};
use crate::api::{Answer, Format, ReportedUsage};

/// How many prompts of a call are told apart, more than servers answer at once; the usage of
/// further ones is added up as often as it is told.
const MOST_PARTS: usize = 1024;

/// The findings so far.
#[derive(Debug, Default)]
pub struct Found {
    /// The usage told so far.
    pub told: ReportedUsage,
    /// Whether a usage was told that could not be read.
    pub unreadable: bool,
    /// Whether the model has yet to answer, and its answer will be asked for by another call.
    pub pending: bool,
    /// The text that the model wrote, up to a bound.
    pub text: String,
    /// The tools that the model called, as far as is known.
    pub tools: ToolsCalled,
    /// Bytes of text beyond the bound.
    pub more_text: u64,
    /// Whether the format has read anything in any document: usage, text, even empty text, or a
    /// call of a tool.
    pub(super) understood: bool,
    /// Text in documents in which the format reads nothing, as long as that is so of all of them.
    pub(super) odd: Search,
    /// Text in bytes of which no document was made.
    pub(super) skipped: Strays,
    /// The usage of each prompt, if the answer tells it for each.
    pub(super) parts: BTreeMap<u64, ReportedUsage>,
    /// Bytes of documents or members that were too long to be read, usage and text alike.
    pub unread: u64,
    /// Bytes of the answer, decoded.
    pub bytes: u64,
    /// Whether all of the answer so far could be read; not if its coding is not known, or if it or
    /// its frames are broken.
    pub readable: bool,
    /// Whether it came in parts, whose text is there as far as it has come.
    pub is_stream: bool,
}

impl Found {
    /// Takes in one document; whether it tells usage and nothing else.
    pub(super) fn add(&mut self, format: &Format, json: &[u8]) -> bool {
        let mut answer = (format.answer)(json);
        let plain;
        if answer == Answer::default() {
            // A member named twice makes a document unreadable to some readers of formats. To
            // clients its last value counts.
            plain = last_of_each(format.answer_members, json);
            answer = (format.answer)(&plain);
        }
        self.tell(&answer);
        self.unreadable |= answer.unreadable;
        self.pending = answer.pending;
        self.understood |= !answer.told.is_nothing() || !answer.text.is_empty() || !answer.tools.is_empty();
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

    /// The text that is to be counted beside [`text`](Self::text), where usage is missing. Of
    /// documents in which the format reads nothing it counts only if that is so of all of them:
    /// others repeat what has been read. What was skipped is complete once the answer has ended.
    pub fn strays(&self) -> impl Iterator<Item = &Strays> {
        let all = [self.odd.found(), &self.skipped].into_iter();
        all.filter(|strays| strays.seen && (strays.of_format || !self.understood))
    }

    /// Whether nothing in the answer is known to be text, though something came that may be.
    #[must_use]
    pub fn is_unrecognised(&self) -> bool {
        let may_have_text = self.unread > 0 || (!self.understood && self.bytes > 0);
        may_have_text && self.strays().next().is_none()
    }

    /// Takes in the usage that a document tells.
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

    /// Nothing more will come. `skipped` is text in bytes of which no document was made, `plain`
    /// the bytes of an answer that is said to be text, which it is unless it has turned out to be
    /// something else.
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

/// The document with only the members that are looked at, each with its last value.
fn last_of_each(chosen: &'static [&'static str], json: &[u8]) -> Vec<u8> {
    let mut last = Vec::new();
    Capture::new(chosen).feed(json, |object, _| {
        last.clear();
        last.extend_from_slice(object);
    });
    last
}
