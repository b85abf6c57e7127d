//! The service as other tests run it through the rig: killed and restarted, and so is its Redis.

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tokio::time::timeout;
use tollgate_rig::client::PATIENCE;
use tollgate_rig::redis::Redis;
use tollgate_rig::service::RateLimitService;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::service::{OK, OVER_LIMIT, descriptor, hits, limit, request};

/// Asks for `amount` of a budget of 100, on a new connection.
async fn ask(service: &RateLimitService, amount: u64) -> Result<RateLimitResponse, Status> {
    let channel = Channel::from_shared(format!("http://{}", service.address())).unwrap();
    let mut client = RateLimitServiceClient::new(channel.connect_lazy());
    let asked = [hits(amount, descriptor("tpm", "ann"))];
    client.should_rate_limit(request(0, asked)).await.map(tonic::Response::into_inner)
}

async fn left(service: &RateLimitService) -> u32 {
    ask(service, 0).await.unwrap().statuses[0].limit_remaining
}

#[tokio::test]
async fn who_asks_a_killed_service_is_refused_a_connection_until_it_is_back_on_its_port() {
    let redis = Redis::start();
    let mut service = RateLimitService::start(&limit("tpm", 100, 3600), Some(&redis.url())).await;
    let address = service.address();
    assert_eq!(ask(&service, 30).await.unwrap().overall_code, OK);

    service.kill();
    assert_eq!(ask(&service, 30).await.unwrap_err().code(), Code::Unavailable);
    service.restart().await;

    assert_eq!((service.address(), left(&service).await), (address, 70));
}

#[tokio::test]
async fn what_a_service_without_redis_has_counted_goes_with_it() {
    let mut service = RateLimitService::start(&limit("tpm", 100, 3600), None).await;
    assert_eq!(ask(&service, 30).await.unwrap().overall_code, OK);

    service.restart().await;

    assert_eq!(left(&service).await, 100);
}

#[tokio::test]
async fn a_service_counts_again_when_its_redis_is_back_which_has_forgotten_everything() {
    let mut redis = Redis::start();
    let (url, limits) = (redis.url(), limit("tpm", 100, 3600));
    let service = RateLimitService::start(&limits, Some(&url)).await;
    assert_eq!(ask(&service, 30).await.unwrap().overall_code, OK);

    redis.kill();
    assert_eq!(ask(&service, 30).await.unwrap_err().code(), Code::Unavailable);
    redis.restart();

    assert_eq!(redis.url(), url);
    // The first request finds the broken connection, and the service reconnects.
    let back = async { while ask(&service, 0).await.is_err() {} };
    timeout(PATIENCE, back).await.expect("the service finds the Redis that is back");
    assert_eq!(left(&service).await, 100);
}

#[tokio::test]
async fn it_has_the_options_that_it_is_started_with() {
    let service = RateLimitService::start_with(&limit("tpm", 100, 3600), &["--charge-over"]).await;

    assert_eq!(ask(&service, 130).await.unwrap().overall_code, OVER_LIMIT);

    assert_eq!(left(&service).await, 0);
}
