use super::*;
use crate::api::Usage;
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::{
    Algorithm, Estimate, Granted, Price, Rates, Reservation, Shape, Used, Weights, reserve,
    would_refuse_at_once,
};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::{Timestamp, Tokens};

#[path = "workflow_interleaving_tests.rs"]
mod interleaving;

const HOUR: u64 = 3_600;

fn keys() -> KeyHasher {
    KeyHasher::new(&[9; 16])
}

fn at<T>(seconds: u64, lines: &dyn Lines, run: impl FnOnce(&Ledger<'_>) -> T) -> T {
    let (table, keys) = (Table::new(lines, 64), keys());
    run(&Ledger::new(&table, &keys, Timestamp(1_000_000 * 1_000_000_000) + Span::from_secs(seconds)))
}

fn rates() -> Rates {
    Rates { weights: Weights::default(), multiplier: Ratio::ONE, price: Price::default() }
}

fn usage(input: u64) -> Usage {
    Usage { input, ..Usage::default() }
}

fn caller(user: &str, workflow: &str) -> Caller {
    let values = [("user", user), ("workflow", workflow)];
    let values = values.into_iter().filter(|(_, value)| !value.is_empty());
    Caller::new(values.map(|(name, value)| (name.into(), value.as_bytes().to_vec())).collect())
}

/// A call of a workflow (of none, if it has no name) that is expected to use so many tokens.
#[derive(Clone, Copy)]
struct Asked<'a> {
    workflow: &'a str,
    tokens: u64,
    declared: u64,
    patience: Span,
}

const PLAIN: Asked<'_> = Asked { workflow: "w", tokens: 100, declared: 0, patience: Span::ZERO };

fn ask(limits: &[Rc<Limit>], asked: Asked<'_>, ledger: &Ledger<'_>) -> Result<Granted, Refusal> {
    let caller = caller("ada", asked.workflow);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" };
    let estimate = Estimate {
        known: usage(asked.tokens),
        output_is_known: true,
        exact: true,
        max_output: None,
        expected_output: Tokens(0),
        at_most: Ratio::ONE,
        rates: rates(),
    };
    let workflow = Workflow { dimension: "workflow".into(), declared: Amount(asked.declared) };
    let granted = Granted { workflow: Some(workflow), ..Granted::default() };
    reserve(granted, limits, &subject, &estimate, asked.patience, ledger)
}

fn settle(reservation: Reservation, tokens: u64, ledger: &Ledger<'_>) {
    reservation.settle(&Used { usage: &usage(tokens), rates: &rates(), tools: &[] }, ledger);
}

fn spent(limit: &Rc<Limit>, ledger: &Ledger<'_>) -> u64 {
    let caller = caller("ada", "");
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" };
    let key = limit.key(ledger.keys, &subject);
    ledger.look(limit.shape, &key, |budget| budget.spent().0).unwrap()
}

fn left_in_pool(limit: &Rc<Limit>, ledger: &Ledger<'_>) -> Option<u64> {
    let caller = caller("ada", "w");
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" };
    Some(Pool::of(limit, &subject, "workflow", ledger)?.left(ledger)?.0)
}

fn once_per_workflow(max: u64) -> Rc<Limit> {
    Rc::new(Limit { once_per: Some("workflow".into()), ..Limit::example("rpm", "requests", max) })
}

/// The same in windows of 30 days, so that nothing flows back meanwhile.
fn for_a_month(limit: &Limit) -> Rc<Limit> {
    let window = Span::from_secs(30 * 24 * HOUR);
    Rc::new(Limit { shape: Shape { window, ..limit.shape }, ..limit.clone() })
}

fn tokens(max: u64) -> Rc<Limit> {
    Rc::new(Limit::example("tpm", "tokens", max))
}

mod counted_once {
    use super::*;

    fn is_refused_at_once(limit: &Rc<Limit>, workflow: &str, ledger: &Ledger<'_>) -> bool {
        let caller = caller("ada", workflow);
        let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat" };
        would_refuse_at_once(std::slice::from_ref(limit), &subject, Span::ZERO, ledger).is_err()
    }

