use super::*;

fn is_refused_at_once(limit: &Rc<Limit>, workflow: &str, budgets: &Budgets<'_>) -> bool {
    let caller = caller("ada", workflow);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    would_refuse_at_once(std::slice::from_ref(limit), &subject, Span::ZERO, budgets).is_err()
}

#[test]
fn all_calls_of_a_workflow_are_one_request() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(2));
    at(0, &lines, |budgets| {
        for _ in 0..20 {
            let granted = ask(&[&rpm], PLAIN, budgets).unwrap();
            assert_eq!(granted.standings[0].available, Amount(1));
            settle(granted.reservation, 7, budgets);
        }
        assert_eq!(spent(&rpm, budgets), 1);
    });
}

#[test]
fn a_workflow_that_is_counted_is_not_refused_when_the_budget_is_spent() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(1));
    at(0, &lines, |budgets| {
        let first = ask(&[&rpm], PLAIN, budgets).unwrap();
        assert!(!is_refused_at_once(&rpm, "w", budgets));
        assert!(is_refused_at_once(&rpm, "other", budgets));
        assert!(ask(&[&rpm], Asked { workflow: "other", ..PLAIN }, budgets).is_err());
        let second = ask(&[&rpm], PLAIN, budgets).unwrap();
        settle(first.reservation, 1, budgets);
        settle(second.reservation, 1, budgets);
        assert_eq!(spent(&rpm, budgets), 1);
    });
}

#[test]
fn calls_of_no_workflow_count_each() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(2));
    at(0, &lines, |budgets| {
        let call = Asked { workflow: "", ..PLAIN };
        for _ in 0..2 {
            settle(ask(&[&rpm], call, budgets).unwrap().reservation, 1, budgets);
        }
        assert!(ask(&[&rpm], call, budgets).is_err());
    });
}

#[test]
fn the_same_name_is_another_workflow_in_another_budget() {
    let lines = MemoryLines::default();
    let limits = [once_per_workflow(9), Rc::new(Limit { id: "b".into(), ..(*once_per_workflow(9)).clone() })];
    at(0, &lines, |budgets| {
        settle(ask(&[&limits[0]], PLAIN, budgets).unwrap().reservation, 1, budgets);
        settle(ask(&[&limits[1]], PLAIN, budgets).unwrap().reservation, 1, budgets);
        assert_eq!([spent(&limits[0], budgets), spent(&limits[1], budgets)], [1, 1]);
    });
}

#[test]
fn a_call_that_another_limit_refuses_consumes_nothing() {
    let (lines, rpm, tpm) = (MemoryLines::default(), once_per_workflow(5), tokens(50));
    at(0, &lines, |budgets| {
        assert!(ask(&[&rpm, &tpm], PLAIN, budgets).is_err());
        assert_eq!(spent(&rpm, budgets), 0);
        // Nor is it remembered: the next call is the first.
        settle(ask(&[&rpm], PLAIN, budgets).unwrap().reservation, 1, budgets);
        assert_eq!(spent(&rpm, budgets), 1);
    });
}

#[test]
fn a_refused_first_call_leaves_its_request_to_those_who_count_by_it() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(5));
    at(0, &lines, |budgets| {
        let [first, second] = [(); 2].map(|()| ask(&[&rpm], PLAIN, budgets).unwrap());
        first.reservation.release(budgets);
        assert_eq!(spent(&rpm, budgets), 1);
        settle(second.reservation, 1, budgets);
        assert_eq!(spent(&rpm, budgets), 1);
    });
}

#[test]
fn the_last_of_several_refused_calls_gives_the_request_back() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(5));
    at(0, &lines, |budgets| {
        let calls = [(); 3].map(|()| ask(&[&rpm], PLAIN, budgets).unwrap());
        for (call, left) in calls.into_iter().zip([1, 1, 0]) {
            call.reservation.release(budgets);
            assert_eq!(spent(&rpm, budgets), left);
        }
    });
}

