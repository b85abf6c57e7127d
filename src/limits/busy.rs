//! Upstreams that want to be left alone, remembered for all workers, per upstream and model.
//!
//! In: what an answer asks for ([`Pause`]). Out: until when no further call should be sent ([`Busyness`]). Not here: how upstreams say it
//! (`api::back_off`), what becomes of calls meanwhile (`exchange`).
//!
//! One that does not say for how long is left alone for a second, and twice as long each time it refuses the first calls after that,
//! until an answer shows that it has recovered. Refusals of calls that were under way already can only extend a pause, for they tell nothing
//! new; nor does an answer to one of those end it. Nothing is believed beyond the longest pause that is configured, also if the
//! clock is set back.

use super::calibration::tag;
use super::ledger::Ledger;
use crate::api::Pause;
use crate::store::{Change, Entry, Key, Payload, numbers_in, payload_of};
use crate::units::{Span, Timestamp};

/// How long an upstream is left alone that does not say for how long, the first time.
const FIRST: Span = Span::from_secs(1);

/// Where is remembered what one upstream says of one model.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    key: Key,
    tag: u64,
}

/// Whether calls should be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busyness {
    /// Nothing speaks against it.
    Free,
    /// The last thing that is known is a refusal, but its time is over.
    Recovering,
    /// Not before then.
    Until(Timestamp),
}

/// What is stored of it.
#[derive(Clone, Copy)]
struct Stored {
    until: Timestamp,
    /// How many pauses there were in a row.
    row: u64,
    forgotten_at: Timestamp,
}

impl Busy {
    /// The place for an upstream and a model, both of which may be unknown.
    #[must_use]
    pub fn of(upstream: &[u8], model: &str, ledger: &Ledger<'_>) -> Self {
        let parts = [("upstream", upstream), ("model", model.as_bytes())];
        let bytes = upstream.iter().copied().chain([0]).chain(model.bytes());
        Self { key: ledger.keys.key("busy upstream", parts), tag: tag(bytes) }
    }

    /// Whether calls should be sent. What cannot be read is no reason to refuse any.
    #[must_use]
    pub fn look(&self, longest: Span, ledger: &Ledger<'_>) -> Busyness {
        let stored =
            ledger.table.peek(&self.key, ledger.now, |stored| self.read(stored, longest, ledger.now));
        match stored.ok().flatten() {
            None => Busyness::Free,
            Some(Stored { until, .. }) if until > ledger.now => Busyness::Until(until),
            Some(_) => Busyness::Recovering,
        }
    }

    /// The upstream has asked for a pause. Since when it is busy is known: whether this is news, and until when it is.
    pub fn tell(&self, pause: Pause, longest: Span, ledger: &Ledger<'_>) -> Option<(bool, Timestamp)> {
        let now = ledger.now;
        let updated = ledger.table.update(&self.key, now, |stored| {
            let before = self.read(stored, longest, now);
            let is_news = before.is_none_or(|before| before.until <= now);
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
            let until = before.map_or(until, |before| before.until.max(until));
            let stored = Stored { until, row, forgotten_at: until + longest };
            ((is_news, until), Change::Put(self.entry(stored)))
        });
        updated.ok().map(|updated| updated.value)
    }

    /// An answer has come to a call that was sent after the pause: the next one will be a first one.
    pub fn recover(&self, longest: Span, ledger: &Ledger<'_>) {
        let now = ledger.now;
        // What cannot be written now is forgotten by itself.
        let _ = ledger.table.update(&self.key, now, |stored| match self.read(stored, longest, now) {
            Some(before) if before.until <= now => {
                ((), Change::Put(self.entry(Stored { row: 0, forgotten_at: now, ..before })))
            }
            _ => ((), Change::Keep),
        });
    }

    /// It may make way for a budget: then an upstream is tried once too often.
    fn entry(&self, Stored { until, row, forgotten_at }: Stored) -> Entry {
        let payload = payload_of([BUSY, self.tag, until.0, row, forgotten_at.0]);
        Entry { payload, idle_at: forgotten_at, fill: 0 }
    }

    /// What is stored of this upstream and model, unless it is forgotten, or from a clock that has been set back.
    fn read(&self, stored: Option<&Payload>, longest: Span, now: Timestamp) -> Option<Stored> {
        let mut fields = numbers_in(stored?);
        let mut next = || fields.next();
        let (kind, tag) = (next()?, next()?);
        let stored = Stored { until: Timestamp(next()?), row: next()?, forgotten_at: Timestamp(next()?) };
        let is_its_own = kind == BUSY && tag == self.tag;
        let is_credible = stored.until <= now + longest;
        (is_its_own && is_credible && now < stored.forgotten_at).then_some(stored)
    }
}

/// Marks a payload as one of these, so that a budget is never taken for one.
const BUSY: u64 = 0x6275_7379_2121_2121;

fn doubled(row: u64) -> Span {
    // Two to the tenth is a quarter of an hour: more than any pause that can be configured, or soon after.
    let times = u32::try_from(row).ok().and_then(|row| 1_u64.checked_shl(row)).filter(|times| *times > 0);
    FIRST.times(times.unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "busy_tests.rs"]
mod tests;
