//! Pauses that upstreams ask for, remembered for all workers, per upstream and model.
//!
//! In: what an answer asks for ([`Pause`]). Out: until when no further call should be sent
//! ([`Busyness`]). Not here: how upstreams say it (`api::back_off`), how calls are treated
//! meanwhile (`exchange`).
//!
//! Without a `retry-after`, the pause is one second, doubling each time the upstream refuses the
//! first calls after it, until an answer shows that it has recovered. Calls that were under way
//! already can only extend a pause by their refusals, and cannot end it by their answers: they say
//! nothing new. No pause is longer than the longest that is configured, also if the clock is set
//! back.

use crate::api::Pause;
use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Record};
use crate::store::Key;
use crate::units::{Span, Timestamp};

/// The first pause of an upstream that does not say for how long.
const FIRST: Span = Span::from_secs(1);

/// Where is remembered what one upstream says of one model.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    key: Key,
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

/// The last pause of an upstream.
#[derive(Clone, Copy)]
struct LastPause {
    busy_until: Timestamp,
    /// How many pauses there were in a row.
    row: u64,
    forgotten_at: Timestamp,
}

impl Busy {
    /// The place for an upstream and a model, both of which may be unknown.
    #[must_use]
    pub fn of(upstream: &[u8], model: &str, budgets: &Budgets<'_>) -> Self {
        let parts = [("upstream", upstream), ("model", model.as_bytes())];
        Self { key: budgets.keys.key("busy upstream", parts) }
    }

    /// Whether calls should be sent. What cannot be read is no reason to refuse any.
    #[must_use]
    pub fn look(&self, longest: Span, budgets: &Budgets<'_>) -> Busyness {
        let last = record::look(budgets, &self.key).and_then(|last| credible(last, longest, budgets.now));
        match last {
            None => Busyness::Free,
            Some(LastPause { busy_until, .. }) if busy_until > budgets.now => Busyness::Until(busy_until),
            Some(_) => Busyness::Recovering,
        }
    }

    /// The upstream has asked for a pause. Since when it is busy is known: whether this is news,
    /// and until when it is.
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

    /// An answer has come to a call that was sent after the pause: the next one will be a first
    /// one.
    pub fn recover(&self, longest: Span, budgets: &Budgets<'_>) {
        let now = budgets.now;
        // What cannot be written now is forgotten by itself.
        let _ = record::change(budgets, &self.key, |last| {
            let over =
                last.and_then(|last| credible(last, longest, now)).filter(|last| last.busy_until <= now);
            ((), over.map(|over| LastPause { row: 0, forgotten_at: now, ..over }))
        });
    }
}

/// It makes way for a budget: then an upstream is tried once too often.
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

/// The last pause, unless it is from a clock that has been set back.
fn credible(last: LastPause, longest: Span, now: Timestamp) -> Option<LastPause> {
    (last.busy_until <= now + longest).then_some(last)
}

fn doubled(row: u64) -> Span {
    // Two to the tenth is a quarter of an hour: more than any pause that can be configured, or soon
    // after.
    let times = u32::try_from(row).ok().and_then(|row| 1_u64.checked_shl(row)).filter(|times| *times > 0);
    FIRST.times(times.unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "busy_tests.rs"]
mod tests;
