use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::service::ratelimit::v3 as pb;
use pb::rate_limit_response::{Code as PbCode, DescriptorStatus as PbStatus};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::config::Ratio;
use crate::limits::LeasePolicy;
use crate::rls::tests::{decoded, descriptor, global, response, service, speaking, status};
use crate::units::Amount;

/// The content of a request: its method, the request's addend, and for each descriptor the limit,
/// the user, its addend and whether it is negative.
#[derive(Debug, PartialEq)]
struct Said {
    method: &'static str,
    addend: u32,
    descriptors: Vec<(String, String, Option<u64>, bool)>,
}

fn said(question: &Question) -> Said {
    let request = decoded(question);
    assert_eq!(request.domain, "tollgate");
    let descriptors = request.descriptors.into_iter().map(|descriptor| {
        let [limit, user] = &descriptor.entries[..] else { panic!("{descriptor:?}") };
        assert_eq!((&*limit.key, &*user.key), ("tollgate_limit", "user"));
        let addend = descriptor.hits_addend.map(|addend| addend.value);
        (limit.value.clone(), user.value.clone(), addend, descriptor.is_negative_hits)
    });
    Said { method: question.method.name, addend: request.hits_addend, descriptors: descriptors.collect() }
}

fn of(name: &str) -> Descriptor {
    descriptor(&global(name, "tokens", 1_000), "ada")
}

fn hits(of: &Descriptor, hits: u64) -> Hits<'_> {
    Hits { of, hits, given_back: false }
}

fn one(limit: &str, addend: impl Into<Option<u64>>) -> (String, String, Option<u64>, bool) {
    (limit.to_owned(), "ada".to_owned(), addend.into(), false)
}

#[test]
fn envoy_asks_with_the_amounts_and_tells_differences_in_the_same_way() {
    let (tpm, day) = (of("tpm"), of("day"));
    let service = speaking(Protocol::Envoy);

    for questions in
        [service.ask(&[hits(&tpm, 300), hits(&day, 7)]), service.tell(&[hits(&tpm, 300), hits(&day, 7)])]
    {
        let [question] = &questions[..] else { panic!("{questions:?}") };
        let descriptors = vec![one("free/tpm", 300), one("free/day", 7)];
        assert_eq!(said(question), Said { method: "ShouldRateLimit", addend: 0, descriptors });
        assert_eq!(question.method.service, "envoy.service.ratelimit.v3.RateLimitService");
        assert_eq!(question.covers, [0, 1]);
    }
}

#[test]
fn hits_that_are_given_back_are_negative() {
    let (tpm, day) = (of("tpm"), of("day"));
    let told = [Hits { given_back: true, ..hits(&tpm, 300) }, hits(&day, 7)];

    let questions = Service { refunds: true, ..service() }.tell(&told);

    let negative = (String::from("free/tpm"), String::from("ada"), Some(300), true);
    assert_eq!(said(&questions[0]).descriptors, [negative, one("free/day", 7)]);
}

#[test]
fn check_then_report_looks_with_no_hits_and_tells_what_was_used() {
    let (tpm, day) = (of("tpm"), of("day"));
    let service = speaking(Protocol::CheckThenReport);

    let looks = service.ask(&[hits(&tpm, 300), hits(&day, 7)]);
    let told = service.tell(&[hits(&tpm, 310), hits(&day, 9)]);

    let descriptors = vec![one("free/tpm", 0), one("free/day", 0)];
    assert_eq!(said(&looks[0]), Said { method: "ShouldRateLimit", addend: 0, descriptors });
    let descriptors = vec![one("free/tpm", 310), one("free/day", 9)];
    assert_eq!(said(&told[0]), Said { method: "ShouldRateLimit", addend: 0, descriptors });
    assert_eq!((looks.len(), told.len()), (1, 1));
}

#[test]
fn kuadrant_checks_and_reports_each_limit_by_itself() {
    let (tpm, day) = (of("tpm"), of("day"));
    let service = speaking(Protocol::Kuadrant);
    let amounts = [hits(&tpm, 310), hits(&day, 9)];

    for (questions, method) in [(service.ask(&amounts), "CheckRateLimit"), (service.tell(&amounts), "Report")]
    {
        let expected = [("free/tpm", 310, 0), ("free/day", 9, 1)];
        assert_eq!(questions.len(), 2);
        for (question, (limit, addend, place)) in questions.iter().zip(expected) {
            assert_eq!(said(question), Said { method, addend, descriptors: vec![one(limit, None)] });
            assert_eq!(question.covers, [place]);
            assert_eq!(question.method.service, "kuadrant.service.ratelimit.v1.RateLimitService");
        }
    }
}

