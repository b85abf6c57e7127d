//! The rate limit service and its counts.
//!
//! In: whether Redis is installed. Out: a running service that the demo can kill, restart and
//! query. Not here: the Envoys' requests to it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::google::protobuf::UInt64Value;
use tollgate_rig::client::PATIENCE;
use tollgate_rig::redis::Redis;
use tollgate_rig::service::RateLimitService;
use tonic::transport::Channel;

use crate::stage::Caller;

/// A running service.
pub(crate) struct Service {
    pub(crate) process: RateLimitService,
    client: RateLimitServiceClient<Channel>,
    // Stopped after the service.
    redis: Option<Redis>,
}

impl Service {
    /// Starts the service with the limits written from the configuration, on Redis if it is
    /// installed.
    pub(crate) async fn start() -> Self {
        let redis = Redis::is_installed().then(Redis::start);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/ratelimit/limitador.yaml");
        let limits = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let process = RateLimitService::start(&limits, redis.as_ref().map(Redis::url).as_deref()).await;
        let channel = Channel::from_shared(format!("http://{}", process.address()));
        let channel = channel.expect("an address makes a URI").connect_lazy();
        Self { process, client: RateLimitServiceClient::new(channel), redis }
    }

    /// Returns whether counts survive a restart.
    pub(crate) const fn keeps(&self) -> bool {
        self.redis.is_some()
    }

    /// Returns the tokens that the service has counted for a caller today. A request with 0 hits
    /// does not count.
    pub(crate) async fn counted(&self, caller: Caller) -> u64 {
        let entries =
            [("tollgate_limit", format!("{}/day", caller.tier)), ("tenant", caller.tenant.to_owned())];
        let descriptor = RateLimitDescriptor {
            entries: entries.map(|(key, value)| Entry { key: key.to_owned(), value }).into(),
            hits_addend: Some(UInt64Value { value: 0 }),
            ..RateLimitDescriptor::default()
        };
        let request = RateLimitRequest {
            domain: "tollgate".to_owned(),
            descriptors: vec![descriptor],
            ..RateLimitRequest::default()
        };
        let answer = self.client.clone().should_rate_limit(request).await;
        let answer = answer.unwrap_or_else(|error| panic!("the rate limit service: {error}")).into_inner();
        let left = answer.statuses.first().expect("a status for each descriptor").limit_remaining;
        caller.per_day.saturating_sub(u64::from(left))
    }

    /// Waits until the service has counted `count`, for reports in the background. Returns its
    /// count, even after the deadline.
    pub(crate) async fn wait_for(&self, caller: Caller, count: u64) -> u64 {
        self.wait_until(caller, |counted| counted == count).await
    }

    /// Waits until `is_enough` accepts the service's count. Returns the count, even after the
    /// deadline.
    pub(crate) async fn wait_until(&self, caller: Caller, is_enough: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counted = self.counted(caller).await;
            if is_enough(counted) || Instant::now() > deadline {
                return counted;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
