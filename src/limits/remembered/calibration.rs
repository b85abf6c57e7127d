//! The error of text counts per model, learned from the usage that answers report.
//!
//! In: the count of a call's text, and its usage. Out: the factor for later counts. Not here: the
//! scale known or configured before anything is learned (`tokens`).
//!
//! Only models without a public tokenizer are corrected. For others the count is exact, and a
//! difference is text that someone else added. The factor is a running mean in the table of
//! budgets, which all workers share. A caller who sends odd text, or an upstream that reports
//! nonsense, moves it little: each call counts as at most [`FARTHEST`] off, and moves the mean by a
//! sixteenth of the difference, so the factor itself never leaves these bounds. It starts at one,
//! not at the first call's value. A wrong factor makes reservations too large or too small for a
//! while; the final charge is the reported usage.

use crate::config::Ratio;
use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Record};
use crate::limits::remembered::running_mean::{FORGOTTEN_AFTER, toward};
use crate::store::Key;
use crate::tokens::{TokenCount, has_public_tokenizer};
use crate::units::{Product, Timestamp};

/// Whether counts of input text are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Whether to learn, and to use the learned factors.
    pub on: bool,
}

/// The bounds of the factor of a count. No tokenizer in use differs more from a scale set in good
/// faith.
pub const FARTHEST: (Ratio, Ratio) = (Ratio { ppm: 500_000 }, Ratio { ppm: 2_000_000 });

/// The fewest tokens of text to learn from. With fewer, frames added by the provider would outweigh
/// the text.
const FEWEST: u64 = 64;

impl Calibration {
    /// Returns the factor for counts of the text of a model's prompts and answers.
    #[must_use]
    pub fn factor(self, model: &str, budgets: &Budgets<'_>) -> Ratio {
        if !self.corrects(model) {
            return Ratio::ONE;
        }
        record::look_lately::<Scale>(budgets, &key(model, budgets))
            .map_or(Ratio::ONE, |learned| learned.factor)
    }

    /// Learns from a call with this count before any correction, and this input usage. Returns the
    /// new factor, or `None` if nothing was learned: from few tokens, from a count that was partly
    /// assumed, or because another worker came first.
    pub fn observe(
        self,
        model: &str,
        counted: &TokenCount,
        used_input: u64,
        budgets: &Budgets<'_>,
    ) -> Option<Ratio> {
        if !self.corrects(model) || counted.assumed || counted.text.0 < FEWEST {
            return None;
        }
        let sample = sample(counted, used_input);
        let learned = record::change(budgets, &key(model, budgets), |before: Option<Scale>| {
            let before = before.map_or(Ratio::ONE, |before| before.factor);
            let learned = Scale {
                factor: Ratio { ppm: toward(before.ppm, sample.ppm) },
                until: budgets.now + FORGOTTEN_AFTER,
            };
            (learned.factor, Some(learned))
        });
        learned.ok()
    }

    fn corrects(self, model: &str) -> bool {
        self.on && !model.is_empty() && !has_public_tokenizer(model)
    }
}

/// Returns the error of the text count, assuming that everything else was counted right.
fn sample(counted: &TokenCount, used_input: u64) -> Ratio {
    let used_text = used_input.saturating_sub(counted.ruled.0).saturating_sub(counted.audio.0);
    bounded(Product::of(used_text, Ratio::ONE.ppm).div_rem(counted.text.0).0)
}

fn bounded(ppm: u64) -> Ratio {
    let (least, most) = FARTHEST;
    Ratio { ppm }.clamp(least, most)
}

fn key(model: &str, budgets: &Budgets<'_>) -> Key {
    budgets.keys.key("learned scale", [("model", model.as_bytes())])
}

/// The scale learned of one model.
#[derive(Clone, Copy, Debug)]
struct Scale {
    factor: Ratio,
    until: Timestamp,
}