#[test]
fn with_leases_asking_charges_by_every_protocol_and_differences_are_told_by_its_own() {
    let tpm = of("tpm");
    let lease = Some(LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) });
    for (protocol, told) in [
        (Protocol::Envoy, "ShouldRateLimit"),
        (Protocol::CheckThenReport, "ShouldRateLimit"),
        (Protocol::Kuadrant, "Report"),
    ] {
        let service = Service { lease, ..speaking(protocol) };
        let amount = |question: &Question| {
            let Said { addend, descriptors, .. } = said(question);
            descriptors[0].2.unwrap_or_else(|| addend.into())
        };
        for (questions, method, hits) in [
            (service.ask(&[hits(&tpm, 310)]), "ShouldRateLimit", 310),
            (service.tell(&[hits(&tpm, 12)]), told, 12),
        ] {
            assert_eq!((questions[0].method.name, amount(&questions[0])), (method, hits), "{protocol:?}");
        }
    }
}

/// Returns an answer of Limitador's: a code, and headers if it is configured to send them.
fn of_limitador(headers: &[(&str, &str)]) -> Vec<u8> {
    let header = |(key, value): &(&str, &str)| core_pb::HeaderValue {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        ..core_pb::HeaderValue::default()
    };
    let response_headers_to_add = headers.iter().map(header).collect();
    pb::RateLimitResponse {
        overall_code: PbCode::Ok.into(),
        response_headers_to_add,
        ..pb::RateLimitResponse::default()
    }
    .encode_to_vec()
}

