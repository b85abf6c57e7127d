//! Answers that decide nothing, and missing answers: the outcome of the call, its latency, and the
//! later report to the service.

use core::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tollgate_rig::client::{Client, Response};
use tollgate_rig::envoy::Filter;
use tollgate_rig::rate_limits::{Behaviour, Limit, ScriptedService};

use super::{DAY, PATIENT, call, limits, of, said, say_everything, tokens, tpd};
use crate::bench::Bench;

/// Far longer than a call may wait here, far shorter than a hang.
const LATE: Duration = Duration::from_secs(20);

/// Returns every behaviour that decides nothing, and its label in metrics.
fn troubles() -> Vec<(&'static str, Behaviour, &'static str)> {
    vec![
        ("late", Behaviour::Late(LATE), "unavailable"),
        ("never", Behaviour::Never, "unavailable"),
        ("unavailable", Behaviour::Status(14), "unavailable"),
        ("internal", Behaviour::Status(13), "unavailable"),
        ("deadline", Behaviour::Status(4), "unavailable"),
        ("garbage", Behaviour::Garbage, "unreadable"),
        ("empty", Behaviour::Empty, "undecided"),
        ("unknown", Behaviour::Unknown, "undecided"),
    ]
}

/// Returns options with this `on_failure`: a call waits at most a quarter of a second, and the
/// breaker never opens.
fn options(on_failure: &str) -> String {
    format!(", timeout: 250ms, on_failure: {on_failure}, breaker: {{ failures: 1000 }}")
}

/// Makes one call per trouble, the last without any service. Each must satisfy `check`, and metrics
/// must count it under `on_failure`.
async fn each_trouble(on_failure: &str, check: impl Fn(&str, &Response)) -> (Bench, ScriptedService) {
    let mut service = ScriptedService::start([tpd(1_000)]);
    let bench = Bench::with_service(&tokens(1_000, &options(on_failure)), &service).await;
    let mut expected = 0;
    for (tenant, behaviour, kind) in troubles() {
        service.script([behaviour]);
        let before = failed(&bench, kind).await;
        let mut response = bench.send(call(tenant, 60, 60)).await;
        response.body().await.unwrap();
        check(tenant, &response);
        assert!(response.time_to_headers() < LATE / 2, "{tenant}: {:?}", response.time_to_headers());
        assert!(failed(&bench, kind).await > before, "{tenant}");
        if response.status() == 200 {
            // The filter reports the usage. A charge that the service made on the way stays as
            // well.
            service.wait_for_count(&of(tenant), if tenant == "late" { 120 } else { 60 }).await;
        }
        expected += 1;
        assert_eq!(bench.decided(on_failure).await, f64::from(expected), "{tenant}");
    }
    service.stop().await;
    let mut response = bench.send(call("gone", 60, 60)).await;
    response.body().await.unwrap();
    check("gone", &response);
    assert_eq!(bench.decided(on_failure).await, f64::from(expected + 1), "gone");
    assert_eq!(bench.decided("asked").await, 0.0);
    service.start_again();
    (bench, service)
}

async fn failed(bench: &Bench, kind: &str) -> f64 {
    bench.envoy.metrics().await.sum("tollgate_global_failures_total", &[("kind", kind)])
}

#[tokio::test]
async fn with_allow_calls_pass_without_a_word_on_budgets_and_are_told_later() {
    let (_bench, service) = each_trouble("allow", |what, response| {
        assert_eq!(response.status(), 200, "{what}");
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), None, "{what}");
        assert_eq!(response.header("ratelimit"), None, "{what}");
    })
    .await;
    service.wait_for_count(&of("gone"), 60).await;
}

#[tokio::test]
async fn with_deny_calls_are_refused_with_a_wait_and_nothing_is_told() {
    let (bench, service) = each_trouble("deny", |what, response| {
        assert_eq!(response.status(), 429, "{what}");
        let wait = response.header("retry-after").unwrap().parse::<u64>().unwrap();
        assert!((1..=3).contains(&wait), "{what}: {wait}");
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), None, "{what}");
        assert_eq!(response.header("ratelimit"), None, "{what}");
    })
    .await;
    assert!(bench.mock.received().is_empty());
    // The service is back, and no request hangs behind it.
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let back = client.send(call("back", 60, 60)).await.unwrap();
    assert_eq!(back.status(), 200);
    say_everything(&mut client, &service).await;
    let asked = said(&service.requests());
    assert_eq!(asked.len(), troubles().len() + 1, "{asked:?}");
}

#[tokio::test]
async fn with_local_a_part_of_each_limit_is_enforced_here_and_calls_are_told_later() {
    let (bench, service) = each_trouble("local", |what, response| {
        assert_eq!(response.status(), 200, "{what}");
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), None, "{what}");
        assert_eq!(response.header("ratelimit"), None, "{what}");
    })
    .await;
    service.wait_for_count(&of("gone"), 60).await;
    // The local share is a tenth of a thousand; an earlier call used 60 of it.
    service.script([Behaviour::Unknown, Behaviour::Unknown]);
    let (refused, problem) = bench.json(call("never", 60, 60)).await;
    let (allowed, _) = bench.json(call("never", 40, 40)).await;
    assert_eq!((refused.status(), allowed.status()), (429, 200), "{problem}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(problem["error"]["code"], json!("rate_limit_exceeded"));
}

