//! Crowds of clients that come back when told, under a controlled clock, and single callers step by
//! step.

mod crowd;

use std::rc::Rc;

use super::*;
use crate::api::Usage;
use crate::identity::Caller;
use crate::limits::limit::Estimate;
use crate::limits::{Granted, Price, Rates, Reason, Refusal, Weights, reserve, would_refuse_at_once};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::Tokens;

const START: Timestamp = Timestamp(1_000_000 * 60 * 1_000_000_000);

struct Bench {
    lines: MemoryLines,
    keys: KeyHasher,
    limits: Vec<Rc<Limit>>,
}

impl Bench {
    /// Returns a bucket of 600 tokens a minute: ten flow back in a second.
    fn new() -> Self {
        Self::with(vec![Limit::example("tpm", "tokens", 600)])
    }

    fn with(limits: Vec<Limit>) -> Self {
        let limits = limits.into_iter().map(Rc::new).collect();
        Self { lines: MemoryLines::default(), keys: KeyHasher::new(&[9; 16]), limits }
    }

    fn at<T>(&self, millis: u64, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, 1_024);
        run(&Budgets::new(&table, &self.keys, START + Span::from_millis(millis)))
    }

    /// Makes a call; returns `None` if it passes, or the milliseconds that it is told.
    fn call(&self, millis: u64, body: &str, tokens: u64) -> Option<u64> {
        let refusal = self.refusal(millis, body, tokens)?;
        let Wait::For(wait) = refusal.wait else { panic!("refused for ever: {refusal:?}") };
        Some(wait.as_millis_ceil())
    }

    fn refusal(&self, millis: u64, body: &str, tokens: u64) -> Option<Refusal> {
        let caller = caller();
        let estimate = Estimate::known(Usage { input: tokens, requests: 1, ..Usage::default() }, rates());
        self.at(millis, |budgets| {
            reserve(Granted::default(), &self.limits, &subject(&caller, body), &estimate, Span::ZERO, budgets)
                .err()
        })
    }
}

fn caller() -> Caller {
    Caller::new(vec![("user".into(), b"ada".to_vec())])
}

fn subject<'a>(caller: &'a Caller, body: &'a str) -> Subject<'a> {
    Subject { caller, model: "m", api: "openai_chat", body: body.as_bytes() }
}

fn rates() -> Rates {
    Rates { weights: Weights::default(), multiplier: Ratio::ONE, price: Price::default() }
}

#[test]
fn a_single_caller_is_told_the_moment_when_it_fits() {
    let bench = Bench::new();
    assert_eq!(bench.call(0, "first", 600), None);
    assert_eq!(bench.call(0, "second", 100), Some(10_000));
    assert_eq!(bench.call(10_000, "second", 100), None);
}

#[test]
fn refused_callers_are_told_successive_moments_and_pass_then() {
    let bench = Bench::new();
    assert_eq!(bench.call(0, "first", 600), None);
    let told: Vec<_> = ["a", "b", "c"].map(|body| bench.call(0, body, 100).unwrap()).into();
    assert!(told.is_sorted_by(|one, next| next - one >= 10_000), "{told:?}");
    for (body, millis) in ["a", "b", "c"].iter().zip(told) {
        assert_eq!(bench.call(millis, body, 100), None, "{body}");
    }
}

#[test]
fn a_refusal_says_that_its_moment_is_promised() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    assert_eq!(bench.refusal(0, "second", 100).unwrap().reason, Reason::Promised);
    assert_eq!(bench.refusal(0, "larger than the budget", 601).unwrap().reason, Reason::Spent);
}

#[test]
fn a_newcomer_leaves_what_is_promised_and_passes_beyond_it() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    assert_eq!(bench.call(0, "promised", 100), Some(10_000));
    assert!(bench.call(9_900, "newcomer", 50).is_some(), "99 have flowed back, for another");
    assert_eq!(bench.call(10_000, "promised", 100), None);
}

#[test]
fn a_call_that_needs_nothing_of_a_budget_passes_its_queue() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    bench.call(0, "promised", 100);
    bench.call(5_000, "promised, too", 100);
    assert_eq!(bench.call(5_000, "free of charge", 0), None);
}

#[test]
fn calls_with_equal_bodies_have_a_promise_each() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    let mut told = [0, 1, 2].map(|millis| millis + bench.call(millis, "same", 100).unwrap());
    told.sort_unstable();
    for millis in told {
        assert_eq!(bench.call(millis, "same", 100), None);
    }
}

#[test]
fn a_caller_who_comes_back_too_early_keeps_its_promise() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    assert_eq!(bench.call(0, "impatient", 100), Some(10_000));
    assert_eq!([2_000, 9_999].map(|millis| bench.call(millis, "impatient", 100)), [Some(8_000), Some(1)]);
    assert_eq!(bench.call(10_000, "impatient", 100), None);
}

#[test]
fn promises_that_nobody_comes_for_are_forgotten() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    for caller in 0..50 {
        bench.call(0, &format!("gone {caller}"), 100);
    }
    // Eight minutes are promised. The bucket is full again after one.
    assert_eq!(bench.call(60_000, "newcomer", 300), None);
    let told = bench.call(60_000, "next", 500).unwrap();
    assert!(told < 300_000, "the queue believes in those who left: {told}");
}

