//! How limits adapt: by steps, and to what an upstream really allows.

use super::*;
use crate::identity::Caller;
use crate::limits::budget::Budget;
use crate::limits::{Algorithm, Estimate, Granted, Rates, Refusal, Reserved, Used, Wait, Weights, reserve};
use crate::store::{Change, Entry, KeyHasher, Lines, MemoryLines, Payload, Table};
use crate::units::Tokens;
use proptest::prelude::*;

/// Budgets in memory, under a controlled clock.
struct Bench {
    lines: MemoryLines,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { lines: MemoryLines::default(), now: Timestamp(1) + Span::from_secs(1_800_000_000) }
    }

    fn run<T>(&self, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, 64);
        run(&Budgets::new(&table, &KeyHasher::new(&[3; 16]), self.now))
    }

    fn after(&mut self, span: Span) {
        self.now = self.now + span;
    }

    /// Makes a call of this number of input tokens.
    fn call(&self, limit: &Rc<Limit>, tokens: u64) -> Result<Granted, Refusal> {
        self.call_within(limit, tokens, "live", Span::ZERO)
    }

    fn call_within(
        &self,
        limit: &Rc<Limit>,
        tokens: u64,
        class: &str,
        patience: Span,
    ) -> Result<Granted, Refusal> {
        let values = [("upstream", "a"), ("class", class)];
        let caller = Caller::new(values.map(|(name, value)| (name.into(), value.into())).to_vec());
        let subject = Subject { caller: &caller, model: "m", api: "openai_chat", body: b"" };
        let limits = std::slice::from_ref(limit);
        self.run(|budgets| {
            reserve(Granted::default(), limits, &subject, &estimate(tokens), patience, budgets)
        })
    }

    /// Returns the limit's present maximum.
    fn max(&self, limit: &Rc<Limit>) -> u64 {
        match self.call(limit, 0) {
            Ok(granted) => granted.standings[0].limit.shape.max.0,
            Err(refusal) => refusal.standing.limit.shape.max.0,
        }
    }

    fn refuse(&self, granted: &Granted) -> bool {
        self.run(|budgets| !granted.reservation.slow_down(budgets).is_empty())
    }
}

fn estimate(tokens: u64) -> Estimate {
    Estimate {
        known: crate::api::Usage { input: tokens, requests: 1, ..Default::default() },
        output_is_known: true,
        exact: true,
        max_output: None,
        expected_output: Tokens(0).into(),
        at_most: Ratio::ONE,
        rates: Rates {
            weights: Weights::default(),
            multiplier: Ratio::ONE,
            price: crate::limits::Price(crate::api::Classes::default()),
        },
    }
}

fn limit(counts: &str, max: u64) -> Limit {
    let limit = Limit::example("l", counts, max);
    Limit { per: vec!["upstream".into()], rate_id: Some("free/l/rate".into()), ..limit }
}

fn secs(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

#[test]
fn a_refusal_halves_it_and_it_grows_again_step_by_step() {
    let (mut bench, limit) = (Bench::new(), Rc::new(limit("requests", 1_000)));
    let granted = bench.call(&limit, 1).unwrap();
    assert!(bench.refuse(&granted));
    assert_eq!(bench.max(&limit), 500);
    bench.after(Span(secs(10).0 - 1));
    assert_eq!(bench.max(&limit), 500);
    bench.after(Span(1));
    assert_eq!(bench.max(&limit), 550);
    bench.after(secs(90));
    assert_eq!(bench.max(&limit), 1_000);
}

#[test]
fn it_is_halved_at_most_once_a_second_and_never_below_a_sixteenth() {
    let (mut bench, limit) = (Bench::new(), Rc::new(limit("requests", 1_600)));
    let halved: Vec<_> = (0..60)
        .map(|_| {
            bench.after(Span::from_millis(100));
            let granted = bench.call(&limit, 1).unwrap();
            bench.refuse(&granted)
        })
        .collect();
    let at: Vec<_> = (0..60).filter(|call| halved[*call]).collect();
    assert_eq!(at, [0, 10, 20, 30], "in tenths of a second");
    assert_eq!(bench.max(&limit), 100);
}

#[test]
fn calls_that_were_under_way_tell_nothing_new() {
    let (mut bench, limit) = (Bench::new(), Rc::new(limit("requests", 1_000)));
    let calls: Vec<_> = (0..30).map(|_| bench.call(&limit, 1).unwrap()).collect();
    for call in &calls {
        bench.refuse(call);
        bench.after(Span::from_millis(300));
    }
    assert_eq!(bench.max(&limit), 500);
}

#[test]
fn a_limit_that_does_not_adapt_stays_as_it_is() {
    let bench = Bench::new();
    let limit = Rc::new(Limit { rate_id: None, ..limit("requests", 1_000) });
    let granted = bench.call(&limit, 1).unwrap();
    assert!(!bench.refuse(&granted));
    assert_eq!(bench.max(&limit), 1_000);
}

#[test]
fn what_is_spent_stays_spent_and_comes_back_at_the_lower_rate() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let (bench, limit) = (Bench::new(), limit("tokens", 600));
        let limit = Rc::new(Limit { shape: Shape { algorithm, ..limit.shape }, ..limit });
        let granted = bench.call(&limit, 280).unwrap();
        bench.refuse(&granted);
        assert_eq!(bench.call(&limit, 20).unwrap().standings[0].available, Amount(0), "{algorithm:?}");
        let refusal = bench.call(&limit, 10).unwrap_err();
        assert_eq!((refusal.standing.limit.shape.max, refusal.needed), (Amount(300), Amount(10)));
        if algorithm == Algorithm::TokenBucket {
            assert_eq!(refusal.wait, Wait::For(secs(2)), "10 of 300 a minute");
        }
    }
}

