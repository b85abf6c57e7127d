//! The circuit breaker of one worker: stops asking a service that has failed.
//!
//! In: the outcome of each call to the service, and `now`. Out: whether to make the next, and when
//! that changes. Not here: the decision without an answer, and what counts as one (`rls`).
//!
//! ```text
//! Closed ── several failures in a row ──▶ Open: one call per interval goes through, the probe
//!    ◀───────────────── any success ──────────┘
//! ```
//!
//! A success closes it even if the call was made before the breaker opened, because it is the
//! latest news of the service. Failures while it is open add nothing, least of all those of earlier
//! calls. A probe needs no state of its own: the next one goes when it is due, whether or not the
//! last was answered.

use crate::metrics::{self, Count, Labels};
use crate::units::{Span, Timestamp};

/// The policy of a breaker: when to stop asking, and how often to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// The failures in a row that open it; 0 counts as 1.
    pub failures: u32,
    /// The interval at which one call goes through while it is open.
    pub probe_every: Span,
}

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        /// The number in a row so far.
        failures: u32,
    },
    Open {
        next_probe: Timestamp,
    },
}

/// A change of the breaker's state, reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only probes go to the service now.
    Opened,
    /// Calls go to the service again.
    Closed,
}

impl Change {
    /// Returns its count, for metrics.
    #[must_use]
    pub fn count(self) -> Count {
        let kind = match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
        };
        Count { metric: &metrics::GLOBAL_BREAKER, labels: Labels { kind, ..Labels::default() }, by: 1 }
    }
}

