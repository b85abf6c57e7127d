//! The expected output of a call, learned from calls like it.
//!
//! In: the outputs of calls of a tier and model, and the bounds that their requests set. Out: the
//! expected output of the next one. Not here: the amount held in a budget (`limit`).
//!
//! For calls without a bound it learns a running mean and mean deviation, as TCP estimates round
//! trips (RFC 6298): mean plus one deviation covers most calls without holding what only the
//! longest need. For calls with one it also learns the part of their bounds that all of them use
//! together, so that the expectations of many calls are right in sum. It lives in the table of
//! budgets, so that all workers learn together and it needs no memory of its own.

use crate::config::Ratio;
use crate::limits::budgets::Budgets;
use crate::limits::limit::ExpectedOutput;
use crate::limits::remembered::record::{self, Record};
use crate::limits::remembered::running_mean::{FORGOTTEN_AFTER, toward};
use crate::store::Key;
use crate::units::{Timestamp, Tokens};

/// How output is reserved if the request sets no bound, or a large one.
#[derive(Clone, Debug)]
pub struct OutputReserve {
    /// The output expected before anything is learned.
    pub start: Tokens,
    /// Whether to learn.
    pub learn: bool,
    /// The largest share of a budget that is held for output.
    pub at_most: Ratio,
}

/// Means are in sixteenths of a token, because whole tokens would lose small differences.
const PRECISION: u64 = 16;

/// The largest output in tokens; no model writes more. In sixteenths it fits 32 bits.
const LARGEST: u64 = (1 << 28) - 1;

impl OutputReserve {
    /// Returns the expected output of a call.
    pub fn expected(&self, model: &str, tier: &str, budgets: &Budgets<'_>) -> ExpectedOutput {
        let learned = |key| record::look_lately::<Learned>(budgets, &key);
        let learned = self.learn.then(|| key(model, tier, budgets)).and_then(learned);
        learned.map_or_else(|| self.start.into(), Learned::expected)
    }

    /// Learns from the output of a call and the bound that its request set, if any.
    pub fn observe(&self, model: &str, tier: &str, bound: Option<u64>, output: u64, budgets: &Budgets<'_>) {
        if !self.learn {
            return;
        }
        // If this write loses a race, the next call teaches the same.
        let _ = record::change(budgets, &key(model, tier, budgets), |before: Option<Learned>| {
            let learned = before.map_or_else(|| Learned::first(output), |before| before.with(output));
            let learned = bound.map_or(learned, |bound| learned.with_bound(bound, output));
            ((), Some(Learned { until: budgets.now + FORGOTTEN_AFTER, ..learned }))
        });
    }
}

fn key(model: &str, tier: &str, budgets: &Budgets<'_>) -> Key {
    let dimensions = [("tier", tier.as_bytes()), ("model", model.as_bytes())];
    budgets.keys.key("learned output", dimensions)
}

/// Running means, in sixteenths of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Learned {
    mean: u64,
    deviation: u64,
    /// The mean bound of calls that have one; zero if there were none.
    bound: u64,
    /// The mean output of calls that have a bound.
    within_bound: u64,
    until: Timestamp,
}

impl Record for Learned {
    const KIND: u64 = 0x6c65_6172_6e65_6421;

    fn numbers(&self) -> [u64; 4] {
        [self.mean, self.deviation, (self.bound << 32) | self.within_bound, self.until.0]
    }

    fn from_numbers([mean, deviation, bounded, until]: [u64; 4]) -> Self {
        let (bound, within_bound) = (bounded >> 32, bounded & u64::from(u32::MAX));
        Self { mean, deviation, bound, within_bound, until: Timestamp(until) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }

    fn fill(&self) -> u8 {
        u8::MAX
    }
}

impl Learned {
    /// Starts the means as in RFC 6298, section 2.2: the first value is the mean, half of it the
    /// deviation.
    fn first(output: u64) -> Self {
        let mean = in_parts(output);
        Self { mean, deviation: mean / 2, ..Self::default() }
    }

    fn with(self, output: u64) -> Self {
        let seen = in_parts(output);
        let difference = self.mean.abs_diff(seen);
        Self { mean: toward(self.mean, seen), deviation: toward(self.deviation, difference), ..self }
    }

    fn with_bound(self, bound: u64, output: u64) -> Self {
        let (bound, output) = (in_parts(bound), in_parts(output.min(bound)));
        if self.bound == 0 {
            return Self { bound, within_bound: output, ..self };
        }
        Self { bound: toward(self.bound, bound), within_bound: toward(self.within_bound, output), ..self }
    }

