//! Limits that adapt to what their upstream really allows: additive increase, multiplicative
//! decrease.
//!
//! In: a limit with `adaptive: true`, refusals of its upstream. Out: the limit's present shape, a
//! part of the configured one. Not here: how upstreams refuse (`api::back_off`), how budgets work
//! under another shape (`budget`).
//!
//! A refusal halves the limit, which then grows again step by step. So it oscillates below the
//! amount that the upstream allows, whatever that is and however many other processes share it.
//! (Chiu and Jain, "Analysis of the increase and decrease algorithms for congestion avoidance in
//! computer networks", 1989.) Calls that passed before a decrease tell nothing of its effect, so
//! their refusals cause no further one.

use std::rc::Rc;

use crate::config::Ratio;
use crate::limits::budget::{CLOCK_DISORDER, Shape};
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::remembered::record::{self, Record};
use crate::store::Key;
use crate::units::{Amount, Span, Timestamp};

/// The smallest part of a limit, however often its upstream refuses: a sixteenth, so that the
/// upstream is soon tried again.
const LEAST: Ratio = Ratio { ppm: 62_500 };

/// The increment of the limit: a twentieth of the whole, in millionths.
const STEP: u64 = 50_000;

/// The time between increments. From half to all of the limit takes 100 s, more than a minute, the
/// usual window of providers.
const STEP_EVERY: Span = Span::from_secs(10);

/// The shortest time between two decreases.
const HALVED_AT_MOST_EVERY: Span = Span::from_secs(1);

/// Returns the limit's present form for a subject, and the key of its rate, if it adapts.
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

/// Returns the present shape of a limit with the rate stored at `rate`.
pub(in crate::limits) fn shape(limit: &Limit, rate: Option<&Key>, budgets: &Budgets<'_>) -> Shape {
    let Some(key) = rate else { return limit.shape };
    let decrease = record::look::<Decrease>(budgets, key);
    let factor = decrease.map_or(Ratio::ONE, |decrease| decrease.factor(budgets.now));
    let part = |whole: Amount| Amount(factor.of(whole.0).max(1));
    Shape { max: part(limit.shape.max), burst: part(limit.shape.burst), ..limit.shape }
}

/// Records that the upstream refused a call that this limit let pass at `let_pass_at`. Returns
/// whether the limit decreased.
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

/// The last decrease of a limit, kept until the limit has grown to the whole again. A budget may
/// evict it; then the upstream refuses once more.
struct Decrease {
    to: Ratio,
    at: Timestamp,
}

impl Decrease {
    /// Returns the part of the limit that is allowed now; all of it, if the clock was set back
    /// since.
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
