//! Many clients at once, also on two Envoys that share the budgets of one rate limit service.

use std::time::Duration;

use tollgate_rig::client::Request;
use tollgate_rig::envoy::{Bootstrap, Envoy};
use tollgate_rig::load::Load;
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::rate_limits::{Limit, ScriptedService};
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

/// Envoy's own filter for rate limit services, which asks for one hit per call.
const NATIVE: &str = "
- name: envoy.filters.http.ratelimit
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
    domain: tollgate
    timeout: 30s
    failure_mode_deny: true
    rate_limit_service:
      transport_api_version: V3
      grpc_service: { envoy_grpc: { cluster_name: ratelimit } }
";
const NATIVE_ROUTE: &str = "
rate_limits:
- actions:
  - generic_key: { descriptor_key: tollgate_limit, descriptor_value: free/rpm }
  - request_headers: { descriptor_key: tenant, header_name: x-tenant-id }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_envoys_of_one_configuration_share_a_budget_and_survive_the_service() {
    let mock = MockLlm::start().await;
    let mut service = ScriptedService::start([Limit::new("free/rpm", 50, Duration::from_secs(31_536_000))]);
    let bootstrap = Bootstrap::to(mock.address())
        .filters_before(NATIVE)
        .route(NATIVE_ROUTE)
        .grpc_cluster("ratelimit", service.address())
        .concurrency(2);
    let (one, other) = tokio::join!(Envoy::start(bootstrap.clone()), Envoy::start(bootstrap));
    let load = Load::on([one.address(), other.address()]).clients(16);
    let list = |_: usize, _: usize| Request::get("/v1/models").header("x-tenant-id", "ada");

    let outcomes = load.clone().calls(10).run(list).await;
    assert_eq!((outcomes.count(200), outcomes.count(429)), (50, 110), "{:?}", outcomes.statuses());
    assert!(outcomes.to_headers(0.5) <= outcomes.to_headers(1.0));
    assert_eq!(service.count(&[("tollgate_limit", "free/rpm"), ("tenant", "ada")]), 160);
    for envoy in [&one, &other] {
        let asked = envoy.metrics().await.sum("envoy_cluster_ratelimit_over_limit", &[]);
        assert!(asked > 0.0, "both Envoys ask");
    }

    service.stop().await;
    let outcomes = load.clone().calls(2).run(list).await;
    assert_eq!(outcomes.count(500), 32, "{:?}", outcomes.statuses());
    assert_eq!(service.requests().len(), 160);
    service.start_again();
    let outcomes = load.calls(2).run(list).await;
    assert_eq!(outcomes.count(429), 32, "{:?}", outcomes.statuses());
}

#[tokio::test]
async fn a_load_goes_on_until_the_signal() {
    let mock = MockLlm::start().await;
    let done = Signal::new();
    let load = Load::on([mock.address()]).clients(4).until(&done);
    let list = |_: usize, call: usize| Request::get(&format!("/v1/models?call={call}"));

    let (outcomes, ()) = tokio::join!(load.run(list), async {
        mock.wait_for(40).await;
        done.fire();
    });

    assert!(outcomes.0.len() >= 40);
    assert_eq!(outcomes.count(200), outcomes.0.len());
    let of_last: Vec<_> = outcomes.0.iter().filter(|o| o.client == 3).map(|o| o.call).collect();
    assert_eq!(of_last, (0..of_last.len()).collect::<Vec<_>>());
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[tokio::test]
async fn a_connection_that_is_closed_between_two_calls_is_made_anew() {
    let once = Script::new().read_request().write(OK);
    let upstream = ScriptedUpstream::start([once]).await;

    let outcomes = Load::on([upstream.address()]).calls(3).run(|_, _| Request::get("/")).await;

    assert_eq!((outcomes.count(200), upstream.heard().len()), (3, 3));
}

#[tokio::test]
#[should_panic(expected = "call 1 of client 0: the exchange broke")]
async fn a_call_that_breaks_ends_the_test() {
    let (once, broken) = (Script::new().read_request().write(OK), Script::new().read_request());
    let upstream = ScriptedUpstream::start([once, broken]).await;

    Load::on([upstream.address()]).calls(3).run(|_, _| Request::get("/")).await;
}
