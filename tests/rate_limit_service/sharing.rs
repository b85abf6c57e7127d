//! Many calls at once, several services on one Redis, and equal behaviour of both storages.

use core::cell::Cell;

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::{Commands as _, Connection};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tollgate_rig::redis::Redis;
use tonic::Code;

use crate::service::{OK, OVER_LIMIT, Service, back, descriptor, hits, limit, on_both, request};

/// Sends 64 parallel calls for 7 hits each to these services, and returns how many are admitted.
async fn admitted(services: &[&Service]) -> usize {
    let mut asking = JoinSet::new();
    for service in services.iter().cycle().take(64) {
        asking.spawn(service.asking(request(0, [hits(7, descriptor("tpm", "ann"))])));
    }
    asking.join_all().await.iter().filter(|answer| answer.overall_code == OK).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_get_the_budget_and_no_more() {
    on_both(&limit("tpm", 150, 3600), async |service| {
        assert_eq!(admitted(&[service]).await, 21);
        assert_eq!(service.left(descriptor("tpm", "ann")).await, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_redis_share_the_budget() {
    let (limits, redis) = (limit("tpm", 150, 3600), Redis::start());
    let options = ["--redis", &redis.url()];
    let services = [Service::start(&limits, &options).await, Service::start(&limits, &options).await];
    assert_eq!(admitted(&services.each_ref()).await, 21);
    for service in &services {
        assert_eq!(service.left(descriptor("tpm", "ann")).await, 3);
    }
}

#[tokio::test]
async fn every_key_in_redis_is_named_after_its_namespace_and_goes_with_its_window() {
    let redis = Redis::start();
    let service = Service::start(&limit("tpm", 100, 60), &["--redis", &redis.url()]).await;
    let ann = descriptor("tpm", "ann");
    service.ask([hits(0, descriptor("tpm", "only looked at"))]).await;
    service.ask([back(hits(1, descriptor("tpm", "nothing to give back")))]).await;
    service.ask([hits(50, ann.clone())]).await;
    service.ask([back(hits(10, ann.clone()))]).await;
    service.kuadrant("Report", request(5, [ann])).await.unwrap();

    let mut connection: Connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = connection.keys("*").unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].starts_with("tollgate:{tollgate}:"), "{keys:?}");
    let left: i64 = connection.pttl(&keys[0]).unwrap();
    assert!((1..=60_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn a_service_whose_redis_is_gone_is_unavailable() {
    let redis = Redis::start();
    let service = Service::start(&limit("tpm", 100, 60), &["--redis", &redis.url()]).await;
    let ann = [descriptor("tpm", "ann")];
    assert_eq!(service.ask(ann.clone()).await.overall_code, OK);
    drop(redis);
    for _ in 0..3 {
        assert_eq!(
            service.should_rate_limit(request(1, ann.clone())).await.unwrap_err().code(),
            Code::Unavailable
        );
        let report = service.kuadrant("Report", request(1, ann.clone())).await;
        assert_eq!(report.unwrap_err().code(), Code::Unavailable);
    }
}

/// A call of a random sequence: the method, and for each descriptor the limit, the hits, and
/// whether they are a refund.
type Call = (Method, Vec<(usize, u64, bool)>);

#[derive(Clone, Copy, Debug)]
enum Method {
    Ask,
    Check,
    Report,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let method = prop_oneof![4 => Just(Method::Ask), 1 => Just(Method::Check), 1 => Just(Method::Report)];
    let descriptor =
        (0..3_usize, prop_oneof![9 => 0..30_u64, 1 => any::<u64>()], proptest::bool::weighted(0.3));
    prop::collection::vec((method, prop::collection::vec(descriptor, 1..4)), 1..20)
}

async fn make(service: &Service, user: &str, (method, descriptors): &Call) -> RateLimitResponse {
    let plain = |limit: usize| descriptor(["tpm", "rpm", "none"][limit], user);
    let with_hits: Vec<_> = descriptors
        .iter()
        .map(|&(limit, amount, is_back)| {
            let descriptor = hits(amount, plain(limit));
            if is_back { back(descriptor) } else { descriptor }
        })
        .collect();
    let without: Vec<_> = descriptors.iter().map(|&(limit, ..)| plain(limit)).collect();
    let amount = u32::try_from(descriptors[0].1).unwrap_or(u32::MAX);
    let answer = match method {
        Method::Ask => service.should_rate_limit(request(0, with_hits)).await,
        Method::Check => service.kuadrant("CheckRateLimit", request(amount, without)).await,
        Method::Report => service.kuadrant("Report", request(amount, without)).await,
    };
    let mut answer = answer.unwrap();
    // The windows do not begin at the same moment.
    answer.statuses.iter_mut().for_each(|status| status.duration_until_reset = None);
    answer
}

#[test]
fn whatever_is_called_both_storages_answer_the_same() {
    let runtime = Runtime::new().unwrap();
    let redis = Redis::start();
    let limits = limit("tpm", 100, 86_400) + &limit("rpm", 10, 3600);
    let in_memory = runtime.block_on(Service::start(&limits, &[]));
    let on_redis = runtime.block_on(Service::start(&limits, &["--redis", &redis.url()]));
    let (cases, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&calls(), |calls| {
        // A new caller for each case, whose budgets are full.
        let user = format!("{}", cases.replace(cases.get() + 1));
        for call in &calls {
            let expected = runtime.block_on(make(&in_memory, &user, call));
            prop_assert_eq!(&expected, &runtime.block_on(make(&on_redis, &user, call)), "{:?}", call);
            refused.set(refused.get() + u32::from(expected.overall_code == OVER_LIMIT));
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(refused.get() > 0, "no call was ever refused");
}
