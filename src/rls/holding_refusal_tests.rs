//! Refused calls: who refuses, the wait, and the fate of their charges.

use super::*;
use crate::rls::service::HitsAddend;

/// Makes a call of 300 tokens, with the service's answers, limit by limit.
fn answered(
    limits: &[GlobalLimit],
    codes: &[PbCode],
    service: &Service,
    budgets: &Budgets<'_>,
    tasks: &mut Vec<Task>,
) -> Result<Decided, (Refusal, Vec<HeaderValue>)> {
    let begun = begun(limits, 300, service, budgets, tasks).unwrap();
    let answers = begun.questions(service).into_iter().map(|question| {
        let code = |place: &usize| codes[*place];
        let statuses: Vec<_> =
            question.covers.iter().map(code).map(|code| status(code, 1_000, 0, 30)).collect();
        let is_over = question.covers.iter().any(|place| codes[*place] == PbCode::OverLimit);
        let overall = if is_over { PbCode::OverLimit } else { PbCode::Ok };
        let answer = question.read(&response(overall, statuses));
        (question, answer)
    });
    begun.decide(answers.collect(), service, budgets, tasks)
}

const OK: PbCode = PbCode::Ok;
const OVER: PbCode = PbCode::OverLimit;

#[test]
fn a_refusal_says_what_is_left_what_is_needed_and_when_the_window_ends() {
    Process::new().at(0, |budgets| {
        let limits = [global("tpm", "tokens", 1_000)];
        let refused = answered(&limits, &[OVER], &service(), budgets, &mut vec![]);

        let (refusal, headers) = refused.unwrap_err();
        assert_eq!((refusal.needed, refusal.standing.available), (Amount(300), Amount(0)));
        assert_eq!((refusal.wait, refusal.reason), (Wait::For(Span::from_secs(30)), Reason::Spent));
        assert_eq!(headers.len(), 0);
    });
}

#[test]
fn a_refusal_that_tells_no_end_waits_for_the_window() {
    for protocol in PROTOCOLS {
        let service = speaking(protocol);
        Process::new().at(0, |budgets| {
            let begun =
                begun(&[global("tpm", "tokens", 1_000)], 300, &service, budgets, &mut vec![]).unwrap();
            let question = begun.questions(&service).remove(0);
            let answer = question.read(&response(OVER, vec![]));
            let refused = begun.decide(vec![(question, answer)], &service, budgets, &mut vec![]);

            assert_eq!(refused.unwrap_err().0.wait, Wait::For(WINDOW), "{protocol:?}");
        });
    }
}

#[test]
fn the_headers_of_a_refusing_service_come_with_the_refusal() {
    Process::new().at(0, |budgets| {
        let begun = begun(&[global("tpm", "tokens", 1_000)], 300, &service(), budgets, &mut vec![]).unwrap();
        let question = begun.questions(&service()).remove(0);
        let header = HeaderValue { key: "x-ratelimit-limit".to_owned(), value: b"10".to_vec() };
        let answer = question.read(&response(OVER, vec![])).unwrap();
        let answer = Answer { response_headers: vec![header.clone()], ..answer };

        let refused = begun.decide(vec![(question, Ok(answer))], &service(), budgets, &mut vec![]);

        assert_eq!(refused.unwrap_err().1, [header]);
    });
}

#[test]
fn what_another_answer_is_known_to_have_charged_is_given_back() {
    // Separate requests, so that the answers are separate, too.
    let service = Service { refunds: true, hits_addend: HitsAddend::Request, ..service() };
    let (limits, mut tasks) = ([global("a", "tokens", 1_000), global("b", "tokens", 1_000)], vec![]);
    Process::new().at(0, |budgets| {
        assert!(answered(&limits, &[OK, OVER], &service, budgets, &mut tasks).is_err());
    });
    assert_eq!(reports(&tasks), [("free/a ada".to_owned(), 300, true)]);
}

#[test]
fn what_may_not_have_been_charged_is_not_given_back() {
    let (limits, mut tasks) = ([global("a", "tokens", 1_000), global("b", "tokens", 1_000)], vec![]);
    Process::new().at(0, |budgets| {
        // One answer, which refuses: some servers charge nothing then.
        let service = Service { refunds: true, ..service() };
        assert!(answered(&limits, &[OK, OVER], &service, budgets, &mut tasks).is_err());
        // Asking charges nothing.
        let kuadrant = speaking(Protocol::Kuadrant);
        assert!(answered(&limits, &[OK, OVER], &kuadrant, budgets, &mut tasks).is_err());
    });
    assert_eq!(reports(&tasks), []);
}

#[test]
fn what_a_refused_call_had_of_a_lease_comes_back() {
    for protocol in PROTOCOLS {
        let (leased, other) = (global("leased", "tokens", 100_000), global("other", "tokens", 100_000));
        let (service, mut tasks) = (leasing(protocol), vec![]);
        Process::new().at(0, |budgets| {
            let account = Account::of(&leased.limit, &subject(&caller("ada")), budgets);
            account.granted(Amount(1_000), WindowStatus { remaining: None, reset: Some(WINDOW) }, budgets);
            let limits = [leased.clone(), other.clone()];
            let begun = begun(&limits, 300, &service, budgets, &mut tasks).unwrap();
            let question = begun.questions(&service).remove(0);
            assert_eq!(decoded(&question).descriptors.len(), 1, "only of the other");
            let answer = question.read(&response(OVER, vec![]));

            assert!(begun.decide(vec![(question, answer)], &service, budgets, &mut tasks).is_err());

            assert_eq!(reports(&tasks), [], "{protocol:?}");
            assert_eq!(drained(&leased, &POLICY, budgets), 1_000, "{protocol:?}");
        });
    }
}

