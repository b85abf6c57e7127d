//! Two Envoys of four workers each that share one budget, with the example rate limit service,
//! which counts in a real Redis.
//!
//! Here: the common setup of these tests. In: a configuration of the filter. Out: the fleet, calls
//! of a known cost, and the service's counts. The service has the limits that `make
//! ratelimit-config` writes from that configuration. It is the example's own program (`cargo test`
//! builds it, `cargo test --test e2e` does not).

mod budgets;
mod leases;
mod outages;
mod reloads;

use core::time::Duration;

use redis::Commands as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tollgate::settings::Config;
use tollgate_rig::client::{PATIENCE, Request};
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use tollgate_rig::load::{Load, Outcomes};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::redis::Redis;
use tollgate_rig::service::RateLimitService;
use tollgate_rig::upstream::Signal;

use crate::bench::{bootstrap, chat_with};
use crate::probe::INPUT;

/// The number of clients that call at once.
const CLIENTS: usize = 64;

/// The interval between two polls.
const POLL: Duration = Duration::from_millis(5);

/// Two Envoys with their clients' upstream, the service and its Redis.
struct Fleet {
    envoys: [Envoy; 2],
    mock: MockLlm,
    service: RateLimitService,
    redis: Redis,
}

impl Fleet {
    /// Starts a fleet with this filter configuration in YAML, and these options of the service
    /// besides its Redis.
    async fn start(configuration: &str, options: &[&str]) -> Self {
        Self::with(configuration, options, |bootstrap| bootstrap).await
    }

    /// Does the same as [`Fleet::start`], for [`Fleet::reload`].
    async fn reloadable(configuration: &str) -> Self {
        Self::with(configuration, &[], Bootstrap::reloadable).await
    }

    async fn with(
        configuration: &str,
        options: &[&str],
        change: impl FnOnce(Bootstrap) -> Bootstrap,
    ) -> Self {
        let (mock, redis) = (MockLlm::start().await, Redis::start());
        let url = redis.url();
        let options = [&["--redis", &url], options].concat();
        let service = RateLimitService::start_with(&known_to_service(configuration), &options).await;
        let setup = change(setup(configuration, &mock, &service));
        let (one, other) = tokio::join!(Envoy::start(setup.clone()), Envoy::start(setup));
        Self { envoys: [one, other], mock, service, redis }
    }

    /// Gives one of the Envoys another configuration. Returns whether the Envoy accepts it.
    async fn reload(&self, envoy: usize, configuration: &str) -> bool {
        self.envoys[envoy].reload(&setup(configuration, &self.mock, &self.service)).await
    }

    /// Returns a load of [`CLIENTS`] clients, half of them at each Envoy.
    fn load(&self) -> Load {
        Load::on(self.envoys.each_ref().map(Envoy::address)).clients(CLIENTS)
    }

    /// Makes calls at both Envoys until the signal.
    fn calls_until(&self, done: &Signal, tokens: u64) -> JoinHandle<Outcomes> {
        let load = self.load().until(done);
        tokio::spawn(async move { load.run(move |_, _| call_of("ada", tokens)).await })
    }

    /// Makes a call at the Envoy with this number. Returns the status, and the wait if the answer
    /// has one.
    async fn call(&self, envoy: usize, request: Request) -> (u16, Option<u64>) {
        let address = self.envoys[envoy].address();
        let mut response = tollgate_rig::client::send(address, request).await.unwrap();
        response.body().await.unwrap();
        (response.status(), response.header("retry-after").map(|seconds| seconds.parse().unwrap()))
    }

