use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code as PbCode;

use super::*;
use crate::config::Ratio;
use crate::limits::{Account, LeasePolicy, Reason, Wait, WindowStatus};
use crate::rls::service::Protocol;
use crate::rls::tests::{
    Process, START, Server, WINDOW, asked, begun, caller, decoded, drained, global, rates, reports, response,
    service, shadow, speaking, status, subject, used,
};
use crate::units::Span;

#[path = "holding_exactness_tests.rs"]
mod exactness;
#[path = "holding_refusal_tests.rs"]
mod refusals;

pub(super) const POLICY: LeasePolicy = LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) };
pub(super) const PROTOCOLS: [Protocol; 3] = [Protocol::Envoy, Protocol::CheckThenReport, Protocol::Kuadrant];

pub(super) fn leasing(protocol: Protocol) -> Service {
    Service { lease: Some(POLICY), ..speaking(protocol) }
}

/// Returns the holding of a call of ada's that the server has admitted, and the server.
fn held(limits: &[GlobalLimit], tokens: u64, service: &Service, budgets: &Budgets<'_>) -> (Holding, Server) {
    let (mut server, mut tasks) = (Server::of(100_000), vec![]);
    let begun = begun(limits, tokens, service, budgets, &mut tasks).unwrap();
    let decided = asked(begun, &mut server, service, budgets, &mut tasks);
    assert_eq!(reports(&tasks), []);
    (decided.holding, server)
}

/// Returns the reports about a call that held 300 tokens and used `tokens`, 10 seconds later.
fn settled(tokens: u64, service: &Service) -> Vec<(String, u64, bool)> {
    let process = Process::new();
    let limits = [global("tpm", "tokens", 100_000)];
    let holding = process.at(0, |budgets| held(&limits, 300, service, budgets).0);
    let mut tasks = vec![];
    process.at(10_000, |budgets| holding.settle(&used(tokens), &rates(), service, budgets, &mut tasks));
    reports(&tasks)
}

fn told(hits: u64) -> Vec<(String, u64, bool)> {
    vec![("free/tpm ada".to_owned(), hits, false)]
}

#[test]
fn without_global_limits_nothing_is_asked_or_held() {
    Process::new().at(0, |budgets| {
        let begun = begun(&[], 300, &service(), budgets, &mut vec![]).unwrap();
        assert!(begun.is_empty() && !begun.is_open());
        assert_eq!(begun.questions(&service()), []);
    });
}

#[test]
fn a_limit_on_other_models_is_not_asked_for() {
    let other = global("tpm", "tokens", 1_000);
    let limit =
        crate::limits::Limit { models: vec![crate::config::Glob::new("claude-*")], ..(*other.limit).clone() };
    Process::new().at(0, |budgets| {
        let begun = begun(&[GlobalLimit::new(limit, Ratio::ONE)], 300, &service(), budgets, &mut vec![]);
        assert!(begun.unwrap().is_empty());
    });
}

#[test]
fn all_limits_of_a_call_are_asked_for_at_once_each_with_its_amount() {
    let limits = [global("tpm", "tokens", 1_000), global("rpm", "requests", 10)];
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();

        let questions = begun.questions(&service());

        let [question] = &questions[..] else { panic!("{questions:?}") };
        let request = decoded(question);
        let hits = request.descriptors.iter().map(|descriptor| descriptor.hits_addend.unwrap().value);
        assert_eq!(hits.collect::<Vec<_>>(), [300, 1]);
    });
}

#[test]
fn money_is_asked_for_in_micro_dollars_rounded_up() {
    let limits = [global("spend", "cost_usd", 10_000_000)];
    for (nano_dollars, hits) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
        Process::new().at(0, |budgets| {
            let begun = begun(&limits, nano_dollars, &service(), budgets, &mut vec![]).unwrap();
            let request = decoded(&begun.questions(&service())[0]);
            assert_eq!(request.descriptors[0].hits_addend.unwrap().value, hits, "{nano_dollars}");
        });
    }
}

#[test]
fn shadow_limits_are_asked_for_apart_and_the_places_remain() {
    let limits = [
        shadow(&global("a", "tokens", 1_000)),
        global("b", "tokens", 1_000),
        shadow(&global("c", "tokens", 1_000)),
    ];
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();

        let questions = begun.questions(&service());

        let limit = |place: usize, descriptor: usize| {
            decoded(&questions[place]).descriptors[descriptor].entries[0].value.clone()
        };
        assert_eq!([&questions[0].covers[..], &questions[1].covers[..]], [&[1][..], &[0, 2]]);
        assert_eq!([limit(0, 0), limit(1, 0), limit(1, 1)], ["free/b", "free/a", "free/c"]);
    });
}

