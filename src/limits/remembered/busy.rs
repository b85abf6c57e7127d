//! Pauses that upstreams ask for, remembered for all workers, per upstream and model.
//!
//! In: the pause that an answer asks for ([`Pause`]). Out: the time until which no further call
//! should be sent ([`Busyness`]). Not here: how upstreams ask (`api::back_off`), the treatment of
//! calls meanwhile (`exchange`).
//!
//! Without a `retry-after`, the pause is one second, doubling each time the upstream refuses the
//! first calls after it, until an answer shows that it has recovered. Calls that were already under
//! way can only extend a pause by their refusals, and cannot end it by their answers, which are old
//! news. No pause is longer than the configured maximum, even if the clock is set back.

use crate::api::Pause;
use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Record};
use crate::store::Key;
use crate::units::{Span, Timestamp};

/// The first pause of an upstream that gives no duration.
const FIRST: Span = Span::from_secs(1);

/// The place of one upstream's pauses for one model.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    key: Key,
}

/// Whether calls should be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busyness {
    /// No pause is known.
    Free,
    /// The last news is a refusal, but its pause is over.
    Recovering,
    /// Not before this time.
    Until(Timestamp),
}

/// The last pause of an upstream.
#[derive(Clone, Copy)]
struct LastPause {
    busy_until: Timestamp,
    /// The number of pauses in a row.
    row: u64,
    forgotten_at: Timestamp,
}

impl Busy {
    /// Returns the place for an upstream and a model, both of which may be unknown.
    #[must_use]
    pub fn of(upstream: &[u8], model: &str, budgets: &Budgets<'_>) -> Self {
        let parts = [("upstream", upstream), ("model", model.as_bytes())];
        Self { key: budgets.keys.key("busy upstream", parts) }
    }

    /// Returns whether calls should be sent. An unreadable record refuses none.
    #[must_use]
    pub fn look(&self, longest: Span, budgets: &Budgets<'_>) -> Busyness {
        let last = record::look(budgets, &self.key).and_then(|last| credible(last, longest, budgets.now));
        match last {
            None => Busyness::Free,
            Some(LastPause { busy_until, .. }) if busy_until > budgets.now => Busyness::Until(busy_until),
            Some(_) => Busyness::Recovering,
        }
    }

    /// Records that the upstream asked for a pause. Returns whether this is news, and the end of
    /// the pause; `None` if it could not be stored.
    pub fn tell(&self, pause: Pause, longest: Span, budgets: &Budgets<'_>) -> Option<(bool, Timestamp)> {
        let now = budgets.now;
        let told = record::change(budgets, &self.key, |last| {
            let before = last.and_then(|last| credible(last, longest, now));
            let is_news = before.is_none_or(|before| before.busy_until <= now);
            let row = match before {
                Some(before) if !is_news => before.row,
                Some(before) => before.row.saturating_add(1),
                None => 0,
            };
            let until = match pause {
                Pause::Told(span) => now + span.min(longest),
                Pause::Untold if is_news => now + doubled(row).min(longest),
                Pause::Untold => now,
            };
            let until = before.map_or(until, |before| before.busy_until.max(until));
            ((is_news, until), Some(LastPause { busy_until: until, row, forgotten_at: until + longest }))
        });
        told.ok()
    }

    /// Records an answer to a call that was sent after the pause, so that the next pause counts as
    /// a first one.
    pub fn recover(&self, longest: Span, budgets: &Budgets<'_>) {
        let now = budgets.now;
        // A record that cannot be written expires by itself.
        let _ = record::change(budgets, &self.key, |last| {
            let over =
                last.and_then(|last| credible(last, longest, now)).filter(|last| last.busy_until <= now);
            ((), over.map(|over| LastPause { row: 0, forgotten_at: now, ..over }))
        });
    }
}

/// A budget may evict it; then an upstream is tried once too often.
impl Record for LastPause {
    const KIND: u64 = 0x6275_7379_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.busy_until.0, self.row, self.forgotten_at.0, 0]
    }

    fn from_numbers([until, row, forgotten_at, _]: [u64; 4]) -> Self {
        Self { busy_until: Timestamp(until), row, forgotten_at: Timestamp(forgotten_at) }
    }

    fn until(&self) -> Timestamp {
        self.forgotten_at
    }
}

/// Returns the last pause, unless it is from a clock that was set back.
fn credible(last: LastPause, longest: Span, now: Timestamp) -> Option<LastPause> {
    (last.busy_until <= now + longest).then_some(last)
}

fn doubled(row: u64) -> Span {
    // Two to the tenth is a quarter of an hour, at or near the longest pause that can be
    // configured.
    let times = u32::try_from(row).ok().and_then(|row| 1_u64.checked_shl(row)).filter(|times| *times > 0);
    FIRST.times(times.unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "busy_tests.rs"]
mod tests;
