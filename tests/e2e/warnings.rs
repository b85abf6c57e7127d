//! Warnings before a budget is spent: a header, a fact and a count for each call, and one log line
//! for each crossing.
//!
//! In: calls on all workers at once. Out: nothing. Not here: the definition of a crossing
//! (`src/limits`).

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_rig::client::{Client, Request};

use crate::bench::{Bench, chat_with};

const LIMITS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d }
    - { name: rpm, count: requests, per: tenant, max: 100, window: 30d, warn_at: 0.3 }
";

/// Returns a call that holds and uses 10 + 5 tokens.
fn call(tenant: &str) -> Request {
    chat_with(tenant, json!({ "max_tokens": 5 })).header("x-mock-output-tokens", "5")
}

/// Returns the warnings in Envoy's log.
fn lines(bench: &Bench) -> Vec<Value> {
    let log = bench.envoy.log();
    let lines = log.lines().filter(|line| line.contains(r#""event":"warning""#));
    lines.map(|line| serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap()).collect()
}

#[tokio::test]
async fn budgets_that_are_crossed_by_many_calls_at_once_are_logged_once_each() {
    let bench = Bench::start(LIMITS).await;
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let (address, tenant) = (bench.envoy.address(), ["ada", "bob"][number % 2]);
        calls.spawn(async move {
            let mut response = Client::http1(address).await.unwrap().send(call(tenant)).await.unwrap();
            response.body().await.unwrap();
            response.status()
        });
    }
    assert_eq!(calls.join_all().await, [200; 60]);
    assert_eq!(
        lines(&bench).len(),
        2,
        "30 of 100 requests is past `warn_at` of `rpm` for each: {:?}",
        lines(&bench)
    );
    let log = bench.envoy.wait_for_access_log(60).await;
    assert!(log.iter().any(|line| line["tollgate.warning"] == "rpm"), "{log:?}");

    // 30 more calls bring both above 800 tokens.
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let (address, tenant) = (bench.envoy.address(), ["ada", "bob"][number % 2]);
        calls.spawn(async move {
            let mut response = Client::http2(address).await.unwrap().send(call(tenant)).await.unwrap();
            response.body().await.unwrap();
            (response.status(), response.header("x-tollgate-warning").map(str::to_owned))
        });
    }
    let answers = calls.join_all().await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let warned = answers
        .iter()
        .filter(|(_, warning)| warning.as_ref().is_some_and(|told| told.contains("\"tpm\";used=")));
    assert!((8..=20).contains(&warned.count()), "{answers:?}");
    let lines = lines(&bench);
    assert_eq!(lines.len(), 4, "{lines:?}");
    for limit in ["rpm", "tpm"] {
        for tenant in ["ada", "bob"] {
            let told = |line: &&Value| line["limit"] == limit && line["per"]["tenant"] == tenant;
            assert_eq!(lines.iter().filter(told).count(), 1, "{limit} {tenant}");
        }
    }
    let tpm = lines.iter().find(|line| line["limit"] == "tpm").unwrap();
    assert_eq!((&tpm["tier"], &tpm["counts"], &tpm["max"]), (&json!("free"), &json!("tokens"), &json!(1000)));
    assert!((80..=100).contains(&tpm["used_percent"].as_u64().unwrap()), "{tpm}");
    let log = bench.envoy.wait_for_access_log(120).await;
    let both = |line: &Value| {
        line["tollgate.warning"].as_str().is_some_and(|fact| fact.contains("tpm") && fact.contains("rpm"))
    };
    assert!((8..=20).contains(&log.iter().filter(|line| both(line)).count()), "{log:?}");
    let metrics = bench.envoy.metrics().await;
    let counted = metrics.sum("tollgate_warnings_total", &[("limit", "tpm")]);
    assert!((8.0..=20.0).contains(&counted), "{counted}");
}