#[test]
fn envoy_reports_only_what_was_used_beyond_what_was_asked_for() {
    let envoy = speaking(Protocol::Envoy);
    assert_eq!(settled(310, &envoy), told(10));
    assert_eq!(settled(300, &envoy), []);
    assert_eq!(settled(200, &envoy), []);
}

#[test]
fn with_refunds_what_was_asked_for_too_much_is_given_back() {
    let refunding = Service { refunds: true, ..speaking(Protocol::Envoy) };
    assert_eq!(settled(310, &refunding), told(10));
    assert_eq!(settled(300, &refunding), []);
    assert_eq!(settled(200, &refunding), [("free/tpm ada".to_owned(), 100, true)]);
}

#[test]
fn check_then_report_and_kuadrant_report_all_that_was_used() {
    for protocol in [Protocol::CheckThenReport, Protocol::Kuadrant] {
        assert_eq!(settled(310, &speaking(protocol)), told(310));
        assert_eq!(settled(200, &speaking(protocol)), told(200));
        assert_eq!(settled(0, &speaking(protocol)), []);
    }
}

#[test]
fn what_is_kept_is_charged_as_it_was_held() {
    for (protocol, expected) in
        [(Protocol::Envoy, vec![]), (Protocol::CheckThenReport, told(300)), (Protocol::Kuadrant, told(300))]
    {
        let (service, mut tasks) = (speaking(protocol), vec![]);
        Process::new().at(0, |budgets| {
            let (holding, _) = held(&[global("tpm", "tokens", 100_000)], 300, &service, budgets);
            holding.keep(&service, budgets, &mut tasks);
        });
        assert_eq!(reports(&tasks), expected, "{protocol:?}");
    }
}

#[test]
fn what_is_released_is_given_back_where_it_was_charged_and_the_service_takes_it() {
    let given_back = vec![("free/tpm ada".to_owned(), 300, true)];
    for (service, expected) in [
        (speaking(Protocol::Envoy), vec![]),
        (Service { refunds: true, ..speaking(Protocol::Envoy) }, given_back),
        (speaking(Protocol::CheckThenReport), vec![]),
        (speaking(Protocol::Kuadrant), vec![]),
    ] {
        let mut tasks = vec![];
        Process::new().at(0, |budgets| {
            let (holding, _) = held(&[global("tpm", "tokens", 100_000)], 300, &service, budgets);
            holding.release(&service, budgets, &mut tasks);
        });
        assert_eq!(reports(&tasks), expected, "{:?}", service.protocol);
    }
}

#[test]
fn what_nobody_has_decided_on_is_told_in_full_and_never_given_back() {
    for protocol in PROTOCOLS {
        let service = Service { refunds: protocol == Protocol::Envoy, ..speaking(protocol) };
        let limits = [global("tpm", "tokens", 1_000)];
        for (tokens, expected) in [(200, told(200)), (310, told(310)), (0, vec![])] {
            let mut tasks = vec![];
            Process::new().at(0, |budgets| {
                let begun = begun(&limits, 300, &service, budgets, &mut tasks).unwrap();
                let question = begun.questions(&service).remove(0);
                let answers = vec![(question, Err(Failure::Unavailable))];
                let decided = begun.decide(answers, &service, budgets, &mut tasks).unwrap();

                assert_eq!(decided.undecided.len(), 1);
                assert_eq!(decided.undecided[0].limit.name, limits[0].limit.name);
                decided.holding.settle(&used(tokens), &rates(), &service, budgets, &mut tasks);
            });
            assert_eq!(reports(&tasks), expected, "{protocol:?}");
        }
    }
}

#[test]
fn a_question_without_any_answer_leaves_its_limits_undecided() {
    let limits = [global("tpm", "tokens", 1_000), shadow(&global("day", "tokens", 1_000))];
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();
        let decided = begun.decide(vec![], &service(), budgets, &mut vec![]).unwrap();

        // A limit that only watches needs no stand-in, but the usage is reported to it, too.
        assert_eq!(decided.undecided.len(), 1);
        let mut tasks = vec![];
        decided.holding.settle(&used(5), &rates(), &service(), budgets, &mut tasks);
        assert_eq!(reports(&tasks).len(), 2);
    });
}