#[test]
fn more_than_a_whole_budget_is_refused_without_asking_and_what_was_taken_comes_back() {
    for (service, leased) in [(leasing(Protocol::Envoy), 1_000), (speaking(Protocol::Envoy), 0)] {
        Process::new().at(0, |budgets| {
            let limits = [global("tpm", "tokens", 100_000), global("small", "tokens", 299)];
            if leased > 0 {
                let account = Account::of(&limits[0].limit, &subject(&caller("ada")), budgets);
                account.granted(
                    Amount(leased),
                    WindowStatus { remaining: None, reset: Some(WINDOW) },
                    budgets,
                );
            }
            let mut tasks = vec![];

            let refusal = begun(&limits, 300, &service, budgets, &mut tasks).unwrap_err();

            assert_eq!((refusal.wait, &*refusal.standing.limit.name), (Wait::Never, "small"));
            assert_eq!((refusal.needed, refusal.standing.available), (Amount(300), Amount(299)));
            assert_eq!(reports(&tasks), []);
            assert_eq!(drained(&limits[0], &POLICY, budgets), leased);
        });
    }
}

#[test]
fn exactly_a_whole_budget_is_asked_for() {
    Process::new().at(0, |budgets| {
        let begun = begun(&[global("small", "tokens", 300)], 300, &service(), budgets, &mut vec![]);
        assert!(begun.unwrap().is_open());
    });
}

#[test]
fn of_several_refusals_the_one_that_lasts_longest_is_told() {
    Process::new().at(0, |budgets| {
        let limits = [global("a", "tokens", 1_000), global("b", "tokens", 1_000)];
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();
        let question = begun.questions(&service()).remove(0);
        let statuses = vec![status(OVER, 1_000, 0, 5), status(OVER, 1_000, 0, 40)];
        let answer = question.read(&response(OVER, statuses));
        let refused = begun.decide(vec![(question, answer)], &service(), budgets, &mut vec![]);

        let (refusal, _) = refused.unwrap_err();
        assert_eq!((refusal.wait, &*refusal.standing.limit.name), (Wait::For(Span::from_secs(40)), "b"));
    });
}

#[test]
fn what_a_shadow_limit_refuses_passes_is_told_and_not_charged_to_it() {
    let limits = [shadow(&global("watch", "tokens", 1_000)), global("tpm", "tokens", 1_000)];
    for protocol in PROTOCOLS {
        let (service, mut tasks) = (speaking(protocol), vec![]);
        Process::new().at(0, |budgets| {
            let decided = answered(&limits, &[OVER, OK], &service, budgets, &mut tasks).unwrap();

            let [refusal] = &decided.shadowed[..] else { panic!("{:?}", decided.shadowed) };
            assert_eq!((&*refusal.standing.limit.name, refusal.needed), ("watch", Amount(300)));
            decided.holding.settle(&used(400), &rates(), &service, budgets, &mut tasks);
        });
        let told: Vec<_> = reports(&tasks).into_iter().map(|(limit, ..)| limit).collect();
        assert_eq!(told, ["free/tpm ada"], "{protocol:?}");
    }
}

#[test]
fn a_shadow_limit_that_is_too_small_refuses_nothing_and_is_not_asked_for() {
    Process::new().at(0, |budgets| {
        let limits = [shadow(&global("watch", "tokens", 299))];
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();
        assert!(!begun.is_open());
        let decided = begun.decide(vec![], &service(), budgets, &mut vec![]).unwrap();
        assert_eq!(decided.shadowed.len(), 1);
    });
}

#[test]
fn what_the_service_has_lately_refused_is_refused_without_asking_where_there_are_leases() {
    for protocol in PROTOCOLS {
        let (service, limits) = (leasing(protocol), [global("tpm", "tokens", 1_000)]);
        let process = Process::new();
        process.at(0, |budgets| {
            assert!(answered(&limits, &[OVER], &service, budgets, &mut vec![]).is_err());
        });

        let refusal = process.at(1_000, |budgets| begun(&limits, 300, &service, budgets, &mut vec![]));

        let wait = refusal.unwrap_err().wait;
        assert_eq!(wait, Wait::For(Span::from_secs(29)), "{protocol:?}");
        // A smaller amount may still fit.
        process.at(1_000, |budgets| {
            assert!(begun(&limits, 299, &service, budgets, &mut vec![]).unwrap().is_open());
        });
    }
}

#[test]
fn a_call_that_is_refused_and_partly_undecided_leaves_nothing_charged() {
    let service = Service { refunds: true, hits_addend: HitsAddend::Request, ..service() };
    let (limits, mut tasks) = ([global("a", "tokens", 1_000), global("b", "tokens", 1_000)], vec![]);
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service, budgets, &mut tasks).unwrap();
        let [first, second] = begun.questions(&service).try_into().unwrap();
        let refused = second.read(&response(OVER, vec![]));
        let answers = vec![(first, Err(Failure::Unavailable)), (second, refused)];
        assert!(begun.decide(answers, &service, budgets, &mut tasks).is_err());
    });
    assert_eq!(reports(&tasks), []);
}
