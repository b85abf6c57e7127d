//! `ShouldRateLimit`: charges and answers.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use tonic::Code;

use crate::service::{OK, OVER_LIMIT, Service, codes, descriptor, hits, limit, on_both, request};

#[tokio::test]
async fn an_answer_says_the_limit_and_what_is_left_of_it_until_when() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let answer = service.ask([hits(30, descriptor("tpm", "ann"))]).await;
        assert_eq!((answer.overall_code, answer.statuses.len()), (OK, 1));
        let status = &answer.statuses[0];
        assert_eq!((status.code, status.limit_remaining), (OK, 70));
        let limit = status.current_limit.as_ref().unwrap();
        assert_eq!((limit.requests_per_unit, limit.unit(), &*limit.name), (100, Unit::Minute, "tpm"));
        let reset = status.duration_until_reset.as_ref().unwrap();
        assert!((50..=60).contains(&reset.seconds), "{reset:?}");
    })
    .await;
}

#[tokio::test]
async fn a_window_has_its_unit_if_there_is_one() {
    let units = [
        (1, Unit::Second),
        (60, Unit::Minute),
        (3600, Unit::Hour),
        (86_400, Unit::Day),
        (7 * 86_400, Unit::Week),
        (30 * 86_400, Unit::Month),
        (365 * 86_400, Unit::Year),
        (90, Unit::Unknown),
    ];
    let limits: String =
        units.iter().map(|(seconds, _)| limit(&format!("w{seconds}"), 1, *seconds)).collect();
    let service = Service::start(&limits, &[]).await;
    for (seconds, unit) in units {
        let answer = service.ask([descriptor(&format!("w{seconds}"), "ann")]).await;
        assert_eq!(answer.statuses[0].current_limit.as_ref().unwrap().unit(), unit, "{seconds} seconds");
    }
}

#[tokio::test]
async fn a_descriptor_without_hits_is_charged_those_of_the_call_and_at_least_one() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        let answer = service.should_rate_limit(request(40, [ann.clone()])).await.unwrap();
        assert_eq!(answer.statuses[0].limit_remaining, 60);
        let answer = service.should_rate_limit(request(0, [ann])).await.unwrap();
        assert_eq!(answer.statuses[0].limit_remaining, 59);
    })
    .await;
}

#[tokio::test]
async fn hits_of_a_descriptor_count_instead_of_those_of_the_call() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = hits(5, descriptor("tpm", "ann"));
        let answer = service.should_rate_limit(request(40, [ann])).await.unwrap();
        assert_eq!(answer.statuses[0].limit_remaining, 95);
    })
    .await;
}