#[test]
fn a_call_that_fits_the_whole_limit_is_not_refused_for_ever_while_it_is_less() {
    let (mut bench, limit) = (Bench::new(), Rc::new(limit("tokens", 600)));
    let small = bench.call(&limit, 60).unwrap();
    bench.refuse(&small);
    // More than the 300 allowed now, so it fits when none of them is used: 60 of 300 a minute.
    let refusal = bench.call(&limit, 500).unwrap_err();
    assert_eq!(refusal.wait, Wait::For(secs(12)));
    assert_eq!(bench.call(&limit, 700).unwrap_err().wait, Wait::Never);
    bench.after(secs(12));
    let large = bench.call(&limit, 500);
    assert!(large.is_ok(), "{large:?}");
    let refusal = bench.call(&limit, 10).unwrap_err();
    assert!(matches!(refusal.wait, Wait::For(span) if span > secs(30)), "the rest is a debt: {refusal:?}");
}

#[test]
fn a_settlement_does_not_refill_at_the_rate_of_the_time_when_it_was_reserved() {
    let (mut bench, limit) = (Bench::new(), Rc::new(limit("tokens", 600)));
    let (first, second) = (bench.call(&limit, 290).unwrap(), bench.call(&limit, 10).unwrap());
    bench.refuse(&first);
    bench.after(secs(6));
    let used = |tokens| crate::api::Usage { input: tokens, ..Default::default() };
    bench.run(|budgets| {
        let used = Used {
            usage: &used(11),
            rates: &estimate(0).rates,
            tools: &crate::api::answer::ToolsCalled::default(),
        };
        second.reservation.settle(&used, budgets);
    });
    // 301 of 300 are spent, and 30 have come back in 6 s.
    assert_eq!(bench.call(&limit, 0).unwrap().standings[0].available, Amount(29));
    drop(first);
}

#[test]
fn a_share_is_kept_of_what_is_allowed_now() {
    let bench = Bench::new();
    let reserved =
        Reserved { dimension: "class".into(), batch: vec!["batch".into()], share: Ratio { ppm: 200_000 } };
    let limit = Rc::new(Limit { reserved: Some(reserved), ..limit("tokens", 1_000) });
    let batch = |tokens| bench.call_within(&limit, tokens, "batch", Span::ZERO);
    assert_eq!(batch(0).unwrap().standings[0].available, Amount(1_000));
    assert_eq!(batch(300).unwrap().standings[0].available, Amount(500));
    let granted = bench.call(&limit, 1).unwrap();
    bench.refuse(&granted);
    // 301 of 500 are spent, and 100 are reserved.
    let refusal = batch(100).unwrap_err();
    assert_eq!((refusal.standing.available, refusal.needed), (Amount(99), Amount(100)));
    assert!(batch(99).is_ok());
    assert!(bench.call(&limit, 100).is_ok());
}

#[test]
fn a_batch_call_larger_than_its_share_passes_when_nothing_is_used() {
    let mut bench = Bench::new();
    let reserved =
        Reserved { dimension: "class".into(), batch: vec!["batch".into()], share: Ratio { ppm: 500_000 } };
    let limit = Rc::new(Limit { reserved: Some(reserved), rate_id: None, ..limit("tokens", 600) });
    bench.call(&limit, 60).unwrap();
    assert_eq!(bench.call_within(&limit, 400, "batch", Span::ZERO).unwrap_err().wait, Wait::For(secs(6)));
    bench.after(secs(6));
    assert!(bench.call_within(&limit, 400, "batch", Span::ZERO).is_ok());
}