#[tokio::test]
async fn a_budget_whose_status_is_missing_is_not_told_and_the_call_passes() {
    let service = ScriptedService::start([tpd(1_000), Limit::new("free/all", 500, DAY)]);
    let tenant = "{ name: tpd, count: tokens, per: tenant, max: 1_000, window: 1d, scope: global }";
    let all = "{ name: all, count: tokens, max: 500, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{tenant}, {all}"), PATIENT), &service).await;

    let (whole, _) = bench.json(call("ada", 30, 30)).await;
    service.behave(Behaviour::FewerStatuses);
    let (part, _) = bench.json(call("ada", 30, 30)).await;

    assert_eq!((whole.status(), part.status()), (200, 200));
    assert_eq!(whole.header("x-ratelimit-remaining-tokens"), Some("470"));
    assert_eq!(part.header("x-ratelimit-remaining-tokens"), Some("940"));
    assert_eq!(part.header("ratelimit").unwrap().matches(";r=").count(), 1);
}

#[tokio::test]
async fn a_refusal_without_the_status_that_explains_it_is_a_refusal() {
    let service = ScriptedService::start([tpd(1_000), Limit::new("free/all", 40, DAY)]);
    let tenant = "{ name: tpd, count: tokens, per: tenant, max: 1_000, window: 1d, scope: global }";
    let all = "{ name: all, count: tokens, max: 40, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{tenant}, {all}"), PATIENT), &service).await;
    service.behave(Behaviour::FewerStatuses);

    let (allowed, _) = bench.json(call("ada", 30, 30)).await;
    let (refused, problem) = bench.json(call("ada", 30, 30)).await;

    assert_eq!((allowed.status(), refused.status()), (200, 429), "{problem}");
    assert!(refused.header("retry-after").is_some());
}

/// A cluster whose bare name the host would parse as a message; Envoy 1.40 exits then.
#[tokio::test]
async fn a_cluster_named_envoy_is_asked_like_any_other() {
    let service = ScriptedService::start([tpd(1_000)]);
    let configuration = tokens(1_000, PATIENT).replace("cluster: ratelimit", "cluster: envoy");
    let bench = Bench::with(Filter::yaml(&configuration), |bootstrap| {
        bootstrap.grpc_cluster("envoy", service.address())
    })
    .await;

    let (response, _) = bench.json(call("ada", 30, 60)).await;

    assert_eq!((response.status(), response.header("x-ratelimit-remaining-tokens")), (200, Some("970")));
    service.wait_for_count(&of("ada"), 60).await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_or_speaks_no_http2_is_a_service_without_answers() {
    // The host would parse some of these names as messages. The last is the upstream, which speaks
    // HTTP/1.1.
    for (cluster, on_failure, status) in [
        ("envoy", "allow", 200),
        ("multi", "local", 200),
        ("nosuch", "deny", 429),
        ("upstream", "allow", 200),
        ("upstream", "deny", 429),
    ] {
        let name = format!("cluster: {cluster}");
        let configuration = tokens(1_000, &options(on_failure)).replace("cluster: ratelimit", &name);
        let bench = Bench::with(Filter::yaml(&configuration), |bootstrap| bootstrap).await;
        for _ in 0..2 {
            let mut response = bench.send(call("ada", 30, 30)).await;
            response.body().await.unwrap();
            assert_eq!(response.status(), status, "{cluster} {on_failure}");
        }
        assert_eq!(bench.decided(on_failure).await, 2.0, "{cluster}");
        assert!(failed(&bench, "unavailable").await >= 2.0, "{cluster}");
    }
}

/// Makes a report fail twice.
async fn is_told_at_the_third_time(options: &str) {
    let service = ScriptedService::start([tpd(1_000)]).with_refunds();
    let bench = Bench::with_service(&tokens(1_000, &format!("{options}{PATIENT}")), &service).await;
    service.script([Behaviour::Answer, Behaviour::Status(14), Behaviour::Status(13)]);

    let (response, _) = bench.json(call("ada", 30, 100)).await;
    let ended = Instant::now();

    assert_eq!(response.status(), 200);
    service.wait_for_count(&of("ada"), 100).await;
    // The retries come after a tenth and another two tenths of a second.
    assert!(ended.elapsed() < Duration::from_millis(1_500), "{:?}", ended.elapsed());
    bench.wait_for_count("tollgate_global_reports_total", &[("kind", "retried")], 2).await;
    assert_eq!(said(&service.requests()).len(), 4);
}

#[tokio::test]
async fn a_report_that_fails_is_soon_sent_again() {
    is_told_at_the_third_time("").await;
}

#[tokio::test]
async fn a_report_of_all_that_was_used_is_sent_again_too() {
    is_told_at_the_third_time(", protocol: kuadrant").await;
}

#[tokio::test]
async fn a_report_is_dropped_when_its_window_has_ended() {
    let service = ScriptedService::start([Limit::new("free/tps", 1_000, Duration::from_secs(1))]);
    let tps = "{ name: tps, count: tokens, per: tenant, max: 1_000, window: 1s, scope: global }";
    let bench = Bench::with_service(&limits(tps, &options("allow")), &service).await;
    service.behave(Behaviour::Status(14));

    let (response, _) = bench.json(call("ada", 30, 100)).await;

    assert_eq!(response.status(), 200);
    bench.wait_for_count("tollgate_global_reports_total", &[("kind", "dropped")], 1).await;
    service.behave(Behaviour::Answer);
    let before = service.requests().len();
    let (response, _) = bench.json(call("bob", 30, 30)).await;
    assert_eq!(response.status(), 200);
    let later = said(&service.requests()[before..]);
    assert!(!later.iter().any(|said| said.contains("tenant=ada")), "{later:?}");
}
