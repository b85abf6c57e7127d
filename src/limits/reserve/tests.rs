use super::*;
use crate::api::answer::ToolsCalled;
use crate::api::{Classes, Usage};
use crate::config::{Glob, Ratio};
use crate::identity::Caller;
use crate::limits::{Price, Rates, Shape, Weights};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::{Timestamp, Tokens};
use proptest::prelude::*;

/// Budgets in memory, under a controlled clock.
struct Bench {
    lines: MemoryLines,
    keys: KeyHasher,
}

impl Bench {
    fn new() -> Self {
        Self { lines: MemoryLines::default(), keys: KeyHasher::new(&[9; 16]) }
    }

    fn at<T>(&self, seconds: u64, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, 64);
        run(&Budgets::new(
            &table,
            &self.keys,
            Timestamp(1_000_000 * 1_000_000_000) + Span::from_secs(seconds),
        ))
    }

    fn spent(&self, seconds: u64, limit: &Rc<Limit>, who: &str) -> u64 {
        let caller = caller(who);
        self.at(seconds, |budgets| {
            let key = limit.key(budgets.keys, &subject(&caller));
            budgets.look(limit.shape, &key, |budget| budget.spent().0).unwrap()
        })
    }
}

fn caller(user: &str) -> Caller {
    Caller::new(vec![("user".into(), user.as_bytes().to_vec())])
}

fn subject(caller: &Caller) -> Subject<'_> {
    Subject { caller, model: "gpt-4o", api: "openai_chat", body: b"" }
}

fn rates() -> Rates {
    Rates {
        weights: Weights::default(),
        multiplier: Ratio::ONE,
        price: Price(Classes { input: 1_000_000, output: 4_000_000, ..Classes::default() }),
    }
}

fn estimate(input: u64, max_output: Option<u64>) -> Estimate {
    Estimate {
        known: used(input, 0),
        output_is_known: false,
        exact: true,
        max_output,
        expected_output: Tokens(100).into(),
        at_most: Ratio { ppm: 250_000 },
        rates: rates(),
    }
}

fn ask(
    bench: &Bench,
    seconds: u64,
    limits: &[Rc<Limit>],
    who: &str,
    estimate: &Estimate,
) -> Result<Granted, Refusal> {
    let caller = caller(who);
    bench.at(seconds, |budgets| {
        reserve(Granted::default(), limits, &subject(&caller), estimate, Span::ZERO, budgets)
    })
}