    /// Returns a metric summed over both Envoys.
    async fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        let [one, other] = &self.envoys;
        let (one, other) = tokio::join!(one.metrics(), other.metrics());
        (one.sum(metric, labels) + other.sum(metric, labels)) as u64
    }

    /// Does the same while there are calls, which may not all be counted yet.
    async fn sum_so_far(&self, metric: &str, labels: &[(&str, &str)]) -> u64 {
        let [one, other] = &self.envoys;
        let (one, other) = tokio::join!(one.metrics_so_far(), other.metrics_so_far());
        (one.sum(metric, labels) + other.sum(metric, labels)) as u64
    }

    /// Waits until a metric summed over both Envoys satisfies `condition`.
    async fn wait_for_sum(&self, metric: &str, labels: &[(&str, &str)], condition: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sum = self.sum_so_far(metric, labels).await;
            if condition(sum) {
                return;
            }
            assert!(Instant::now() < deadline, "{metric} {labels:?} stays {sum}");
            sleep(POLL).await;
        }
    }

    /// Returns the count of a tenant's budget in Redis.
    fn spent(&self, limit: &str, tenant: &str) -> u64 {
        let mut redis = redis::Client::open(self.redis.url()).unwrap().get_connection().unwrap();
        let keys: Vec<String> = redis.keys("tollgate:*").unwrap();
        let is_of =
            |key: &String| key.contains(&format!("'free/{limit}'")) && key.contains(&format!("\"{tenant}\""));
        let found: Vec<_> = keys.iter().filter(|key| is_of(key)).collect();
        assert!(found.len() <= 1, "{found:?} of {keys:?}");
        found.first().map_or(0, |key| redis.get::<_, u64>(key).unwrap())
    }

    /// Waits until the Envoys have reported the used tokens and returned the unused ones.
    async fn wait_for_spent(&self, limit: &str, tenant: &str, used: u64) {
        self.wait_until_spent(limit, tenant, |spent| spent == used).await;
    }

    /// Waits until the count in Redis satisfies `condition`. Returns the count.
    async fn wait_until_spent(&self, limit: &str, tenant: &str, condition: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let spent = self.spent(limit, tenant);
            if condition(spent) {
                return spent;
            }
            assert!(Instant::now() < deadline, "{spent} of {limit} stay counted for {tenant}");
            sleep(POLL).await;
        }
    }
}

fn setup(configuration: &str, mock: &MockLlm, service: &RateLimitService) -> Bootstrap {
    let bootstrap = bootstrap(mock.address(), Filter::yaml(configuration));
    bootstrap.grpc_cluster("ratelimit", service.address())
}

#[path = "../../../../cli/src/servers/mod.rs"]
mod servers;

/// Returns the service's configuration, as `make ratelimit-config` writes it.
fn known_to_service(configuration: &str) -> String {
    let json: Value = serde_saphyr::from_str(configuration).unwrap();
    let config = Config::read(json.to_string().as_bytes(), b"").unwrap();
    let limits: Vec<_> =
        config.tiers.all().iter().flat_map(|tier| &tier.global).map(|global| global.limit.clone()).collect();
    let domain = &config.global.unwrap().domain;
    servers::ratelimit(domain, &limits).expect("limits that the other server can have, too");
    servers::limitador(domain, &limits).unwrap()
}

/// Returns a configuration with a daily budget of tokens and one of requests for each tenant, and
/// these options of `global`, in flow style. The timeout is longer than any answer takes, so that
/// decisions do not depend on the load of the machine.
fn budgets(tokens: u64, requests: u64, options: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
global: {{ cluster: ratelimit, timeout: 10s{options} }}
tiers:
  free:
    limits:
    - {{ name: tpd, count: tokens, per: tenant, max: {tokens}, window: 1d, scope: global }}
    - {{ name: rpd, count: requests, per: tenant, max: {requests}, window: 1d, scope: global }}
"
    )
}

/// More requests than any test makes.
const PLENTY: u64 = 1_000_000;

/// Returns a call that holds and uses this many tokens.
fn call_of(tenant: &str, tokens: u64) -> Request {
    let output = tokens - INPUT;
    chat_with(tenant, json!({ "max_tokens": output })).header("x-mock-output-tokens", output.to_string())
}

/// The decisions of calls, by kind.
const DECISIONS: &str = "tollgate_global_decisions_total";

/// The requests to the service.
const REQUESTS: &str = "tollgate_global_requests_total";

/// Returns the number of admitted calls.
fn admitted(outcomes: &Outcomes) -> u64 {
    let statuses = outcomes.statuses();
    assert!(statuses.keys().all(|status| [200, 429].contains(status)), "{statuses:?}");
    outcomes.count(200) as u64
}