#[test]
fn where_budgets_stand_is_as_the_service_tells() {
    let limits = [global("tpm", "tokens", 1_000), shadow(&global("day", "tokens", 1_000))];
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();
        let answers = begun.questions(&service()).into_iter().map(|question| {
            let answer = question.read(&response(PbCode::Ok, vec![status(PbCode::Ok, 1_000, 700, 30)]));
            (question, answer)
        });
        let decided = begun.decide(answers.collect(), &service(), budgets, &mut vec![]).unwrap();

        let [standing] = &decided.standings[..] else { panic!("{:?}", decided.standings) };
        assert_eq!((standing.available, standing.spent), (Amount(700), Amount(300)));
        assert_eq!((standing.reset, &*standing.limit.name), (Span::from_secs(30), "tpm"));
    });
}

#[test]
fn a_limit_that_the_service_does_not_have_is_told_and_passes() {
    use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::DescriptorStatus;
    let limits = [global("tpm", "tokens", 1_000)];
    Process::new().at(0, |budgets| {
        let begun = begun(&limits, 300, &service(), budgets, &mut vec![]).unwrap();
        let question = begun.questions(&service()).remove(0);
        let unmatched = DescriptorStatus {
            code: PbCode::Ok.into(),
            limit_remaining: u32::MAX,
            ..DescriptorStatus::default()
        };
        let answer = question.read(&response(PbCode::Ok, vec![unmatched]));
        let decided = begun.decide(vec![(question, answer)], &service(), budgets, &mut vec![]).unwrap();

        assert_eq!((decided.unknown.len(), decided.standings.len()), (1, 0));
    });
}

/// Returns the ends of validity of reports, in milliseconds after the start, for a call that began
/// at the start with a window of `reset` seconds and was settled after `settled` milliseconds.
fn told_until(reset: Option<i64>, settled: u64, tokens: u64, service: &Service) -> Vec<u64> {
    let (process, limits, mut tasks) = (Process::new(), [global("tpm", "tokens", 100_000)], vec![]);
    let holding = process.at(0, |budgets| {
        let begun = begun(&limits, 300, service, budgets, &mut vec![]).unwrap();
        let question = begun.questions(service).remove(0);
        let statuses = reset.map(|reset| status(PbCode::Ok, 100_000, 99_000, reset)).into_iter().collect();
        let answer = question.read(&response(PbCode::Ok, statuses));
        begun.decide(vec![(question, answer)], service, budgets, &mut vec![]).unwrap().holding
    });
    process.at(settled, |budgets| holding.settle(&used(tokens), &rates(), service, budgets, &mut tasks));
    let until = |task: &Task| match task {
        Task::Report(report) => Some(report.until.since(START).0 / 1_000_000),
        Task::Lease(_) => None,
    };
    tasks.iter().filter_map(until).collect()
}

#[test]
fn what_is_lacking_is_told_until_the_window_ends_that_it_belongs_to() {
    for protocol in PROTOCOLS {
        assert_eq!(told_until(Some(30), 10_000, 500, &speaking(protocol)), [30_000], "{protocol:?}");
    }
}

#[test]
fn what_is_lacking_after_the_window_is_owed_in_the_next() {
    for protocol in PROTOCOLS {
        let service = speaking(protocol);
        assert_eq!(told_until(Some(30), 45_000, 500, &service), [105_000], "{protocol:?}");
        // It is too late to report it.
        assert_eq!(told_until(Some(30), 29_950, 500, &service), [89_950], "{protocol:?}");
    }
}

#[test]
fn a_window_that_is_not_told_ends_after_its_own_length() {
    for protocol in PROTOCOLS {
        assert_eq!(told_until(None, 10_000, 500, &speaking(protocol)), [70_000], "{protocol:?}");
        assert_eq!(told_until(Some(0), 10_000, 500, &speaking(protocol)), [70_000], "{protocol:?}");
    }
}

#[test]
fn no_window_is_longer_than_its_own_length() {
    for protocol in PROTOCOLS {
        let until = told_until(Some(i64::MAX), 10_000, 500, &speaking(protocol));
        assert_eq!(until, [WINDOW.0 / 1_000_000], "{protocol:?}");
    }
}

#[test]
fn hits_are_given_back_only_to_the_window_that_they_were_charged_in() {
    let refunding = Service { refunds: true, ..service() };
    assert_eq!(told_until(Some(30), 10_000, 100, &refunding), [30_000]);
    assert_eq!(told_until(Some(30), 45_000, 100, &refunding), [30_000]);
    assert_eq!(told_until(None, 10_000, 100, &refunding), [60_000]);
}