    fn expected(self) -> ExpectedOutput {
        let part = self.within_bound.saturating_mul(Ratio::ONE.ppm).checked_div(self.bound);
        ExpectedOutput {
            most: Tokens(self.mean.saturating_add(self.deviation).div_ceil(PRECISION)),
            of_bound: part.map_or(Ratio::ONE, |ppm| Ratio { ppm }.min(Ratio::ONE)),
        }
    }
}

fn in_parts(tokens: u64) -> u64 {
    tokens.min(LARGEST).saturating_mul(PRECISION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyHasher, Lines, MemoryLines, Table};
    use crate::units::Timestamp;

    const RESERVE: OutputReserve =
        OutputReserve { start: Tokens(512), learn: true, at_most: Ratio { ppm: 250_000 } };

    fn with_budgets(test: impl FnOnce(&Budgets<'_>)) {
        let lines = MemoryLines::default();
        let table = Table::new(&lines as &dyn Lines, 16);
        test(&Budgets::new(&table, &KeyHasher::new(&[1; 16]), Timestamp(1)));
    }

    #[test]
    fn the_start_is_expected_until_something_is_learned() {
        with_budgets(|budgets| {
            assert_eq!(RESERVE.expected("gpt-4o", "free", budgets).most, Tokens(512));
            RESERVE.observe("gpt-4o", "free", None, 100, budgets);
            assert_eq!(RESERVE.expected("gpt-4o", "free", budgets).most, Tokens(150));
            assert_eq!(RESERVE.expected("gpt-4o", "pro", budgets).most, Tokens(512));
            assert_eq!(RESERVE.expected("o3", "free", budgets).most, Tokens(512));
        });
    }

    #[test]
    fn steady_output_is_expected_exactly_after_a_while() {
        with_budgets(|budgets| {
            for _ in 0..500 {
                RESERVE.observe("gpt-4o", "free", None, 40, budgets);
            }
            assert_eq!(RESERVE.expected("gpt-4o", "free", budgets).most, Tokens(40));
        });
    }

    #[test]
    fn varying_output_is_covered_beyond_its_mean() {
        with_budgets(|budgets| {
            for call in 0..500 {
                RESERVE.observe("gpt-4o", "free", None, if call % 2 == 0 { 100 } else { 300 }, budgets);
            }
            let expected = RESERVE.expected("gpt-4o", "free", budgets).most.0;
            assert!((280..=330).contains(&expected), "{expected}");
        });
    }

    #[test]
    fn absurd_output_does_no_lasting_harm() {
        let learned = (0..10).fold(Learned::first(u64::MAX), |learned, _| learned.with(u64::MAX));
        assert!(learned.expected().most.0 <= 2 * LARGEST);
        let recovered = (0..2_000).fold(learned, |learned, _| learned.with(10));
        assert_eq!(recovered.expected().most, Tokens(10));
    }

    #[test]
    fn what_is_expected_of_calls_with_bounds_is_right_in_sum() {
        with_budgets(|budgets| {
            // All that they may use, and a tenth of it.
            let calls = [(10, 10), (20, 20), (1_000, 100)];
            for call in 0..1_500 {
                let (bound, output) = calls[call % 3];
                RESERVE.observe("gpt-4o", "free", Some(bound), output, budgets);
            }
            let expected = RESERVE.expected("gpt-4o", "free", budgets);
            let sum: u64 = calls.iter().map(|(bound, _)| expected.within(Some(*bound))).sum();
            assert!((110..=150).contains(&sum), "{sum} of 130");
            assert_eq!(expected.within(None), expected.most.0);
        });
    }

    #[test]
    fn of_a_call_with_a_bound_all_of_it_is_expected_until_such_calls_are_known() {
        with_budgets(|budgets| {
            RESERVE.observe("gpt-4o", "free", None, 100, budgets);
            assert_eq!(RESERVE.expected("gpt-4o", "free", budgets).within(Some(1_000)), 1_000);
            RESERVE.observe("gpt-4o", "free", Some(1_000), 100, budgets);
            assert_eq!(RESERVE.expected("gpt-4o", "free", budgets).within(Some(1_000)), 100);
        });
    }

    #[test]
    fn nothing_is_learned_if_it_is_switched_off() {
        with_budgets(|budgets| {
            let fixed = OutputReserve { learn: false, ..RESERVE };
            fixed.observe("gpt-4o", "free", None, 9_999, budgets);
            assert_eq!(fixed.expected("gpt-4o", "free", budgets).most, Tokens(512));
        });
    }
}
