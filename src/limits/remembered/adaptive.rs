//! Limits that adapt to what their upstream really allows: additive increase, multiplicative
//! decrease.
//!
//! In: a limit with `adaptive: true`, refusals of its upstream. Out: the limit as it is now, a part
//! of what is configured. Not here: how upstreams refuse (`api::back_off`), how budgets work under
//! another shape (`budget`).
//!
//! A refusal halves what the limit allows; what it allows then grows again step by step, and so
//! comes to oscillate below what the upstream allows, whatever that is and however many other
//! processes share it. (Chiu and Jain, "Analysis of the increase and decrease algorithms for
//! congestion avoidance in computer networks", 1989.) Calls that were let pass before a decrease
//! tell nothing of what came of it, so their refusals are no reason for another.

use std::rc::Rc;

use crate::config::Ratio;
use crate::limits::budget::{CLOCK_DISORDER, Shape};
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::remembered::record::{self, Record};
use crate::store::Key;
use crate::units::{Amount, Span, Timestamp};

/// The least that a limit allows, however often its upstream refuses: a sixteenth, so that it is
/// tried again soon.
const LEAST: Ratio = Ratio { ppm: 62_500 };

/// By how much it grows: a twentieth of the whole.
const STEP: u64 = 50_000;

/// How often it grows. From half to all of it takes 100 s, a minute's limit at most providers and
/// then some.
const STEP_EVERY: Span = Span::from_secs(10);

/// How soon after a decrease another one may come.
const HALVED_AT_MOST_EVERY: Span = Span::from_secs(1);

/// The limit as it is now for a subject, and where its rate is kept, if it adapts.
pub(in crate::limits) fn present(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    budgets: &Budgets<'_>,
) -> (Rc<Limit>, Option<Box<Key>>) {
    let Some(key) = limit.rate_key(budgets.keys, subject) else { return (limit.clone(), None) };
    let shape = shape(limit, Some(&key), budgets);
    let present =
        if shape == limit.shape { limit.clone() } else { Rc::new(Limit { shape, ..(**limit).clone() }) };
    (present, Some(Box::new(key)))
}

/// The shape of a limit now, whose rate is kept there.
pub(in crate::limits) fn shape(limit: &Limit, rate: Option<&Key>, budgets: &Budgets<'_>) -> Shape {
    let Some(key) = rate else { return limit.shape };
    let decrease = record::look::<Decrease>(budgets, key);
    let factor = decrease.map_or(Ratio::ONE, |decrease| decrease.factor(budgets.now));
    let part = |whole: Amount| Amount(factor.of(whole.0).max(1));
    Shape { max: part(limit.shape.max), burst: part(limit.shape.burst), ..limit.shape }
}

/// The upstream has refused a call that this limit let pass at that moment. Whether it allows less
/// now.
pub(in crate::limits) fn decrease(key: &Key, let_pass_at: Timestamp, budgets: &Budgets<'_>) -> bool {
    let now = budgets.now;
    let decreased = record::change(budgets, key, |before: Option<Decrease>| {
        let before = before.filter(|before| before.at <= now + CLOCK_DISORDER);
        let is_old = |last: &Decrease| let_pass_at <= last.at || now.since(last.at) < HALVED_AT_MOST_EVERY;
        if before.as_ref().is_some_and(is_old) {
            return (false, None);
        }
        let factor = before.map_or(Ratio::ONE, |before| before.factor(now));
        let halved = Ratio { ppm: factor.ppm / 2 }.max(LEAST);
        (halved < factor, Some(Decrease { to: halved, at: now }))
    });
    decreased == Ok(true)
}

/// The last decrease of a limit, remembered until it has grown to the whole again. It makes way for
/// a budget: then the upstream refuses once more.
struct Decrease {
    to: Ratio,
    at: Timestamp,
}

impl Decrease {
    /// How much of the limit is allowed now; all of it, if the clock has been set back since.
    fn factor(&self, now: Timestamp) -> Ratio {
        if self.at > now + CLOCK_DISORDER {
            return Ratio::ONE;
        }
        let steps = now.since(self.at).0.checked_div(STEP_EVERY.0).unwrap_or(0);
        let grown = self.to.ppm.saturating_add(steps.saturating_mul(STEP));
        Ratio { ppm: grown }.clamp(LEAST, Ratio::ONE)
    }
}

impl Record for Decrease {
    const KIND: u64 = 0x7261_7465_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.to.ppm, self.at.0, 0, 0]
    }

    fn from_numbers([ppm, at, ..]: [u64; 4]) -> Self {
        Self { to: Ratio { ppm }, at: Timestamp(at) }
    }

    fn until(&self) -> Timestamp {
        let steps = Ratio::ONE.ppm.saturating_sub(self.to.ppm).div_ceil(STEP);
        self.at + STEP_EVERY.times(steps)
    }
}

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