#[test]
fn a_batch_call_that_waits_does_so_until_the_share_of_the_others_is_whole() {
    let mut bench = Bench::new();
    let reserved =
        Reserved { dimension: "class".into(), batch: vec!["batch".into()], share: Ratio { ppm: 500_000 } };
    let limit = Rc::new(Limit { reserved: Some(reserved), rate_id: None, ..limit("tokens", 600) });
    bench.call(&limit, 300).unwrap();
    let granted = bench.call_within(&limit, 50, "batch", secs(10)).unwrap();
    let until = |bench: &Bench| bench.run(|budgets| granted.reservation.until_paid(budgets));
    assert_eq!((granted.waits_for.as_ref().unwrap().wait, until(&bench)), (Wait::For(secs(5)), secs(5)));
    bench.after(secs(5));
    assert_eq!(until(&bench), Span::ZERO);
}

/// A minute of many calls, with the provider's answers and refusals.
struct Minute {
    answered: u64,
    refused: u64,
}

/// Calls a provider that has a bucket of its own, as fast as possible, with this latency.
fn minutes_before(provider: Shape, limit: &Rc<Limit>, latency: Span, minutes: u64) -> Vec<Minute> {
    let mut bench = Bench::new();
    let start = bench.now;
    let mut theirs = Budget::open(provider, None, bench.now);
    let mut under_way: std::collections::VecDeque<(Timestamp, Granted, bool)> = Default::default();
    let mut told: Vec<Minute> = Vec::new();
    while bench.now.since(start) < secs(60 * minutes) {
        bench.after(Span::from_millis(97));
        let minute = usize::try_from(bench.now.since(start).0 / secs(60).0).unwrap();
        told.resize_with(minute + 1, || Minute { answered: 0, refused: 0 });
        while under_way.front().is_some_and(|(due, ..)| *due <= bench.now) {
            let (_, granted, refused) = under_way.pop_front().unwrap();
            if refused {
                told[minute].refused += 1;
                bench.refuse(&granted);
            } else {
                told[minute].answered += 1;
            }
            let usage = crate::api::Usage { requests: 1, ..Default::default() };
            let used = Used {
                usage: &usage,
                rates: &estimate(0).rates,
                tools: &crate::api::answer::ToolsCalled::default(),
            };
            bench.run(|budgets| granted.reservation.settle(&used, budgets));
        }
        if let Ok(granted) = bench.call(limit, 1) {
            theirs = Budget::open(provider, Some(&theirs.encode()), bench.now);
            let refused = theirs.reserve(Amount(1)).is_err();
            under_way.push_back((bench.now + latency, granted, refused));
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_comes_to_stay_just_below_what_the_provider_allows(
        allows in 100_u64..500, burst in 5_u64..30, latency in 0_u64..3_000,
    ) {
        let provider =
            Shape { max: Amount(allows), burst: Amount(burst), ..Limit::example("p", "requests", 1).shape };
        // Configured far above it, and with a small burst, as is wise with a provider that counts
        // per second.
        let ours = limit("requests", 600);
        let ours = Rc::new(Limit { shape: Shape { burst: Amount(10), ..ours.shape }, ..ours });

        let minutes = minutes_before(provider, &ours, Span::from_millis(latency), 30);
        let settled = &minutes[5..29];
        let answered = settled.iter().map(|minute| minute.answered).sum::<u64>() / settled.len() as u64;
        let refused = settled.iter().map(|minute| minute.refused).sum::<u64>() / settled.len() as u64;

        prop_assert!(answered <= allows + 1, "{answered} of {allows}");
        prop_assert!(answered * 100 >= allows * 60, "{answered} of {allows}");
        prop_assert!(refused * 100 <= allows * 10, "{refused} refused of {allows}");
    }

    #[test]
    fn nothing_stored_makes_it_panic_or_leave_its_bounds(
        bytes in prop::array::uniform(any::<u8>()), is_one: bool, now: u64, at: u64,
    ) {
        let bench = Bench { now: Timestamp(now), ..Bench::new() };
        let limit = Rc::new(limit("requests", 1_600));
        let mut payload: Payload = bytes;
        if is_one {
            payload[..8].copy_from_slice(&Decrease::KIND.to_le_bytes());
        }
        let max = bench.run(|budgets| {
            let key = KeyHasher::new(&[3; 16]).key("free/l/rate", [("upstream", b"a".as_slice())]);
            let entry = Entry { payload, idle_at: Timestamp(u64::MAX), fill: 0 };
            budgets.table.update(&key, budgets.now, |_| ((), Change::Put(entry))).unwrap();
            decrease(&key, Timestamp(at), budgets);
            shape(&limit, Some(&key), budgets).max
        });
        prop_assert!((100..=1_600).contains(&max.0));
    }
}