    #[test]
    fn all_calls_of_a_workflow_are_one_request() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(2));
        at(0, &lines, |ledger| {
            for _ in 0..20 {
                let granted = ask(&[rpm.clone()], PLAIN, ledger).unwrap();
                assert_eq!(granted.standings[0].available, Amount(1));
                settle(granted.reservation, 7, ledger);
            }
            assert_eq!(spent(&rpm, ledger), 1);
        });
    }

    #[test]
    fn a_workflow_that_is_counted_is_not_refused_when_the_budget_is_spent() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(1));
        at(0, &lines, |ledger| {
            let first = ask(&[rpm.clone()], PLAIN, ledger).unwrap();
            assert!(!is_refused_at_once(&rpm, "w", ledger));
            assert!(is_refused_at_once(&rpm, "other", ledger));
            assert!(ask(&[rpm.clone()], Asked { workflow: "other", ..PLAIN }, ledger).is_err());
            let second = ask(&[rpm.clone()], PLAIN, ledger).unwrap();
            settle(first.reservation, 1, ledger);
            settle(second.reservation, 1, ledger);
            assert_eq!(spent(&rpm, ledger), 1);
        });
    }

    #[test]
    fn calls_of_no_workflow_count_each() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(2));
        at(0, &lines, |ledger| {
            let call = Asked { workflow: "", ..PLAIN };
            for _ in 0..2 {
                settle(ask(&[rpm.clone()], call, ledger).unwrap().reservation, 1, ledger);
            }
            assert!(ask(&[rpm.clone()], call, ledger).is_err());
        });
    }

    #[test]
    fn the_same_name_is_another_workflow_in_another_budget() {
        let lines = MemoryLines::default();
        let limits =
            [once_per_workflow(9), Rc::new(Limit { id: "b".into(), ..(*once_per_workflow(9)).clone() })];
        at(0, &lines, |ledger| {
            settle(ask(&limits[..1], PLAIN, ledger).unwrap().reservation, 1, ledger);
            settle(ask(&limits[1..], PLAIN, ledger).unwrap().reservation, 1, ledger);
            assert_eq!([spent(&limits[0], ledger), spent(&limits[1], ledger)], [1, 1]);
        });
    }

    #[test]
    fn a_call_that_another_limit_refuses_consumes_nothing() {
        let (lines, rpm, tpm) = (MemoryLines::default(), once_per_workflow(5), tokens(50));
        at(0, &lines, |ledger| {
            assert!(ask(&[rpm.clone(), tpm], PLAIN, ledger).is_err());
            assert_eq!(spent(&rpm, ledger), 0);
            // Nor is it remembered: the next call is the first.
            settle(ask(&[rpm.clone()], PLAIN, ledger).unwrap().reservation, 1, ledger);
            assert_eq!(spent(&rpm, ledger), 1);
        });
    }

    #[test]
    fn a_refused_first_call_leaves_its_request_to_those_who_count_by_it() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(5));
        at(0, &lines, |ledger| {
            let [first, second] = [(); 2].map(|()| ask(&[rpm.clone()], PLAIN, ledger).unwrap());
            first.reservation.release(ledger);
            assert_eq!(spent(&rpm, ledger), 1);
            settle(second.reservation, 1, ledger);
            assert_eq!(spent(&rpm, ledger), 1);
        });
    }

    #[test]
    fn the_last_of_several_refused_calls_gives_the_request_back() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(5));
        at(0, &lines, |ledger| {
            let calls = [(); 3].map(|()| ask(&[rpm.clone()], PLAIN, ledger).unwrap());
            for (call, left) in calls.into_iter().zip([1, 1, 0]) {
                call.reservation.release(ledger);
                assert_eq!(spent(&rpm, ledger), left);
            }
        });
    }

    #[test]
    fn a_workflow_is_remembered_for_an_hour_after_its_last_call() {
        let lines = MemoryLines::default();
        // A window of a minute, of which nothing is left to be seen after an hour.
        let rpm = once_per_workflow(1);
        for (seconds, is_new) in [(0, true), (HOUR - 1, false), (2 * HOUR - 2, false), (3 * HOUR - 2, true)] {
            at(seconds, &lines, |ledger| {
                let before = spent(&rpm, ledger);
                settle(ask(&[rpm.clone()], PLAIN, ledger).unwrap().reservation, 1, ledger);
                assert_eq!(spent(&rpm, ledger) - before, u64::from(is_new), "after {seconds} s");
            });
        }
    }

    #[test]
    fn a_workflow_is_remembered_for_the_limits_window_if_that_is_longer() {
        let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(9)));
        for seconds in [0, 20 * 24 * HOUR] {
            at(seconds, &lines, |ledger| {
                settle(ask(&[rpm.clone()], PLAIN, ledger).unwrap().reservation, 1, ledger);
                assert_eq!(spent(&rpm, ledger), u64::from(seconds == 0), "after {seconds} s");
            });
        }
    }

    #[test]
    fn calls_of_a_workflow_wait_for_its_request_together() {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(1));
        let patient = Asked { patience: Span::from_secs(60), ..PLAIN };
        at(0, &lines, |ledger| {
            let other = Asked { workflow: "other", ..PLAIN };
            settle(ask(&[rpm.clone()], other, ledger).unwrap().reservation, 1, ledger);
            let wait = |granted: &Granted| granted.waits_for.as_ref().unwrap().wait;
            let first = ask(&[rpm.clone()], patient, ledger).unwrap();
            let second = ask(&[rpm.clone()], patient, ledger).unwrap();
            assert_eq!([wait(&first), wait(&second)], [Wait::For(Span::from_secs(60)); 2]);
            assert!(ask(&[rpm.clone()], PLAIN, ledger).is_err(), "who cannot wait is refused");
            assert_eq!(spent(&rpm, ledger), 2);
        });
        at(60, &lines, |ledger| assert!(ask(&[rpm.clone()], PLAIN, ledger).unwrap().waits_for.is_none()));
    }

    #[test]
    fn a_workflow_that_cannot_be_remembered_counts_every_call() {
        let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(50)));
        at(0, &lines, |ledger| {
            // Every place of every set is taken by a budget that stays.
            for number in 0..5_000 {
                let key = ledger.keys.key("other", [("user", format!("{number}").as_bytes())]);
                let shape = Shape { window: Span::from_secs(HOUR), ..rpm.shape };
                ledger.change(shape, &key, None, |budget| (budget.charge(Amount(50)), true)).unwrap();
            }
            for call in 1..4 {
                let granted = ask(&[rpm.clone()], PLAIN, ledger).unwrap();
                settle(granted.reservation, 1, ledger);
                assert_eq!(spent(&rpm, ledger), call);
            }
            ask(&[rpm.clone()], PLAIN, ledger).unwrap().reservation.release(ledger);
            assert_eq!(spent(&rpm, ledger), 3);
        });
    }

    #[test]
    fn a_flood_of_workflows_evicts_no_budget_in_use() {
        let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(1_000_000)));
        at(0, &lines, |ledger| {
            let used = |number: u32| {
                let key = ledger.keys.key("other", [("user", format!("{number}").as_bytes())]);
                let used = ledger.change(rpm.shape, &key, None, |budget| (budget.charge(Amount(1)), true));
                assert_eq!(used.unwrap().place, Place::Own);
                ledger.look(rpm.shape, &key, |budget| budget.spent().0).unwrap()
            };
            for number in 0..100 {
                used(number);
                used(number);
            }
            for number in 0..10_000 {
                let name = number.to_string();
                for _ in 0..3 {
                    let call = Asked { workflow: &name, ..PLAIN };
                    settle(ask(&[rpm.clone()], call, ledger).unwrap().reservation, 1, ledger);
                }
            }
            for number in 0..100 {
                assert_eq!(used(number), 3, "{number}");
            }
        });
    }
}

