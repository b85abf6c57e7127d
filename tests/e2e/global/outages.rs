//! Outages of the service, clients that leave while they wait, and events in Envoy meanwhile.

use core::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tollgate_rig::client::raw::RawConnection;
use tollgate_rig::client::{self, Client, ClientError, PATIENCE};
use tollgate_rig::envoy::{Envoy, Filter};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::rate_limits::{Behaviour, Method, ScriptedService};
use tollgate_rig::upstream::Signal;

use super::{PATIENT, call, calls, limits, of, tokens, tpd};
use crate::bench::{Bench, bootstrap, trap_module};

const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Returns options that open the breaker after three failures and probe every [`PROBE_EVERY`].
/// Refused calls send no reports, so the service sees only calls.
fn breaking(on_failure: &str) -> String {
    let breaker = "breaker: { failures: 3, probe_every: 500ms }";
    format!(", timeout: 10s, on_failure: {on_failure}, {breaker}")
}

async fn breaker(bench: &Bench, kind: &str) -> f64 {
    bench.envoy.metrics().await.sum("tollgate_global_breaker_total", &[("kind", kind)])
}

#[tokio::test]
async fn a_worker_stops_asking_after_failures_in_a_row_but_for_probes() {
    let service = ScriptedService::start([tpd(100_000)]);
    let bench = Bench::with_service(&tokens(100_000, &breaking("deny")), &service).await;
    service.behave(Behaviour::Status(14));
    // One connection stays on one worker.
    let mut client = bench.client().await;
    let mut status = async || {
        let mut response = client.send(call("ada", 30, 30)).await.unwrap();
        response.body().await.unwrap();
        response.status()
    };

    for _ in 0..3 {
        assert_eq!(status().await, 429);
    }
    let open_since = Instant::now();
    assert_eq!((calls(&service), breaker(&bench, "opened").await), (3, 1.0));
    // Runs until two probes have failed.
    let mut refused = 0;
    while calls(&service) < 5 {
        assert_eq!(status().await, 429);
        refused += 1;
        assert!(open_since.elapsed() < PATIENCE, "no probes");
    }
    let elapsed = open_since.elapsed();
    assert!(elapsed > PROBE_EVERY, "two probes within {elapsed:?}");
    let not_asked = |metrics: &tollgate_rig::envoy::Metrics| {
        metrics.sum("tollgate_global_failures_total", &[("kind", "not_asked")])
    };
    assert_eq!(not_asked(&bench.envoy.metrics().await), f64::from(refused - 2));

    // The next probe succeeds.
    service.behave(Behaviour::Answer);
    let back = Instant::now();
    while status().await != 200 {
        assert!(back.elapsed() < PATIENCE, "it never asks again");
    }
    assert!(back.elapsed() < PROBE_EVERY * 3, "{:?}", back.elapsed());
    assert_eq!((breaker(&bench, "opened").await, breaker(&bench, "closed").await), (1.0, 1.0));
    let asked = calls(&service);
    assert_eq!(status().await, 200);
    assert_eq!(calls(&service), asked + 1);
}

/// Makes calls on several workers during an outage, by a protocol.
async fn is_told_when_it_is_back(protocol: &str) {
    let mut service = ScriptedService::start([tpd(100_000)]);
    let options = format!(", protocol: {protocol}{}", breaking("allow"));
    let bench = Bench::with_service(&tokens(100_000, &options), &service).await;
    assert_eq!(bench.json(call("ada", 30, 30)).await.0.status(), 200);
    service.wait_for_count(&of("ada"), 30).await;
    service.stop().await;

    for _ in 0..12 {
        assert_eq!(bench.json(call("ada", 30, 50)).await.0.status(), 200);
    }
    service.start_again();

    service.wait_for_count(&of("ada"), 30 + 12 * 50).await;
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_global_reports_total", &[("kind", "dropped")]), 0.0);
}

#[tokio::test]
async fn with_envoy_what_was_used_while_the_service_was_gone_is_told_when_it_is_back() {
    is_told_when_it_is_back("envoy").await;
}

#[tokio::test]
async fn with_kuadrant_what_was_used_while_the_service_was_gone_is_told_when_it_is_back() {
    is_told_when_it_is_back("kuadrant").await;
}

#[tokio::test]
async fn a_service_that_comes_back_is_asked_again_within_the_probe_interval() {
    let mut service = ScriptedService::start([tpd(100_000)]);
    let bench = Bench::with_service(&tokens(100_000, &breaking("deny")), &service).await;
    let mut client = bench.client().await;
    let mut status = async || {
        let mut response = client.send(call("ada", 30, 30)).await.unwrap();
        response.body().await.unwrap();
        response.status()
    };
    assert_eq!(status().await, 200);
    service.stop().await;
    while breaker(&bench, "opened").await == 0.0 {
        assert_eq!(status().await, 429);
    }

    service.start_again();
    let back = Instant::now();
    while status().await != 200 {
        assert!(back.elapsed() < PATIENCE, "it never asks again");
    }

    // One interval, and the same again for a busy machine.
    assert!(back.elapsed() < PROBE_EVERY * 3, "{:?}", back.elapsed());
}

/// Waits until no request to the service is in flight.
async fn nothing_under_way(envoy: &Envoy) {
    let active = ("envoy_cluster_upstream_rq_active", [("envoy_cluster_name", "ratelimit")]);
    envoy.wait_for_metrics(|metrics| metrics.sum(active.0, &active.1) == 0.0).await;
}