#[tokio::test]
async fn a_descriptor_with_no_hits_is_only_looked_at_and_fits_while_nothing_is_exceeded() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        assert_eq!(service.left(ann.clone()).await, 100);
        service.ask([hits(100, ann.clone())]).await;
        for _ in 0..2 {
            let answer = service.ask([hits(0, ann.clone())]).await;
            assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_not_charged() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        service.ask([hits(90, ann.clone())]).await;
        let answer = service.ask([hits(11, ann.clone())]).await;
        assert_eq!((answer.overall_code, codes(&answer)), (OVER_LIMIT, vec![OVER_LIMIT]));
        assert_eq!(answer.statuses[0].limit_remaining, 10);
        assert_eq!(service.ask([hits(10, ann)]).await.overall_code, OK);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_counted_if_the_service_shall_do_so() {
    let service = Service::start(&limit("tpm", 100, 60), &["--charge-over"]).await;
    let ann = descriptor("tpm", "ann");
    service.ask([hits(90, ann.clone())]).await;
    assert_eq!(service.ask([hits(11, ann.clone())]).await.overall_code, OVER_LIMIT);
    let look = service.ask([hits(0, ann)]).await;
    assert_eq!((look.overall_code, look.statuses[0].limit_remaining), (OVER_LIMIT, 0));
}

#[tokio::test]
async fn several_descriptors_are_charged_all_or_none_and_each_has_its_own_status() {
    let limits = limit("tpm", 100, 60) + &limit("rpm", 2, 60);
    on_both(&limits, async |service| {
        let [tokens, requests] = [descriptor("tpm", "ann"), descriptor("rpm", "ann")];
        let call = [hits(10, tokens.clone()), hits(1, requests.clone())];
        for _ in 0..2 {
            assert_eq!(codes(&service.ask(call.clone()).await), [OK, OK]);
        }
        let refused = service.ask(call.clone()).await;
        assert_eq!((refused.overall_code, codes(&refused)), (OVER_LIMIT, vec![OK, OVER_LIMIT]));
        assert_eq!([service.left(tokens).await, service.left(requests).await], [80, 0]);
    })
    .await;
}

#[tokio::test]
async fn descriptors_of_one_budget_add_up() {
    on_both(&limit("tpm", 100, 60), async |service| {
        let half = hits(60, descriptor("tpm", "ann"));
        let answer = service.ask([half.clone(), half.clone()]).await;
        assert_eq!((answer.overall_code, codes(&answer)), (OVER_LIMIT, vec![OK, OVER_LIMIT]));
        assert_eq!(service.left(half).await, 100);
    })
    .await;
}

#[tokio::test]
async fn every_caller_has_a_budget_of_its_own() {
    on_both(&limit("tpm", 100, 60), async |service| {
        service.ask([hits(100, descriptor("tpm", "ann"))]).await;
        assert_eq!(service.left(descriptor("tpm", "bob")).await, 100);
    })
    .await;
}

#[tokio::test]
async fn of_several_limits_the_one_with_least_left_is_told_and_all_are_charged() {
    let daily = limit("tpm", 30, 86_400).replace("name: tpm", "name: daily");
    on_both(&(limit("tpm", 20, 60) + &daily), async |service| {
        let ann = descriptor("tpm", "ann");
        let answer = service.ask([hits(15, ann.clone())]).await;
        assert_eq!(answer.statuses[0].limit_remaining, 5);
        assert_eq!(answer.statuses[0].current_limit.as_ref().unwrap().name, "tpm");
        // Both are over, so the caller waits for the longer one.
        let answer = service.ask([hits(16, ann)]).await;
        assert_eq!(answer.statuses.len(), 1);
        assert_eq!(answer.statuses[0].current_limit.as_ref().unwrap().name, "daily");
    })
    .await;
}

#[tokio::test]
async fn a_descriptor_without_a_limit_is_always_within_it() {
    on_both(&limit("tpm", 1, 60), async |service| {
        let other_domain =
            RateLimitRequest { domain: "other".to_owned(), ..request(9, [descriptor("tpm", "ann")]) };
        for request in [request(9, [descriptor("unknown", "ann")]), other_domain] {
            let answer = service.should_rate_limit(request).await.unwrap();
            assert_eq!(codes(&answer), [OK]);
            let status = &answer.statuses[0];
            assert_eq!((status.limit_remaining, &status.current_limit), (u32::MAX, &None));
        }
    })
    .await;
}

#[tokio::test]
async fn amounts_that_nothing_can_hold_are_refused_and_leave_the_counter_whole() {
    const MOST: u64 = 1 << 52;
    on_both(&limit("tpm", MOST, 60), async |service| {
        let ann = descriptor("tpm", "ann");
        assert_eq!(service.ask([hits(1, ann.clone())]).await.overall_code, OK);
        for amount in [u64::MAX, MOST] {
            assert_eq!(service.ask([hits(amount, ann.clone())]).await.overall_code, OVER_LIMIT);
        }
        let answer = service.ask([hits(MOST - 1, ann.clone())]).await;
        assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 0));
        assert_eq!(service.ask([hits(1, ann)]).await.overall_code, OVER_LIMIT);
    })
    .await;
}

#[tokio::test]
async fn a_budget_is_whole_again_when_its_window_has_ended() {
    on_both(&limit("tps", 10, 1), async |service| {
        let ann = descriptor("tps", "ann");
        service.ask([hits(10, ann.clone())]).await;
        let whole_again = async { while service.left(ann.clone()).await != 10 {} };
        tokio::time::timeout(tollgate_rig::client::PATIENCE, whole_again).await.unwrap();
        let answer = service.ask([hits(10, ann)]).await;
        assert_eq!((answer.overall_code, answer.statuses[0].limit_remaining), (OK, 0));
    })
    .await;
}

#[tokio::test]
async fn a_call_without_a_domain_is_unknown() {
    let service = Service::start(&limit("tpm", 1, 60), &[]).await;
    let nameless = RateLimitRequest { domain: String::new(), ..request(1, [descriptor("tpm", "ann")]) };
    let answer = service.should_rate_limit(nameless).await.unwrap();
    assert_eq!((answer.overall_code, answer.statuses.len()), (0, 0));
}

#[tokio::test]
async fn what_cannot_be_done_as_asked_is_refused_and_charges_nothing() {
    let service = Service::start(&limit("tpm", 100, 60), &[]).await;
    let empty = service.should_rate_limit(request(1, [])).await;
    assert_eq!(empty.unwrap_err().code(), Code::InvalidArgument);

    let ann = descriptor("tpm", "ann");
    let mut with_limit = ann.clone();
    with_limit.limit = Some(RateLimitOverride { requests_per_unit: 5, unit: 2 });
    let refused = service.should_rate_limit(request(1, [ann.clone(), with_limit])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(service.left(ann).await, 100);
}
