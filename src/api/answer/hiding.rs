//! Removes the usage-only chunk from a stream of events.
//!
//! In: pieces of the stream, and which events to hide. Out: the bytes to pass on instead. Not here:
//! the decision which events to hide.

use crate::api::sse::Splitter;

/// The largest event that is held back and removed. The usage-only chunk is far smaller; of a
/// larger event the client may have seen the beginning.
pub(super) const LONGEST_HELD: usize = 16 * 1024;

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    /// The bytes of an incomplete event.
    held: Vec<u8>,
    /// Whether the last complete event was removed.
    hid_last: bool,
    /// Whether the current event was too large to hold back.
    passed_begun: bool,
    /// The length of the whole events in the bytes passed last; none if no event ended in that
    /// piece.
    whole: Option<usize>,
}

impl Hiding {
    /// Reads the next piece; returns the bytes to pass on instead, if they differ.
    pub(super) fn feed(
        &mut self,
        splitter: &mut Splitter,
        piece: &[u8],
        mut is_hidden: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        // A line feed may complete the line end of the previous event: treat it like that event.
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

    /// Returns the length of the whole events in the bytes passed last, if one ended in the last
    /// piece.
    pub(super) const fn whole(&self) -> Option<usize> {
        self.whole
    }

    /// Ends the stream; returns the bytes that were still held back.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        Some(core::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }
}