#[test]
fn a_promise_keeps_no_more_from_newcomers_than_a_minute_gives_back() {
    let day = Shape { window: Span::from_secs(86_400), ..Limit::example("day", "tokens", 86_400).shape };
    let bench = Bench::with(vec![Limit { shape: day, ..Limit::example("day", "tokens", 86_400) }]);
    assert_eq!(bench.call(0, "first", 50_000), None);
    assert_eq!(bench.call(0, "large", 38_000), Some(1_600_000));
    assert_eq!(bench.call(0, "small", 500), None);
}

#[test]
fn a_moment_more_than_an_hour_ahead_is_told_and_not_promised() {
    let day = Shape { window: Span::from_secs(86_400), ..Limit::example("day", "tokens", 86_400).shape };
    let bench = Bench::with(vec![Limit { shape: day, ..Limit::example("day", "tokens", 86_400) }]);
    assert_eq!(bench.call(0, "first", 86_400), None);
    let refusal = bench.refusal(0, "later", 3_601).unwrap();
    assert_eq!((refusal.reason, refusal.wait), (Reason::Spent, Wait::For(Span::from_secs(3_601))));
    assert_eq!(bench.refusal(0, "within the hour", 3_600).unwrap().reason, Reason::Promised);
}

#[test]
fn promises_of_a_calendar_window_are_forgotten_soon_after_its_start() {
    let shape = Shape { algorithm: Algorithm::FixedWindow, ..Limit::example("tpm", "tokens", 600).shape };
    let bench = Bench::with(vec![Limit { shape, ..Limit::example("tpm", "tokens", 600) }]);
    assert_eq!(bench.call(0, "first", 600), None);
    assert_eq!(bench.call(0, "gone", 400), Some(60_000));
    assert_eq!(bench.call(0, "comes", 100), Some(60_000));
    assert_eq!(bench.call(60_000, "comes", 100), None);
    assert!(bench.call(61_000, "newcomer", 200).is_some());
    assert_eq!(bench.call(66_000, "another", 200), None);
}

#[test]
fn a_caller_who_comes_late_by_less_than_the_grace_still_finds_its_promise() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    assert_eq!(bench.call(0, "late", 100), Some(10_000));
    assert!(bench.call(11_900, "newcomer", 100).is_some());
    assert_eq!(bench.call(11_950, "late", 100), None);
}

#[test]
fn a_promise_that_cannot_be_kept_is_renewed_before_all_others() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    let first = bench.call(0, "a", 100).unwrap();
    let second = bench.call(0, "b", 100).unwrap();
    // A call under way has used 50 more than it held.
    bench.at(0, |budgets| {
        let (limit, caller) = (&bench.limits[0], caller());
        let key = limit.key(budgets.keys, &subject(&caller, ""));
        budgets.change(limit.shape, &key, None, |budget| (budget.charge(Amount(50)), true)).unwrap();
    });
    let again = bench.call(first, "a", 100).unwrap();
    assert!((5_000..second - first).contains(&again), "{again}");
    assert_eq!(bench.call(first + again, "a", 100), None);
}

#[test]
fn limits_that_refuse_together_promise_the_same_moment() {
    let day = Limit {
        shape: Shape { window: Span::from_secs(3_600), ..Limit::example("hour", "tokens", 600).shape },
        ..Limit::example("hour", "tokens", 600)
    };
    let bench = Bench::with(vec![Limit::example("tpm", "tokens", 600), day]);
    assert_eq!(bench.call(0, "first", 600), None);
    let told = bench.call(0, "second", 100).unwrap();
    assert_eq!(told, 600_000);
    assert_eq!(bench.call(told, "second", 100), None);
}

#[test]
fn what_is_refused_before_the_body_is_promised_by_the_caller_alone() {
    let bench = Bench::with(vec![Limit::example("rpm", "requests", 60)]);
    for _ in 0..60 {
        assert_eq!(bench.call(0, "", 1), None);
    }
    let caller = caller();
    let at_head = |millis| {
        let subject = subject(&caller, "");
        bench.at(millis, |budgets| would_refuse_at_once(&bench.limits, &subject, Span::ZERO, budgets).err())
    };
    assert_eq!(at_head(0).unwrap().wait, Wait::For(Span::from_secs(1)));
    let Wait::For(second) = at_head(0).unwrap().wait else { panic!() };
    assert!(second >= Span::from_secs(2), "{second:?}");
    assert!(at_head(1_000).is_none());
    assert_eq!(bench.call(1_000, "now with its body", 1), None);
    assert!(at_head(1_000).is_some());
}

#[test]
fn a_queue_keeps_a_place_for_a_thousand_calls_and_tells_more_its_end() {
    let bench = Bench::new();
    bench.call(0, "first", 600);
    let told: Vec<_> = (0..1_100).map(|call| bench.call(0, &format!("{call}"), 1).unwrap()).collect();
    assert!(told.is_sorted());
    assert_eq!(told[1_050], told[1_099]);
}

#[test]
fn nothing_is_noted_of_a_budget_that_refuses_nobody() {
    let bench = Bench::new();
    assert_eq!(bench.call(0, "first", 300), None);
    let (lines, writes) = (bench.lines.count(), bench.lines.writes());
    assert_eq!(bench.call(0, "second", 300), None);
    assert_eq!((bench.lines.count(), bench.lines.writes()), (lines, writes + 1));
}