impl Record for Scale {
    const KIND: u64 = 0x7363_616c_6564_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.factor.ppm, self.until.0, 0, 0]
    }

    fn from_numbers([ppm, until, ..]: [u64; 4]) -> Self {
        Self { factor: bounded(ppm), until: Timestamp(until) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }

    fn fill(&self) -> u8 {
        u8::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyHasher, Lines, MemoryLines, Table};
    use crate::units::{Span, Tokens};

    const ON: Calibration = Calibration { on: true };
    const MODEL: &str = "claude-opus-5";

    fn text(tokens: u64) -> TokenCount {
        TokenCount { text: Tokens(tokens), ..TokenCount::default() }
    }

    fn at(seconds: u64, lines: &MemoryLines, test: impl FnOnce(&Budgets<'_>)) {
        let table = Table::new(lines as &dyn Lines, 16);
        test(&Budgets::new(&table, &KeyHasher::new(&[1; 16]), Timestamp(1) + Span::from_secs(seconds)));
    }

    fn with_budgets(test: impl FnOnce(&Budgets<'_>)) {
        at(0, &MemoryLines::default(), test);
    }

    #[test]
    fn steady_usage_is_arrived_at_exactly_and_models_do_not_mix() {
        with_budgets(|budgets| {
            for _ in 0..300 {
                ON.observe(MODEL, &text(1_000), 1_400, budgets);
            }
            assert_eq!(ON.factor(MODEL, budgets), Ratio { ppm: 1_400_000 });
            assert_eq!(ON.factor("claude-opus-6", budgets), Ratio::ONE);
        });
    }

    #[test]
    fn what_is_counted_by_rule_is_taken_off_the_usage_first() {
        with_budgets(|budgets| {
            let counted = TokenCount { ruled: Tokens(300), audio: Tokens(100), ..text(1_000) };
            for _ in 0..300 {
                ON.observe(MODEL, &counted, 400 + 900, budgets);
            }
            assert_eq!(ON.factor(MODEL, budgets), Ratio { ppm: 900_000 });
        });
    }

    #[test]
    fn one_call_moves_the_factor_by_a_sixteenth_of_what_it_may_be_off() {
        for (used, expected) in [(u64::MAX, 1_062_500), (0, 968_750), (1_160, 1_010_000)] {
            with_budgets(|budgets| {
                let learned = ON.observe(MODEL, &text(1_000), used, budgets);
                assert_eq!(learned, Some(Ratio { ppm: expected }), "{used}");
                assert_eq!(ON.factor(MODEL, budgets), Ratio { ppm: expected }, "{used}");
            });
        }
    }

    #[test]
    fn nonsense_moves_the_factor_to_its_bounds_and_no_farther() {
        for (used, bound) in [(u64::MAX, FARTHEST.1), (0, FARTHEST.0)] {
            with_budgets(|budgets| {
                for _ in 0..1_000 {
                    ON.observe(MODEL, &text(FEWEST), used, budgets);
                }
                assert_eq!(ON.factor(MODEL, budgets), bound);
            });
        }
    }

    #[test]
    fn nothing_is_learned_from_few_tokens_from_assumptions_or_of_exact_models() {
        with_budgets(|budgets| {
            assert_eq!(ON.observe(MODEL, &text(FEWEST - 1), 500, budgets), None);
            let assumed = TokenCount { assumed: true, ..text(1_000) };
            assert_eq!(ON.observe(MODEL, &assumed, 500, budgets), None);
            assert_eq!(ON.observe("gpt-4o", &text(1_000), 500, budgets), None);
            assert_eq!(ON.observe("", &text(1_000), 500, budgets), None);
            assert_eq!(ON.factor(MODEL, budgets), Ratio::ONE);
        });
    }

    #[test]
    fn what_was_learned_is_not_used_once_it_is_switched_off() {
        with_budgets(|budgets| {
            ON.observe(MODEL, &text(1_000), 2_000, budgets);
            let off = Calibration { on: false };
            assert_eq!(off.observe(MODEL, &text(1_000), 2_000, budgets), None);
            assert_eq!(off.factor(MODEL, budgets), Ratio::ONE);
        });
    }

    #[test]
    fn what_was_learned_is_forgotten_after_a_day_without_a_call() {
        let lines = MemoryLines::default();
        at(0, &lines, |budgets| assert!(ON.observe(MODEL, &text(1_000), 2_000, budgets).is_some()));
        at(23 * 3600, &lines, |budgets| assert!(ON.factor(MODEL, budgets) > Ratio::ONE));
        at(25 * 3600, &lines, |budgets| {
            assert_eq!(ON.factor(MODEL, budgets), Ratio::ONE);
            let first = Some(Ratio { ppm: 1_062_500 });
            assert_eq!(ON.observe(MODEL, &text(1_000), 2_000, budgets), first);
        });
    }
}