#[test]
fn a_workflow_is_remembered_for_an_hour_after_its_last_call() {
    let lines = MemoryLines::default();
    // A window of a minute, which has no effect left after an hour.
    let rpm = once_per_workflow(1);
    for (seconds, is_new) in [(0, true), (HOUR - 1, false), (2 * HOUR - 2, false), (3 * HOUR - 2, true)] {
        at(seconds, &lines, |budgets| {
            let before = spent(&rpm, budgets);
            settle(ask(&[&rpm], PLAIN, budgets).unwrap().reservation, 1, budgets);
            assert_eq!(spent(&rpm, budgets) - before, u64::from(is_new), "after {seconds} s");
        });
    }
}

#[test]
fn a_workflow_is_remembered_for_the_limits_window_if_that_is_longer() {
    let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(9)));
    for seconds in [0, 20 * 24 * HOUR] {
        at(seconds, &lines, |budgets| {
            settle(ask(&[&rpm], PLAIN, budgets).unwrap().reservation, 1, budgets);
            assert_eq!(spent(&rpm, budgets), u64::from(seconds == 0), "after {seconds} s");
        });
    }
}

#[test]
fn calls_of_a_workflow_wait_for_its_request_together() {
    let (lines, rpm) = (MemoryLines::default(), once_per_workflow(1));
    let patient = Asked { patience: Span::from_secs(60), ..PLAIN };
    at(0, &lines, |budgets| {
        let other = Asked { workflow: "other", ..PLAIN };
        settle(ask(&[&rpm], other, budgets).unwrap().reservation, 1, budgets);
        let wait = |granted: &Granted| granted.waits_for.as_ref().unwrap().wait;
        let first = ask(&[&rpm], patient, budgets).unwrap();
        let second = ask(&[&rpm], patient, budgets).unwrap();
        assert_eq!([wait(&first), wait(&second)], [Wait::For(Span::from_secs(60)); 2]);
        assert!(ask(&[&rpm], PLAIN, budgets).is_err(), "who cannot wait is refused");
        assert_eq!(spent(&rpm, budgets), 2);
    });
    at(60, &lines, |budgets| assert!(ask(&[&rpm], PLAIN, budgets).unwrap().waits_for.is_none()));
}

#[test]
fn a_workflow_that_cannot_be_remembered_counts_every_call() {
    let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(50)));
    at(0, &lines, |budgets| {
        // Budgets that stay take every place of every set.
        for number in 0..5_000 {
            let key = budgets.keys.key("other", [("user", format!("{number}").as_bytes())]);
            let shape = Shape { window: Span::from_secs(HOUR), ..rpm.shape };
            budgets.change(shape, &key, None, |budget| (budget.charge(Amount(50)), true)).unwrap();
        }
        for call in 1..4 {
            let granted = ask(&[&rpm], PLAIN, budgets).unwrap();
            settle(granted.reservation, 1, budgets);
            assert_eq!(spent(&rpm, budgets), call);
        }
        ask(&[&rpm], PLAIN, budgets).unwrap().reservation.release(budgets);
        assert_eq!(spent(&rpm, budgets), 3);
    });
}

#[test]
fn a_flood_of_workflows_evicts_no_budget_in_use() {
    let (lines, rpm) = (MemoryLines::default(), for_a_month(&once_per_workflow(1_000_000)));
    at(0, &lines, |budgets| {
        let used = |number: u32| {
            let key = budgets.keys.key("other", [("user", format!("{number}").as_bytes())]);
            let used = budgets.change(rpm.shape, &key, None, |budget| (budget.charge(Amount(1)), true));
            assert_eq!(used.unwrap().place, Place::Own);
            budgets.look(rpm.shape, &key, |budget| budget.spent().0).unwrap()
        };
        for number in 0..100 {
            used(number);
            used(number);
        }
        for number in 0..10_000 {
            let name = number.to_string();
            for _ in 0..3 {
                let call = Asked { workflow: &name, ..PLAIN };
                settle(ask(&[&rpm], call, budgets).unwrap().reservation, 1, budgets);
            }
        }
        for number in 0..100 {
            assert_eq!(used(number), 3, "{number}");
        }
    });
}