#[test]
fn the_first_call_asks_for_itself_and_for_a_lease_from_which_the_next_is_paid() {
    for protocol in PROTOCOLS {
        let (service, limits) = (leasing(protocol), [global("tpm", "tokens", 100_000)]);
        let (mut server, mut tasks) = (Server::of(100_000), vec![]);
        Process::new().at(0, |budgets| {
            let first = begun(&limits, 300, &service, budgets, &mut tasks).unwrap();
            assert!(first.is_open());
            let _holding = asked(first, &mut server, &service, budgets, &mut tasks).holding;
            let [Task::Lease(request)] = &tasks[..] else { panic!("{tasks:?}") };
            request.account.granted(request.amount, WindowStatus::default(), budgets);

            let second = begun(&limits, 300, &service, budgets, &mut vec![]).unwrap();

            assert!(!second.is_open() && !second.is_empty());
            assert_eq!(second.questions(&service), []);
            let decided = second.decide(vec![], &service, budgets, &mut vec![]).unwrap();
            assert_eq!((decided.undecided.len(), decided.standings.len()), (0, 1));
        });
    }
}

/// Returns the reports about a call paid by a lease of 1,000, and the rest of the lease.
fn paid_by_lease(tokens: u64, service: &Service) -> (Vec<(String, u64, bool)>, u64) {
    let (tpm, mut tasks) = (global("tpm", "tokens", 100_000), vec![]);
    Process::new().at(0, |budgets| {
        let account = Account::of(&tpm.limit, &subject(&caller("ada")), budgets);
        account.granted(Amount(1_000), WindowStatus { remaining: None, reset: Some(WINDOW) }, budgets);
        let begun = begun(std::slice::from_ref(&tpm), 300, service, budgets, &mut tasks).unwrap();
        let decided = begun.decide(vec![], service, budgets, &mut tasks).unwrap();
        decided.holding.settle(&used(tokens), &rates(), service, budgets, &mut tasks);
        (reports(&tasks), drained(&tpm, &POLICY, budgets))
    })
}

#[test]
fn of_a_call_paid_by_a_lease_only_what_the_lease_cannot_cover_is_told() {
    for protocol in PROTOCOLS {
        let service = leasing(protocol);
        assert_eq!(paid_by_lease(200, &service), (vec![], 800), "{protocol:?}");
        assert_eq!(paid_by_lease(900, &service), (vec![], 100), "{protocol:?}");
        assert_eq!(paid_by_lease(1_200, &service), (told(200), 0), "{protocol:?}");
    }
}

#[test]
fn what_a_call_that_asked_for_itself_used_more_comes_from_the_lease_as_far_as_it_goes() {
    for (leased, expected) in [(0, told(50)), (20, told(30)), (70, vec![])] {
        let (tpm, mut tasks) = (global("tpm", "tokens", 100_000), vec![]);
        let service = leasing(Protocol::Kuadrant);
        Process::new().at(0, |budgets| {
            let begun = begun(std::slice::from_ref(&tpm), 300, &service, budgets, &mut tasks).unwrap();
            let holding = asked(begun, &mut Server::of(100_000), &service, budgets, &mut tasks).holding;
            let account = Account::of(&tpm.limit, &subject(&caller("ada")), budgets);
            account.granted(Amount(leased), WindowStatus { remaining: None, reset: Some(WINDOW) }, budgets);
            holding.settle(&used(350), &rates(), &service, budgets, &mut tasks);
        });
        assert_eq!(reports(&tasks), expected, "of {leased}");
    }
}

#[test]
fn with_leases_what_a_call_asked_for_too_much_is_left_to_others_even_with_refunds() {
    let (tpm, mut tasks) = (global("tpm", "tokens", 100_000), vec![]);
    let service = Service { refunds: true, ..leasing(Protocol::Envoy) };
    Process::new().at(0, |budgets| {
        let begun = begun(std::slice::from_ref(&tpm), 300, &service, budgets, &mut tasks).unwrap();
        let holding = asked(begun, &mut Server::of(100_000), &service, budgets, &mut tasks).holding;
        holding.settle(&used(120), &rates(), &service, budgets, &mut tasks);

        assert_eq!(reports(&tasks), []);
        assert_eq!(drained(&tpm, &POLICY, budgets), 180);
    });
}

#[test]
fn an_estimate_of_nothing_asks_for_nothing_and_what_was_used_is_told() {
    for protocol in PROTOCOLS {
        let (service, mut tasks) = (speaking(protocol), vec![]);
        Process::new().at(0, |budgets| {
            let limits = [global("tpm", "tokens", 1_000)];
            let begun = begun(&limits, 0, &service, budgets, &mut tasks).unwrap();
            assert!(!begun.is_open() && !begun.is_empty());
            let decided = begun.decide(vec![], &service, budgets, &mut tasks).unwrap();
            decided.holding.settle(&used(7), &rates(), &service, budgets, &mut tasks);
        });
        assert_eq!(reports(&tasks), told(7), "{protocol:?}");
    }
}