#[test]
fn headers_tell_where_one_limit_stands_if_there_are_no_statuses() {
    let (tpm, day) = (of("tpm"), of("day"));
    let headers =
        [("X-RateLimit-Limit", "10, 10;w=60"), ("X-RateLimit-Remaining", "7"), ("X-RateLimit-Reset", "12")];
    let stands = |service: Service, asked: &[Hits<'_>], answer: &[u8]| {
        let decision = service.ask(asked)[0].read(answer).unwrap().decisions[0];
        (decision.remaining, decision.reset)
    };
    let one = Service { hits_addend: HitsAddend::Request, ..service() };

    // The seconds are rounded down.
    let expected = (Some(7), Some(Span::from_secs(13)));
    assert_eq!(stands(one.clone(), &[hits(&tpm, 3)], &of_limitador(&headers)), expected);
    assert_eq!(stands(one.clone(), &[hits(&tpm, 3)], &of_limitador(&headers[..2])), (Some(7), None));
    for nothing in [&headers[..1], &[("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "soon")]] {
        assert_eq!(stands(one.clone(), &[hits(&tpm, 3)], &of_limitador(nothing)), (None, None));
    }
    // The headers do not say which of the two limits they describe.
    assert_eq!(stands(service(), &[hits(&tpm, 3), hits(&day, 3)], &of_limitador(&headers)), (None, None));
}

#[test]
fn statuses_count_for_more_than_headers() {
    let question = &service().ask(&[hits(&of("tpm"), 3)])[0];
    let header = core_pb::HeaderValue {
        key: "x-ratelimit-remaining".to_owned(),
        value: "7".to_owned(),
        ..core_pb::HeaderValue::default()
    };
    let answer = pb::RateLimitResponse {
        overall_code: PbCode::Ok.into(),
        statuses: vec![status(PbCode::Ok, 1_000, 900, 30)],
        response_headers_to_add: vec![header],
        ..pb::RateLimitResponse::default()
    };
    assert_eq!(question.read(&answer.encode_to_vec()).unwrap().decisions[0].remaining, Some(900));
}

#[test]
fn with_amounts_in_requests_each_limit_is_asked_for_by_itself() {
    let (tpm, day) = (of("tpm"), of("day"));
    let service = Service { hits_addend: HitsAddend::Request, ..service() };

    let questions = service.ask(&[hits(&tpm, 300), hits(&day, 7)]);

    let expected =
        |limit, addend| Said { method: "ShouldRateLimit", addend, descriptors: vec![one(limit, None)] };
    assert_eq!(
        questions.iter().map(said).collect::<Vec<_>>(),
        [expected("free/tpm", 300), expected("free/day", 7)]
    );
    assert_eq!([&questions[0].covers, &questions[1].covers], [&[0], &[1]]);
}

#[test]
fn many_limits_are_spread_over_requests_and_each_is_covered_once() {
    let all: Vec<_> = (0..150).map(|number| of(&format!("l{number}"))).collect();
    let asked: Vec<_> = all.iter().map(|of| hits(of, 1)).collect();

    let questions = service().ask(&asked);

    let sizes: Vec<_> = questions.iter().map(|question| said(question).descriptors.len()).collect();
    assert_eq!(sizes, [64, 64, 22]);
    let covered: Vec<_> = questions.iter().flat_map(|question| question.covers.clone()).collect();
    assert_eq!(covered, (0..150).collect::<Vec<_>>());
    assert_eq!(said(&questions[1]).descriptors[0], one("free/l64", 1));
}

#[test]
fn nothing_is_asked_about_nothing() {
    assert_eq!(service().ask(&[]), []);
    assert_eq!(speaking(Protocol::Kuadrant).tell(&[]), []);
}

#[test]
fn more_hits_than_any_limit_has_are_said_as_the_most() {
    let tpm = of("tpm");
    for amount in [u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
        let in_descriptor = service().ask(&[hits(&tpm, amount)]);
        assert_eq!(said(&in_descriptor[0]).descriptors, [one("free/tpm", u64::from(u32::MAX))]);
        let in_request = speaking(Protocol::Kuadrant).tell(&[hits(&tpm, amount)]);
        assert_eq!(said(&in_request[0]).addend, u32::MAX);
    }
}

/// Returns a question about this number of limits.
fn question(limits: usize) -> Question {
    let all: Vec<_> = (0..limits).map(|number| of(&format!("l{number}"))).collect();
    let asked: Vec<_> = all.iter().map(|of| hits(of, 1)).collect();
    service().ask(&asked).remove(0)
}

fn allowed(limits: usize, answer: &[u8]) -> Result<Vec<bool>, Failure> {
    let answer = question(limits).read(answer)?;
    Ok(answer.decisions.iter().map(|decision| decision.allowed).collect())
}

fn fine() -> PbStatus {
    status(PbCode::Ok, 100, 60, 30)
}

fn over() -> PbStatus {
    status(PbCode::OverLimit, 100, 0, 30)
}

#[test]
fn an_answer_tells_for_each_limit_whether_it_passes_what_is_left_and_for_how_long() {
    let answer = response(PbCode::OverLimit, vec![fine(), over()]);

    let decisions = question(2).read(&answer).unwrap().decisions;

    let reset = Some(Span::from_secs(30));
    let decision =
        |allowed, remaining| Decision { allowed, remaining: Some(remaining), reset, is_known: true };
    assert_eq!(decisions, [decision(true, 60), decision(false, 0)]);
}

#[test]
fn without_statuses_the_overall_code_holds_for_all_limits() {
    assert_eq!(allowed(2, &response(PbCode::Ok, vec![])), Ok(vec![true, true]));
    assert_eq!(allowed(2, &response(PbCode::OverLimit, vec![])), Ok(vec![false, false]));

    let answer = question(1).read(&response(PbCode::Ok, vec![])).unwrap();
    let silent = Decision { allowed: true, remaining: None, reset: None, is_known: true };
    assert_eq!(answer.decisions, [silent]);
}

#[test]
fn limits_without_a_status_pass_if_another_explains_the_refusal() {
    let answer = response(PbCode::OverLimit, vec![fine(), over()]);
    assert_eq!(allowed(4, &answer), Ok(vec![true, false, true, true]));
    assert_eq!(allowed(3, &response(PbCode::Ok, vec![fine()])), Ok(vec![true; 3]));
}

#[test]
fn a_refusal_that_no_status_explains_refuses_all_limits() {
    assert_eq!(allowed(2, &response(PbCode::OverLimit, vec![fine()])), Ok(vec![false, false]));
    assert_eq!(allowed(2, &response(PbCode::OverLimit, vec![fine(), fine()])), Ok(vec![false, false]));
}

#[test]
fn more_statuses_than_limits_are_not_heard() {
    assert_eq!(allowed(1, &response(PbCode::Ok, vec![fine(); 3])), Ok(vec![true]));
    // The refused limit is none of these: the answer is about another one, and refuses.
    assert_eq!(allowed(1, &response(PbCode::OverLimit, vec![fine(), over()])), Ok(vec![false]));
}

#[test]
fn a_status_that_is_over_refuses_nothing_if_the_whole_passes() {
    assert_eq!(allowed(2, &response(PbCode::Ok, vec![over(), fine()])), Ok(vec![true, true]));
}

#[test]
fn an_unknown_code_and_an_empty_message_decide_nothing() {
    assert_eq!(allowed(1, &response(PbCode::Unknown, vec![fine()])), Err(Failure::Undecided));
    assert_eq!(allowed(1, &response(PbCode::Unknown, vec![over()])), Err(Failure::Undecided));
    assert_eq!(allowed(1, b""), Err(Failure::Undecided));
    // overall_code: 7
    assert_eq!(allowed(1, &[0x08, 7]), Err(Failure::Undecided));
}

#[test]
fn garbage_is_unreadable() {
    assert_eq!(allowed(1, b"\xff\xff\xff"), Err(Failure::Unreadable));
    assert_eq!(allowed(1, b"<html>no healthy upstream</html>"), Err(Failure::Unreadable));
    let whole = response(PbCode::Ok, vec![fine()]);
    assert_eq!(allowed(1, &whole[..whole.len() - 1]), Err(Failure::Unreadable));
}

#[test]
fn a_descriptor_that_no_limit_matches_is_not_known_and_passes() {
    let unmatched = PbStatus { code: PbCode::Ok.into(), limit_remaining: u32::MAX, ..PbStatus::default() };
    let answer = response(PbCode::Ok, vec![unmatched, fine()]);

    let decisions = question(2).read(&answer).unwrap().decisions;

    assert_eq!(decisions[0], Decision { allowed: true, remaining: None, reset: None, is_known: false });
    assert!(decisions[1].is_known);
}

#[test]
fn a_status_without_a_limit_tells_what_is_left_only_if_something_is() {
    let left = |limit_remaining| {
        let status = PbStatus { code: PbCode::Ok.into(), limit_remaining, ..PbStatus::default() };
        let decision = question(1).read(&response(PbCode::Ok, vec![status])).unwrap().decisions[0];
        (decision.is_known, decision.remaining)
    };
    assert_eq!(left(0), (true, None));
    assert_eq!(left(7), (true, Some(7)));
}

#[test]
fn headers_are_passed_on() {
    let header = |key: &str, value: &str| core_pb::HeaderValue {
        key: key.to_owned(),
        value: value.to_owned(),
        ..Default::default()
    };
    let answer = pb::RateLimitResponse {
        overall_code: PbCode::OverLimit.into(),
        response_headers_to_add: vec![header("x-ratelimit-limit", "10, 10;w=60")],
        request_headers_to_add: vec![header("x-plan", "gold")],
        ..Default::default()
    };

    let answer = question(1).read(&answer.encode_to_vec()).unwrap();

    let text = |headers: &[HeaderValue]| -> Vec<(String, Vec<u8>)> {
        headers.iter().map(|header| (header.key.clone(), header.value.clone())).collect()
    };
    let expected = |key: &str, value: &[u8]| vec![(key.to_owned(), value.to_vec())];
    assert_eq!(text(&answer.response_headers), expected("x-ratelimit-limit", b"10, 10;w=60"));
    assert_eq!(text(&answer.request_headers), expected("x-plan", b"gold"));
}

#[test]
fn failures_have_the_names_that_metrics_document() {
    let failures = [Failure::Unavailable, Failure::Unreadable, Failure::Undecided];
    for failure in failures {
        assert!(crate::metrics::GLOBAL_FAILURES.meaning.contains(&format!("`{}`", failure.name())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_there_is_a_decision_for_each_limit_or_a_failure(
        limits in 1_usize..5,
        overall in 0_i32..4,
        codes in prop::collection::vec(0_i32..4, 0..7),
        noise in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let statuses: Vec<_> = codes.iter().map(|code| PbStatus { code: *code, ..over() }).collect();
        let message = pb::RateLimitResponse { overall_code: overall, statuses, ..Default::default() };
        let (clean, mut noisy) = (message.encode_to_vec(), message.encode_to_vec());
        noisy.extend(noise);
        let question = question(limits);

        let answer = question.read(&clean);
        match overall {
            1 => prop_assert!(answer.unwrap().decisions.iter().all(|decision| decision.allowed)),
            2 => {
                let decisions = answer.unwrap().decisions;
                prop_assert_eq!(decisions.len(), limits);
                prop_assert!(decisions.iter().any(|decision| !decision.allowed));
            }
            _ => prop_assert_eq!(answer, Err(Failure::Undecided)),
        }
        if let Ok(answer) = question.read(&noisy) {
            prop_assert_eq!(answer.decisions.len(), limits);
        }
    }
}
