//! How much output to expect of a call that does not say, learned from calls like it.
//!
//! In: the output that calls of a tier and model had. Out: what to hold for the next one. Not here: how much of a budget that may
//! be (`limit`).
//!
//! What is learned is a running mean and mean deviation, as TCP estimates round trips (RFC 6298): mean plus one deviation
//! covers most calls without holding what only the longest need. It lives in the table of budgets, so that all workers
//! learn together and it needs no memory of its own.

use super::ledger::Ledger;
use crate::config::Ratio;
use crate::store::{Change, Entry, Key, Payload, numbers_in, payload_of};
use crate::units::{Span, Tokens};

/// How output is reserved for where the request sets no bound, or a large one.
#[derive(Clone, Debug)]
pub struct OutputReserve {
    /// What is expected before anything is learned.
    pub start: Tokens,
    /// Whether to learn.
    pub learn: bool,
    /// The largest share of a budget that is held for output.
    pub at_most: Ratio,
}

/// What is learned counts as forgotten after so long without a call.
const FORGOTTEN_AFTER: Span = Span::from_secs(24 * 3600);

/// One call moves the mean by a sixteenth of its difference, which settles within a few dozen calls; RFC 6298 uses an eighth
/// for values that come in sequence.
const GAIN: u64 = 16;

/// Means are kept in sixteenths of a token, or small differences would be lost.
const PRECISION: u64 = 16;

/// Beyond this no model writes, and sums stay far from overflow.
const LARGEST: u64 = 1 << 40;

impl OutputReserve {
    /// The output to expect of a call.
    pub fn expected(&self, model: &str, tier: &str, ledger: &Ledger<'_>) -> Tokens {
        if !self.learn {
            return self.start;
        }
        let learned = ledger
            .table
            .peek(&key(model, tier, ledger), ledger.now, |stored| stored.and_then(Learned::decode));
        learned.ok().flatten().map_or(self.start, Learned::expected)
    }

    /// Learns from a call that had so much output.
    pub fn observe(&self, model: &str, tier: &str, output: u64, ledger: &Ledger<'_>) {
        if !self.learn {
            return;
        }
        // What is not learned because of a lost race is learned from the next call.
        let _ = ledger.table.update(&key(model, tier, ledger), ledger.now, |stored| {
            let learned = stored
                .and_then(Learned::decode)
                .map_or_else(|| Learned::first(output), |before| before.with(output));
            let entry =
                Entry { payload: learned.encode(), idle_at: ledger.now + FORGOTTEN_AFTER, fill: u8::MAX };
            ((), Change::Put(entry))
        });
    }
}

fn key(model: &str, tier: &str, ledger: &Ledger<'_>) -> Key {
    let dimensions = [("tier", tier.as_bytes()), ("model", model.as_bytes())];
    ledger.keys.key("learned output", dimensions)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Learned {
    mean: u64,
    deviation: u64,
}

/// Marks a payload as one of these, so that a budget is never taken for one.
const LEARNED: u64 = 0x6c65_6172_6e65_6421;

impl Learned {
    /// RFC 6298 section 2.2: the first value is the mean, half of it the deviation.
    fn first(output: u64) -> Self {
        let mean = output.min(LARGEST).saturating_mul(PRECISION);
        Self { mean, deviation: mean / 2 }
    }

    fn with(self, output: u64) -> Self {
        let seen = output.min(LARGEST).saturating_mul(PRECISION);
        let difference = self.mean.abs_diff(seen);
        Self { mean: toward(self.mean, seen), deviation: toward(self.deviation, difference) }
    }

    const fn expected(self) -> Tokens {
        Tokens(self.mean.saturating_add(self.deviation).div_ceil(PRECISION))
    }

    fn encode(self) -> Payload {
        payload_of([LEARNED, self.mean, self.deviation])
    }

    fn decode(payload: &Payload) -> Option<Self> {
        let mut fields = numbers_in(payload);
        if fields.next()? != LEARNED {
            return None;
        }
        Some(Self { mean: fields.next()?, deviation: fields.next()? })
    }
}

/// A step from `from` to `to`; at least 1, so that it arrives.
fn toward(from: u64, to: u64) -> u64 {
    let step = from.abs_diff(to).div_ceil(GAIN);
    if to > from { from.saturating_add(step) } else { from.saturating_sub(step) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyHasher, Lines, MemoryLines, Table};
    use crate::units::Timestamp;

    const RESERVE: OutputReserve =
        OutputReserve { start: Tokens(512), learn: true, at_most: Ratio { ppm: 250_000 } };

    fn with_ledger(test: impl FnOnce(&Ledger<'_>)) {
        let lines = MemoryLines::default();
        let table = Table::new(&lines as &dyn Lines, 16);
        test(&Ledger::new(&table, &KeyHasher::new(&[1; 16]), Timestamp(1)));
    }

    #[test]
    fn the_start_is_expected_until_something_is_learned() {
        with_ledger(|ledger| {
            assert_eq!(RESERVE.expected("gpt-4o", "free", ledger), Tokens(512));
            RESERVE.observe("gpt-4o", "free", 100, ledger);
            assert_eq!(RESERVE.expected("gpt-4o", "free", ledger), Tokens(150));
            assert_eq!(RESERVE.expected("gpt-4o", "pro", ledger), Tokens(512));
            assert_eq!(RESERVE.expected("o3", "free", ledger), Tokens(512));
        });
    }

    #[test]
    fn steady_output_is_expected_exactly_after_a_while() {
        with_ledger(|ledger| {
            for _ in 0..500 {
                RESERVE.observe("gpt-4o", "free", 40, ledger);
            }
            assert_eq!(RESERVE.expected("gpt-4o", "free", ledger), Tokens(40));
        });
    }

    #[test]
    fn varying_output_is_covered_beyond_its_mean() {
        with_ledger(|ledger| {
            for call in 0..500 {
                RESERVE.observe("gpt-4o", "free", if call % 2 == 0 { 100 } else { 300 }, ledger);
            }
            let expected = RESERVE.expected("gpt-4o", "free", ledger).0;
            assert!((280..=330).contains(&expected), "{expected}");
        });
    }

    #[test]
    fn absurd_output_does_no_lasting_harm() {
        let learned = (0..10).fold(Learned::first(u64::MAX), |learned, _| learned.with(u64::MAX));
        assert!(learned.expected().0 <= 2 * LARGEST);
        let recovered = (0..2_000).fold(learned, |learned, _| learned.with(10));
        assert_eq!(recovered.expected(), Tokens(10));
    }

    #[test]
    fn nothing_is_learned_if_it_is_switched_off() {
        with_ledger(|ledger| {
            let fixed = OutputReserve { learn: false, ..RESERVE };
            fixed.observe("gpt-4o", "free", 9_999, ledger);
            assert_eq!(fixed.expected("gpt-4o", "free", ledger), Tokens(512));
        });
    }
}