#[tokio::test]
async fn a_client_that_goes_while_its_call_waits_gives_back_what_it_held_here() {
    let service = ScriptedService::start([tpd(100_000)]);
    let here = "{ name: here, count: requests, max: 10, window: 30d },";
    let global = "{ name: tpd, count: tokens, per: tenant, max: 100_000, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{here} {global}"), PATIENT), &service).await;
    // The answer arrives long after the client has left.
    let gone = Signal::new();
    service.script([Behaviour::Until(gone.clone()), Behaviour::Until(gone.clone())]);

    let mut http2 = Client::http2(bench.envoy.address()).await.unwrap();
    let waiting = tokio::spawn(async move { http2.send(call("ada", 30, 30)).await.map(|_| ()) });
    service.wait_for_calls(Method::ShouldRateLimit, 1).await;
    waiting.abort();
    let body =
        r#"{"model":"gpt-4o","max_tokens":20,"messages":[{"role":"user","content":"Say something."}]}"#;
    let mut http1 = RawConnection::open(bench.envoy.address()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-tenant-id: bob\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    http1.write(format!("{head}{body}").as_bytes()).await.unwrap();
    service.wait_for_calls(Method::ShouldRateLimit, 2).await;
    http1.reset().unwrap();

    bench.wait_for_calls("client_abort", 2).await;
    gone.fire();
    nothing_under_way(&bench.envoy).await;
    assert!(bench.mock.received().is_empty());
    // The service's charges stay; of the requests allowed here, none was used.
    assert_eq!((service.count(&of("ada")), service.count(&of("bob"))), (30, 30));
    let (response, _) = bench.json(call("ada", 30, 30)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("9"));
    assert_eq!(bench.envoy.metrics().await.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
}

#[tokio::test]
async fn a_new_configuration_while_calls_wait_leaves_none_hanging() {
    let service = ScriptedService::start([tpd(100_000)]);
    let mock = MockLlm::start().await;
    let with = |domain: &str| {
        let filter = Filter::yaml(&tokens(100_000, &format!(", domain: {domain}{PATIENT}")));
        bootstrap(mock.address(), filter).reloadable().grpc_cluster("ratelimit", service.address())
    };
    let envoy = Envoy::start(with("before")).await;
    let address = envoy.address();
    let reloaded = Signal::new();
    service.behave(Behaviour::Until(reloaded.clone()));
    let mut waiting = JoinSet::new();
    for _ in 0..8 {
        waiting.spawn(async move {
            let mut response = client::send(address, call("ada", 30, 50)).await.unwrap();
            response.body().await.map(|_| response.status())
        });
    }
    service.wait_for_calls(Method::ShouldRateLimit, 8).await;

    assert!(envoy.reload(&with("after")).await);
    reloaded.fire();

    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.unwrap().unwrap(), 200);
    }
    service.behave(Behaviour::Answer);
    assert_eq!(client::send(address, call("bob", 30, 30)).await.unwrap().status(), 200);
    let bob = service.requests().into_iter().find(|asked| asked.entries(0).contains(&("tenant", "bob")));
    assert_eq!(bob.unwrap().request.domain, "after");
    // The filter reports the usage above the holds of the old configuration's calls.
    service.wait_for_count(&of("ada"), 8 * 50).await;
}

#[tokio::test]
async fn a_worker_that_traps_while_calls_wait_recovers_and_they_end_with_envoys_idle_timeout() {
    let service = ScriptedService::start([tpd(100_000)]);
    let filter = Filter::yaml(&tokens(100_000, PATIENT)).module(&trap_module());
    // A dead VM cannot release its held requests; the idle timeout ends them, after five minutes by
    // default.
    let bench = Bench::with(filter, |bootstrap| {
        bootstrap.grpc_cluster("ratelimit", service.address()).connection_manager("stream_idle_timeout: 2s")
    })
    .await;
    let dead = Signal::new();
    service.behave(Behaviour::Until(dead.clone()));
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let mut client = client.same_connection();
        waiting.spawn(async move { client.send(call("ada", 30, 30)).await });
    }
    service.wait_for_calls(Method::ShouldRateLimit, 4).await;

    let trapped = client.send(call("eve", 30, 30).header("x-tollgate-trap", "request")).await.unwrap();

    assert_eq!(trapped.status(), 503);
    dead.fire();
    while let Some(ended) = waiting.join_next().await {
        let ended = ended.unwrap().map(|response| response.status());
        assert!(!matches!(ended, Err(ClientError::Hang { .. }) | Ok(200)), "{ended:?}");
    }
    nothing_under_way(&bench.envoy).await;
    service.behave(Behaviour::Answer);
    let started = Instant::now();
    loop {
        let mut response = client.send(call("ada", 30, 50)).await.unwrap();
        response.body().await.unwrap();
        if response.status() == 200 {
            break;
        }
        // Until the worker has a new VM, Envoy answers with 503.
        assert_eq!(response.status(), 503);
        assert!(started.elapsed() < PATIENCE, "the worker does not recover");
    }
    // The new VM asks and reports again.
    service.wait_for_count(&of("ada"), 4 * 30 + 50).await;
    assert_eq!(bench.envoy.metrics().await.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 1.0);
}
