//! Takes the chunk that only tells usage out of a stream of events.
//!
//! In: pieces of the stream, and which events are to be hidden. Out: the bytes to pass on instead.
//! Not here: which they are.

use crate::api::sse::Splitter;

/// How large an event may be to be held back and taken out. The chunk that only tells usage is far
/// smaller; of a larger event the client may have seen the beginning.
pub(super) const LONGEST_HELD: usize = 16 * 1024;

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    /// Bytes of an event that has not ended.
    held: Vec<u8>,
    /// The event that ended last was taken out.
    hid_last: bool,
    /// The event that has begun was too large to be held back.
    passed_begun: bool,
    /// How much of what passed last, with an event that ended in its piece, is whole events; none
    /// if none ended.
    whole: Option<usize>,
}

impl Hiding {
    /// Takes the next piece; gives the bytes to pass on instead, if they differ.
    pub(super) fn feed(
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
        self.whole = None;
        splitter.feed(piece, |data, end| {
            passed.extend_from_slice(piece.get(start..end).unwrap_or_default());
            start = end;
            let is_whole = !core::mem::take(&mut self.passed_begun);
            let is_small = is_whole && passed.len().saturating_sub(event_start) <= LONGEST_HELD;
            self.hid_last = is_hidden(data) && is_small;
            if self.hid_last {
                passed.truncate(event_start);
                changed = true;
            }
            event_start = passed.len();
            self.whole = Some(event_start);
        });
        let unfinished = piece.get(start..).unwrap_or_default();
        let begun = passed.len().saturating_sub(event_start).saturating_add(unfinished.len());
        if begun == 0 || self.passed_begun || begun > LONGEST_HELD {
            self.passed_begun |= begun > 0;
            passed.extend_from_slice(unfinished);
            return changed.then_some(passed);
        }
        self.held = passed.split_off(event_start);
        self.held.extend_from_slice(unfinished);
        Some(passed)
    }

    /// Up to where what passed last is whole events, if one ended in the last piece.
    pub(super) const fn whole(&self) -> Option<usize> {
        self.whole
    }

    /// Ends the stream; gives the bytes that were still held back.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        Some(core::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }
}