fn used(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

#[test]
fn input_and_output_are_held_and_replaced_by_what_was_used() {
    let (bench, tpm) = (Bench::new(), Rc::new(Limit::example("tpm", "tokens", 1_000)));
    let granted = ask(&bench, 0, std::slice::from_ref(&tpm), "ada", &estimate(300, Some(50))).unwrap();
    assert_eq!(bench.spent(0, &tpm, "ada"), 350);
    bench.at(0, |budgets| {
        granted
            .reservation
            .settle(&Used { usage: &used(310, 7), rates: &rates(), tools: &ToolsCalled::default() }, budgets);
    });
    assert_eq!(bench.spent(0, &tpm, "ada"), 317);
}

#[test]
fn what_was_used_beyond_the_budget_is_a_debt_that_refuses_the_next_call() {
    let (bench, tpm) = (Bench::new(), Rc::new(Limit::example("tpm", "tokens", 600)));
    let granted = ask(&bench, 0, std::slice::from_ref(&tpm), "ada", &estimate(300, Some(50))).unwrap();
    bench.at(0, |budgets| {
        granted.reservation.settle(
            &Used { usage: &used(300, 900), rates: &rates(), tools: &ToolsCalled::default() },
            budgets,
        );
    });
    let refusal = ask(&bench, 0, std::slice::from_ref(&tpm), "ada", &estimate(90, Some(10))).unwrap_err();
    // 1,200 spent of 600, and 100 needed: 700 must flow back at 10 a second.
    assert_eq!(refusal.wait, Wait::For(Span::from_secs(70)));
    assert!(ask(&bench, 70, &[tpm], "ada", &estimate(90, Some(10))).is_ok());
}

#[test]
fn a_refused_call_consumes_nothing_in_any_limit() {
    let bench = Bench::new();
    let limits = [
        Limit::example("rpm", "requests", 5),
        Limit::example("tpm", "tokens", 1_000),
        Limit::example("out", "output_tokens", 10),
    ]
    .map(Rc::new);
    let drained = ask(&bench, 0, &limits[2..], "ada", &estimate(0, Some(2))).unwrap();
    bench.at(0, |budgets| {
        drained
            .reservation
            .settle(&Used { usage: &used(0, 10), rates: &rates(), tools: &ToolsCalled::default() }, budgets);
    });
    let refusal = ask(&bench, 0, &limits, "ada", &estimate(300, Some(2))).unwrap_err();
    assert_eq!(&*refusal.standing.limit.name, "out");
    assert_eq!([bench.spent(0, &limits[0], "ada"), bench.spent(0, &limits[1], "ada")], [0, 0]);
}

#[test]
fn the_limit_that_has_to_be_waited_for_longest_is_reported() {
    let bench = Bench::new();
    let minute = Limit::example("minute", "tokens", 100);
    let hour = Limit {
        shape: Shape { window: Span::from_secs(3_600), ..minute.shape },
        name: "hour".into(),
        id: "hour".into(),
        ..minute.clone()
    };
    let limits = [Rc::new(minute), Rc::new(hour)];
    let all = ask(&bench, 0, &limits, "ada", &estimate(100, Some(0))).unwrap();
    bench.at(0, |budgets| {
        all.reservation
            .settle(&Used { usage: &used(100, 0), rates: &rates(), tools: &ToolsCalled::default() }, budgets);
    });
    let refusal = ask(&bench, 0, &limits, "ada", &estimate(50, Some(0))).unwrap_err();
    assert_eq!((&*refusal.standing.limit.name, refusal.wait), ("hour", Wait::For(Span::from_secs(1_800))));
}

#[test]
fn callers_do_not_touch_each_other() {
    let (bench, tpm) = (Bench::new(), Rc::new(Limit::example("tpm", "tokens", 400)));
    let _held = ask(&bench, 0, std::slice::from_ref(&tpm), "ada", &estimate(400, Some(0))).unwrap();
    assert!(ask(&bench, 0, std::slice::from_ref(&tpm), "ada", &estimate(1, Some(0))).is_err());
    assert!(ask(&bench, 0, &[tpm], "bob", &estimate(400, Some(0))).is_ok());
}

#[test]
fn output_that_is_not_bounded_or_too_large_holds_what_such_calls_use() {
    let tpm = Limit::example("tpm", "tokens", 1_000);
    assert_eq!(tpm.hold(&estimate(100, Some(250))), Amount(350));
    assert_eq!(tpm.hold(&estimate(100, Some(251))), Amount(200));
    assert_eq!(tpm.hold(&estimate(100, Some(u64::MAX))), Amount(200));
    assert_eq!(tpm.hold(&estimate(100, None)), Amount(200));
    let talkative = Estimate { expected_output: Tokens(10_000).into(), ..estimate(100, None) };
    assert_eq!(tpm.hold(&talkative), Amount(350));
}

#[test]
fn a_call_whose_input_fits_an_unused_budget_is_never_refused_for_ever() {
    let tpm = Limit::example("tpm", "tokens", 1_000);
    assert_eq!(tpm.hold(&estimate(950, Some(200))), Amount(1_000));
    assert_eq!(tpm.hold(&estimate(1_001, Some(0))), Amount(1_001));
    let guessed = Estimate { exact: false, ..estimate(50_000, None) };
    assert_eq!(tpm.hold(&guessed), Amount(1_000));
}

#[test]
fn money_is_held_at_the_models_price() {
    let spend = Limit::example("spend", "cost_usd", 1_000_000);
    // 1,000 x 1 + 100 x 4 nano-dollars
    assert_eq!(spend.hold(&estimate(1_000, Some(100))), Amount(1_400));
}

#[test]
fn a_shadow_limit_reports_and_never_refuses() {
    let bench = Bench::new();
    let shadow = Rc::new(Limit { shadow: true, ..Limit::example("trial", "tokens", 100) });
    let first = ask(&bench, 0, std::slice::from_ref(&shadow), "ada", &estimate(80, Some(0))).unwrap();
    assert!(first.shadowed.is_empty() && first.standings.is_empty());
    let second = ask(&bench, 0, std::slice::from_ref(&shadow), "ada", &estimate(80, Some(0))).unwrap();
    assert_eq!(second.shadowed[0].needed, Amount(80));
    assert_eq!(bench.spent(0, &shadow, "ada"), 80);
}

#[test]
fn limits_for_other_models_do_not_apply_unless_the_model_is_unknown() {
    let only = Limit { models: vec![Glob::new("o*")], ..Limit::example("big", "tokens", 1) };
    assert!(!only.applies_to("gpt-4o"));
    assert!(only.applies_to("o3"));
    assert!(only.applies_to(""));
}

#[test]
fn requests_are_refused_before_the_body_is_read_where_that_can_be_told() {
    let bench = Bench::new();
    let rpm = Rc::new(Limit::example("rpm", "requests", 1));
    let caller = caller("ada");
    let at_once = |limit: &Rc<Limit>| {
        bench.at(0, |budgets| {
            would_refuse_at_once(std::slice::from_ref(limit), &subject(&caller), Span::ZERO, budgets).is_err()
        })
    };
    assert!(!at_once(&rpm));
    let _held = ask(&bench, 0, std::slice::from_ref(&rpm), "ada", &estimate(0, None)).unwrap();
    assert!(at_once(&rpm));
    assert!(!at_once(&Rc::new(Limit { per: vec!["user".into(), "model".into()], ..(*rpm).clone() })));
    assert!(!at_once(&Rc::new(Limit { shadow: true, ..(*rpm).clone() })));
}

#[test]
fn the_most_constrained_limit_is_the_one_with_the_smallest_share_left() {
    let bench = Bench::new();
    let limits =
        [Rc::new(Limit::example("rpm", "requests", 2)), Rc::new(Limit::example("tpm", "tokens", 1_000))];
    let granted = ask(&bench, 0, &limits, "ada", &estimate(100, Some(0))).unwrap();
    assert_eq!(&*Standing::most_constrained(&granted.standings).unwrap().limit.name, "rpm");
    assert_eq!(granted.standings[0].used_percent(), 50);
    assert!(!granted.standings[0].is_past_warning());
}

#[derive(Clone, Debug)]
struct Call {
    after: u64,
    input: u64,
    max_output: Option<u64>,
    used_output: u64,
    kept: bool,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = (0..30_u64, 0..400_u64, prop::option::of(0..300_u64), 0..500_u64, prop::bool::weighted(0.1));
    let call = call.prop_map(|(after, input, max_output, used_output, kept)| Call {
        after,
        input,
        max_output,
        used_output,
        kept,
    });
    prop::collection::vec(call, 1..40)
}

proptest! {
    /// Whatever calls do, admissions to a bucket never exceed its content and refill, plus what
    /// settlements added.
    #[test]
    fn admissions_stay_within_the_budget_and_settlement_conserves(calls in calls()) {
        let (bench, tpm) = (Bench::new(), Rc::new(Limit::example("tpm", "tokens", 600)));
        let (mut now, mut held_in_all, mut settled_in_all, mut debt) = (0, 0, 0_i64, 0);
        for call in calls {
            now += call.after;
            let estimate = estimate(call.input, call.max_output);
            let before = bench.spent(now, &tpm, "ada");
            let Ok(granted) = ask(&bench, now, std::slice::from_ref(&tpm), "ada", &estimate) else {
                prop_assert_eq!(bench.spent(now, &tpm, "ada"), before);
                continue;
            };
            let amount = tpm.hold(&estimate).0;
            prop_assert!(amount == 0 || before + amount <= 600);
            held_in_all += amount;
            if call.kept {
                bench.at(now, |budgets| granted.reservation.keep(budgets));
                continue;
            }
            bench.at(now, |budgets| granted.reservation.settle(&Used { usage: &used(call.input, call.used_output), rates: &rates(), tools: &ToolsCalled::default() }, budgets));
            // Nothing stays reserved: the budget is as if only the usage had been charged.
            let total = call.input + call.used_output;
            prop_assert_eq!(bench.spent(now, &tpm, "ada"), before + total);
            settled_in_all += total as i64 - amount as i64;
            debt += total.saturating_sub(amount);
        }
        prop_assert!(held_in_all as i64 + settled_in_all.min(0) <= 600 + 10 * now as i64 + debt as i64);
    }
}