mod declared {
    use super::*;

    const DECLARED: Asked<'_> = Asked { declared: 600, ..PLAIN };

    #[test]
    fn all_that_is_declared_is_held_at_once_and_later_calls_draw_from_it() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            let first = ask(&[tpm.clone()], DECLARED, ledger).unwrap();
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(500)));
            assert_eq!(first.standings[0].available, Amount(400));
            let second = ask(&[tpm.clone()], PLAIN, ledger).unwrap();
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(400)));
            settle(first.reservation, 30, ledger);
            settle(second.reservation, 40, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(530)));
        });
    }

    #[test]
    fn a_workflow_with_enough_in_its_pool_is_not_refused_when_the_budget_is_spent() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            settle(ask(&[tpm.clone()], DECLARED, ledger).unwrap().reservation, 100, ledger);
            let other = Asked { workflow: "other", tokens: 400, ..PLAIN };
            settle(ask(&[tpm.clone()], other, ledger).unwrap().reservation, 400, ledger);
            assert!(ask(&[tpm.clone()], Asked { tokens: 1, ..other }, ledger).is_err());
            let all = Asked { tokens: 500, ..PLAIN };
            settle(ask(&[tpm.clone()], all, ledger).unwrap().reservation, 500, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (1_000, Some(0)));
            let beyond = ask(&[tpm.clone()], PLAIN, ledger).unwrap_err();
            assert_eq!((beyond.needed, left_in_pool(&tpm, ledger)), (Amount(100), Some(0)));
        });
    }

    #[test]
    fn what_the_pool_has_not_is_charged_to_the_budget_and_goes_back_there_first() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            settle(ask(&[tpm.clone()], DECLARED, ledger).unwrap().reservation, 550, ledger);
            let second = ask(&[tpm.clone()], PLAIN, ledger).unwrap();
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (650, Some(0)));
            settle(second.reservation, 20, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(30)));
        });
    }

    #[test]
    fn what_is_used_beyond_what_was_held_comes_from_the_pool_first() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            let first = ask(&[tpm.clone()], DECLARED, ledger).unwrap();
            settle(first.reservation, 350, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(250)));
            settle(ask(&[tpm.clone()], PLAIN, ledger).unwrap().reservation, 400, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (750, Some(0)));
        });
    }

    #[test]
    fn what_does_not_fit_is_refused_for_the_whole_amount() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            let other = Asked { workflow: "other", tokens: 500, ..PLAIN };
            settle(ask(&[tpm.clone()], other, ledger).unwrap().reservation, 500, ledger);
            let refusal = ask(&[tpm.clone()], DECLARED, ledger).unwrap_err();
            // 100 of 600 are missing, at 1,000 a minute.
            assert_eq!((refusal.needed, refusal.wait), (Amount(600), Wait::For(Span::from_secs(6))));
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (500, None));
        });
    }

    #[test]
    fn no_more_is_held_than_a_limit_has_and_only_where_tokens_are_counted() {
        let lines = MemoryLines::default();
        let limits = [tokens(400), Rc::new(Limit::example("in", "input_tokens", 1_000))];
        at(0, &lines, |ledger| {
            let _held = ask(&limits, DECLARED, ledger).unwrap();
            assert_eq!((spent(&limits[0], ledger), left_in_pool(&limits[0], ledger)), (400, Some(300)));
            assert_eq!((spent(&limits[1], ledger), left_in_pool(&limits[1], ledger)), (100, None));
        });
    }

    #[test]
    fn a_first_call_that_needs_more_than_is_declared_charges_the_rest_and_gets_that_back() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            let first = ask(&[tpm.clone()], Asked { tokens: 900, ..DECLARED }, ledger).unwrap();
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (900, Some(0)));
            settle(first.reservation, 100, ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(500)));
        });
    }

    #[test]
    fn declaring_again_changes_nothing_while_the_pool_lives() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            for left in [500, 400, 300] {
                let _held = ask(&[tpm.clone()], DECLARED, ledger).unwrap();
                assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (600, Some(left)));
            }
        });
    }

    #[test]
    fn a_call_that_another_limit_refuses_takes_its_pool_with_it() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        let requests = Rc::new(Limit::example("rpm", "requests", 1));
        at(0, &lines, |ledger| {
            settle(ask(&[requests.clone()], PLAIN, ledger).unwrap().reservation, 0, ledger);
            assert!(ask(&[tpm.clone(), requests], DECLARED, ledger).is_err());
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (0, None));
        });
    }

    #[test]
    fn calls_that_have_drawn_from_a_pool_that_is_gone_give_back_to_the_budget() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            let first = ask(&[tpm.clone()], DECLARED, ledger).unwrap();
            let [second, third] = [(); 2].map(|()| ask(&[tpm.clone()], PLAIN, ledger).unwrap());
            first.reservation.release(ledger);
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (200, None));
            settle(second.reservation, 30, ledger);
            assert_eq!(spent(&tpm, ledger), 130);
            third.reservation.release(ledger);
            assert_eq!(spent(&tpm, ledger), 30);
        });
    }

    #[test]
    fn the_refusal_that_is_reported_is_true_for_pools_too() {
        let lines = MemoryLines::default();
        let (day, minute) = (for_a_month(&Limit::example("day", "tokens", 1_000)), tokens(1_000));
        let input = Rc::new(Limit::example("in", "input_tokens", 100));
        at(0, &lines, |ledger| {
            settle(
                ask(&[day.clone()], Asked { declared: 1_000, ..PLAIN }, ledger).unwrap().reservation,
                0,
                ledger,
            );
            settle(ask(&[input.clone()], PLAIN, ledger).unwrap().reservation, 100, ledger);
            // The budget of `day` is spent, but all of it is this workflow's own.
            let refusal = ask(&[input, minute, day], PLAIN, ledger).unwrap_err();
            assert_eq!(&*refusal.standing.limit.name, "in");
        });
    }

    #[test]
    fn a_pool_lives_for_a_window_by_when_what_was_left_has_flowed_back() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        at(0, &lines, |ledger| {
            settle(
                ask(&[tpm.clone()], Asked { declared: 1_000, ..PLAIN }, ledger).unwrap().reservation,
                0,
                ledger,
            );
        });
        at(59, &lines, |ledger| assert_eq!(left_in_pool(&tpm, ledger), Some(1_000)));
        at(60, &lines, |ledger| {
            assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (0, None));
            let _held = ask(&[tpm.clone()], PLAIN, ledger).unwrap();
            assert_eq!(spent(&tpm, ledger), 100);
        });
    }

    #[test]
    fn a_pool_of_a_calendar_window_ends_with_it() {
        let lines = MemoryLines::default();
        let tpm = tokens(1_000);
        let shape = Shape { algorithm: Algorithm::FixedWindow, ..tpm.shape };
        let tpm = Rc::new(Limit { shape, ..(*tpm).clone() });
        // A million seconds are 40 seconds past a full minute.
        at(0, &lines, |ledger| {
            settle(ask(&[tpm.clone()], DECLARED, ledger).unwrap().reservation, 0, ledger);
        });
        at(19, &lines, |ledger| assert_eq!(left_in_pool(&tpm, ledger), Some(600)));
        at(20, &lines, |ledger| assert_eq!((spent(&tpm, ledger), left_in_pool(&tpm, ledger)), (0, None)));
    }

    #[test]
    fn calls_wait_for_a_pool_that_is_filled_by_a_debt() {
        let (lines, tpm) = (MemoryLines::default(), tokens(1_000));
        let patience = Span::from_secs(60);
        at(0, &lines, |ledger| {
            let other = Asked { workflow: "other", tokens: 1_000, ..PLAIN };
            settle(ask(&[tpm.clone()], other, ledger).unwrap().reservation, 1_000, ledger);
            let first = ask(&[tpm.clone()], Asked { patience, ..DECLARED }, ledger).unwrap();
            assert_eq!(first.waits_for.unwrap().wait, Wait::For(Span::from_secs(36)));
        });
        at(6, &lines, |ledger| {
            let second = ask(&[tpm.clone()], Asked { patience, ..PLAIN }, ledger).unwrap();
            assert_eq!(second.waits_for.unwrap().wait, Wait::For(Span::from_secs(30)));
            assert!(ask(&[tpm.clone()], PLAIN, ledger).is_err());
            assert_eq!(left_in_pool(&tpm, ledger), Some(400), "the refused call has put back what it drew");
        });
    }
}
