//! Tests share Envoy processes, one after the other, and no test sees the difference.
//!
//! In: two users of one process. Out: nothing. Not here: the end of a process
//! (`rig/tests/envoy.rs`).

use serde_json::{Value, json};
use tollgate_rig::client::Client;
use tollgate_rig::envoy::{Filter, Metrics};

use crate::bench::{Bench, STATS_TAGS, chat_with};

const LIMITS: &str = "
identity: { tenant: { header: x-tenant-id } }
warn_at: 0.1
counting: { output_reserve: { at_most: 1 } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d } ] } }
";

/// Starts a bench with settings of no other test, so that the second user gets the first one's
/// process.
async fn bench() -> Bench {
    let tags = format!("{STATS_TAGS}- {{ tag_name: sharing, regex: \"(sharing)\" }}\n");
    Bench::with(Filter::yaml(LIMITS), |bootstrap| bootstrap.stats_tags(&tags)).await
}

#[tokio::test]
async fn the_next_user_of_a_process_sees_nothing_of_the_one_before() {
    let call = |members| chat_with("ada", members).header("x-mock-output-tokens", "90");
    let first = bench().await;
    let (response, _) = first.json(call(json!({ "max_tokens": 90 }))).await;
    assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some("900"));
    let endless = call(json!({ "stream": true, "max_tokens": 800 })).header("x-mock-chunk-delay-ms", "500");
    let mut stream = first.send(endless).await;
    stream.chunk().await.unwrap();
    assert_eq!(first.send(call(json!({ "max_tokens": 90 }))).await.status(), 429);
    first.envoy.wait_for_log(r#""event":"warning""#).await;
    first.envoy.wait_for_access_log(2).await;
    let (process, address) = (first.envoy.pid(), first.envoy.address());

    drop(first);
    let second = bench().await;

    assert_eq!(second.envoy.pid(), process, "there is nothing to see: it is another process");
    assert!(stream.body().await.is_err(), "a stream of the first goes on");
    assert!(Client::http1(address).await.is_err() || address == second.envoy.address());
    assert_eq!(second.envoy.access_log(), Vec::<Value>::new());
    assert!(!second.envoy.log().contains("warning"), "{}", second.envoy.log());
    let metrics = second.envoy.metrics().await;
    let ours = metrics.of_filter();
    assert_eq!(ours.count(), 0);
    let main = [("envoy_http_conn_manager_prefix", "main")];
    assert_eq!(metrics.sum("envoy_http_downstream_rq_total", &main), 0.0);
    assert_eq!(metrics.sum("envoy_listener_manager_listener_added", &[]), 1.0);
    // The second user's budget does not include the first one's usage.
    let (response, _) = second.json(call(json!({ "max_tokens": 90 }))).await;
    assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some("900"));
    assert_eq!(second.envoy.wait_for_access_log(1).await.len(), 1);
    let total = |metrics: &Metrics| metrics.sum("tollgate_calls_total", &[]);
    assert_eq!(total(&second.envoy.wait_for_metrics(|metrics| total(metrics) > 0.0).await), 1.0);
}
