//! Limits that adapt to what their upstream really allows: additive increase, multiplicative decrease.
//!
//! In: a limit with `adaptive: true`, refusals of its upstream. Out: the limit as it is now, a part of what is configured. Not here: how
//! upstreams refuse (`api::back_off`), how budgets work under another shape (`budget`).
//!
//! A refusal halves what the limit allows; what it allows then grows again step by step, and so comes to oscillate below what the upstream
//! allows, whatever that is and however many other processes share it. (Chiu and Jain, "Analysis of the increase and decrease algorithms
//! for congestion avoidance in computer networks", 1989.) Calls that were let pass before a decrease tell nothing of what came of it, so
//! their refusals are no reason for another.

use std::rc::Rc;

use super::budget::{CLOCK_DISORDER, Shape};
use super::ledger::Ledger;
use super::limit::{Limit, Subject};
use crate::config::Ratio;
use crate::store::{Change, Entry, Key, Payload, numbers_in, payload_of};
use crate::units::{Amount, Span, Timestamp};

/// What a limit allows at least, however often its upstream refuses: a sixteenth, so that it is tried again soon.
const LEAST: Ratio = Ratio { ppm: 62_500 };

/// By how much it grows: a twentieth of the whole.
const STEP: u64 = 50_000;

/// How often it grows. From half to all of it takes 100 s, a minute's limit at most providers and then some.
const STEP_EVERY: Span = Span::from_secs(10);

/// How soon after a decrease another one may come.
const HALVED_AT_MOST_EVERY: Span = Span::from_secs(1);

/// The limit as it is now for a subject, and where its rate is kept, if it adapts.
pub(super) fn present(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    ledger: &Ledger<'_>,
) -> (Rc<Limit>, Option<Box<Key>>) {
    let Some(key) = limit.rate_key(ledger.keys, subject) else { return (limit.clone(), None) };
    let shape = shape(limit, Some(&key), ledger);
    let present =
        if shape == limit.shape { limit.clone() } else { Rc::new(Limit { shape, ..(**limit).clone() }) };
    (present, Some(Box::new(key)))
}

/// What the limit allows now, whose rate is kept there.
pub(super) fn shape(limit: &Limit, rate: Option<&Key>, ledger: &Ledger<'_>) -> Shape {
    let Some(key) = rate else { return limit.shape };
    let stored = ledger.table.peek(key, ledger.now, |stored| Rate::read(stored, ledger.now).factor);
    let factor = stored.unwrap_or(Ratio::ONE);
    let part = |whole: Amount| Amount(factor.of(whole.0).max(1));
    Shape { max: part(limit.shape.max), burst: part(limit.shape.burst), ..limit.shape }
}

/// The upstream has refused a call that this limit let pass at that moment. Whether it allows less now.
pub(super) fn decrease(key: &Key, let_pass_at: Timestamp, ledger: &Ledger<'_>) -> bool {
    let now = ledger.now;
    let updated = ledger.table.update(key, now, |stored| {
        let before = Rate::read(stored, now);
        let is_old = |last: Timestamp| let_pass_at <= last || now.since(last) < HALVED_AT_MOST_EVERY;
        if before.decreased_at.is_some_and(is_old) {
            return (false, Change::Keep);
        }
        let factor = Ratio { ppm: before.factor.ppm / 2 }.max(LEAST);
        (factor < before.factor, Change::Put(entry(factor, now)))
    });
    updated.is_ok_and(|updated| updated.value)
}

/// How much of a limit is allowed at one moment.
struct Rate {
    factor: Ratio,
    decreased_at: Option<Timestamp>,
}

impl Rate {
    /// All of it, if nothing is stored, or from a clock that has been set back.
    fn read(stored: Option<&Payload>, now: Timestamp) -> Self {
        let read = |payload: &Payload| {
            let mut fields = numbers_in(payload);
            let (kind, ppm, at) = (fields.next()?, fields.next()?, Timestamp(fields.next()?));
            (kind == RATE && at <= now + CLOCK_DISORDER).then_some((ppm, at))
        };
        let Some((ppm, at)) = stored.and_then(read) else {
            return Self { factor: Ratio::ONE, decreased_at: None };
        };
        let steps = now.since(at).0.checked_div(STEP_EVERY.0).unwrap_or(0);
        let grown = ppm.saturating_add(steps.saturating_mul(STEP));
        Self { factor: Ratio { ppm: grown }.clamp(LEAST, Ratio::ONE), decreased_at: Some(at) }
    }
}

/// It is needed until it has grown to the whole again, and may make way for a budget meanwhile: then the upstream says so again.
fn entry(factor: Ratio, at: Timestamp) -> Entry {
    let steps = Ratio::ONE.ppm.saturating_sub(factor.ppm).div_ceil(STEP);
    Entry { payload: payload_of([RATE, factor.ppm, at.0]), idle_at: at + STEP_EVERY.times(steps), fill: 0 }
}

/// Marks a payload as one of these, so that a budget is never taken for one.
const RATE: u64 = 0x7261_7465_2121_2121;

#[cfg(test)]
#[path = "adaptive_tests.rs"]
mod tests;