impl Breaker {
    /// Creates a closed breaker.
    #[must_use]
    pub const fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 } }
    }

    /// Returns whether to make a call now. If so, the call must be made, because it may be the
    /// probe.
    #[must_use = "a call that may be made must be made"]
    pub fn may_ask(&mut self, now: Timestamp) -> bool {
        let State::Open { next_probe } = self.state else {
            return true;
        };
        let ahead = next_probe.since(now);
        // A probe further ahead than any interval means that the clock was set back; the old time
        // must not delay it.
        let is_due = ahead.is_zero() || ahead > self.policy.probe_every;
        if is_due {
            self.open(now);
        }
        is_due
    }

    /// Returns whether only probes may be made.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Records that a call was answered, or failed without an answer.
    pub fn answered(&mut self, ok: bool, now: Timestamp) -> Option<Change> {
        match (self.state, ok) {
            (State::Closed { .. }, true) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, false) => {
                let failures = failures.saturating_add(1);
                if failures < self.policy.failures {
                    self.state = State::Closed { failures };
                    return None;
                }
                self.open(now);
                Some(Change::Opened)
            }
            (State::Open { .. }, true) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            (State::Open { .. }, false) => None,
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.state = State::Open { next_probe: now + self.policy.probe_every };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp(1_800_000_000_000_000_000);
    const EVERY: Span = Span::from_secs(1);
    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, probe_every: EVERY };

    fn at(millis: u64) -> Timestamp {
        START + Span::from_millis(millis)
    }

    fn opened(policy: BreakerPolicy) -> Breaker {
        let mut breaker = Breaker::new(policy);
        while breaker.answered(false, START) != Some(Change::Opened) {}
        breaker
    }

    #[test]
    fn it_opens_at_the_last_of_so_many_failures_in_a_row() {
        let mut breaker = Breaker::new(POLICY);

        assert_eq!(breaker.answered(false, START), None);
        assert_eq!(breaker.answered(false, START), None);
        assert!(breaker.may_ask(START));
        assert_eq!(breaker.answered(false, START), Some(Change::Opened));
        assert!(!breaker.may_ask(START));
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let mut breaker = Breaker::new(POLICY);
        for ok in [false, false, true, false, false] {
            assert_eq!(breaker.answered(ok, START), None);
        }

        assert!(breaker.may_ask(START));
    }

    #[test]
    fn open_it_lets_one_probe_through_in_every_interval() {
        let mut breaker = opened(POLICY);

        let passed: Vec<u64> =
            (0..3_500).step_by(100).filter(|millis| breaker.may_ask(at(*millis))).collect();

        assert_eq!(passed, [1_000, 2_000, 3_000]);
    }

    #[test]
    fn a_probe_that_fails_does_not_bring_the_next_one_forward() {
        let mut breaker = opened(POLICY);
        assert!(breaker.may_ask(at(1_000)));
        assert_eq!(breaker.answered(false, at(1_050)), None);

        assert!(!breaker.may_ask(at(1_999)));
        assert!(breaker.may_ask(at(2_000)));
    }

    #[test]
    fn a_probe_without_an_answer_is_followed_by_the_next() {
        let mut breaker = opened(POLICY);

        assert!(breaker.may_ask(at(1_000)));
        assert!(!breaker.may_ask(at(1_999)));
        assert!(breaker.may_ask(at(2_000)));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it() {
        let mut breaker = opened(POLICY);
        assert!(breaker.may_ask(at(1_000)));

        assert_eq!(breaker.answered(true, at(1_010)), Some(Change::Closed));

        assert!(breaker.may_ask(at(1_010)));
        assert!(breaker.may_ask(at(1_010)));
    }

    #[test]
    fn a_success_of_a_call_made_before_it_opened_closes_it() {
        let mut breaker = opened(POLICY);

        assert_eq!(breaker.answered(true, at(5)), Some(Change::Closed));
    }

    #[test]
    fn late_failures_of_calls_made_before_it_opened_change_nothing() {
        let mut breaker = opened(POLICY);
        for millis in 0..900 {
            assert_eq!(breaker.answered(false, at(millis)), None);
        }

        assert!(!breaker.may_ask(at(999)));
        assert!(breaker.may_ask(at(1_000)));
    }

    #[test]
    fn closed_again_it_takes_as_many_failures_to_open() {
        let mut breaker = opened(POLICY);
        breaker.answered(true, at(1));

        assert_eq!(breaker.answered(false, at(2)), None);
        assert_eq!(breaker.answered(false, at(2)), None);
        assert_eq!(breaker.answered(false, at(2)), Some(Change::Opened));
    }

    #[test]
    fn it_opens_at_the_first_failure_if_none_is_allowed() {
        for failures in [0, 1] {
            let mut breaker = Breaker::new(BreakerPolicy { failures, ..POLICY });

            assert_eq!(breaker.answered(false, START), Some(Change::Opened), "{failures}");
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_lets_one_probe_through() {
        let mut breaker = opened(POLICY);

        assert!(breaker.may_ask(at(3_600_000)));
        assert!(!breaker.may_ask(at(3_600_000)));
    }

    #[test]
    fn a_clock_that_is_set_back_lets_one_probe_through_and_goes_on_from_there() {
        let mut breaker = opened(POLICY);
        let back = Timestamp(START.0 - Span::from_secs(3_600).0);

        assert!(breaker.may_ask(back));
        assert!(!breaker.may_ask(back + Span::from_millis(999)));
        assert!(breaker.may_ask(back + EVERY));
    }

    proptest! {
        #[test]
        fn whatever_happens_it_is_open_from_opened_to_closed_and_asks_at_most_once_an_interval(
            failures in 0_u32..5,
            steps in prop::collection::vec((0_u64..400, any::<bool>(), prop::bool::weighted(0.2)), 1..200),
        ) {
            let mut breaker = Breaker::new(BreakerPolicy { failures, ..POLICY });
            let (mut now, mut is_open, mut last) = (START, false, START);
            for (after, asks, ok) in steps {
                now = now + Span::from_millis(after);
                if asks {
                    let may = breaker.may_ask(now);
                    prop_assert_eq!(may, !is_open || now.since(last) >= EVERY);
                    if may {
                        last = now;
                    }
                    continue;
                }
                match breaker.answered(ok, now) {
                    Some(Change::Opened) => {
                        prop_assert!(!is_open && !ok);
                        (is_open, last) = (true, now);
                    }
                    Some(Change::Closed) => {
                        prop_assert!(is_open && ok);
                        is_open = false;
                    }
                    None => prop_assert!(!is_open || !ok),
                }
            }
        }
    }
}
