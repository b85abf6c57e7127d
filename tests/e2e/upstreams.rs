//! Upstreams that refuse, on a real Envoy: all workers back off, and Envoy's own replies do not
//! count as an upstream's.

use core::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tollgate_rig::client::{self, Response};
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, chat, chat_by, with_detours};
use crate::probe::answer;

/// Returns an answer with this status and more fields that ends the connection, so that each
/// connection carries one call.
fn refuses(status: &str, fields: &str) -> Script {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 2\r\n{fields}\r\n");
    Script::new().read_request().write(format!("{head}{{}}"))
}

fn answers() -> Script {
    Script::new().read_request().write(answer(10, 5).replacen("\r\n", "\r\nconnection: close\r\n", 1))
}

fn heard(upstream: &ScriptedUpstream) -> usize {
    upstream.heard().iter().map(|heard| heard.requests.len()).sum()
}

/// Starts a bench with two upstreams, `a` and `b`, under the path prefixes of these names.
async fn bench(configuration: &str, a: &ScriptedUpstream, b: &ScriptedUpstream, route: &str) -> Bench {
    let detour = |name, upstream: &ScriptedUpstream| Detour { name, to: Some(upstream.address()), route };
    Bench::with(Filter::yaml(configuration), |bootstrap| {
        with_detours(bootstrap, &[detour("a", a), detour("b", b)])
    })
    .await
}

impl Bench {
    async fn to(&self, upstream: &str, model: &str) -> Response {
        self.json(chat_by(upstream, "ada", json!({ "model": model }))).await.0
    }
}

const REFUSING: &str = "
identity: { tenant: { header: x-tenant-id } }
upstreams: {}
tiers: { free: { limits: [ { name: rpm, count: requests, per: [upstream, model], max: 1000, window: 30d } ] } }
";

const PAUSE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn no_worker_sends_a_call_to_a_busy_upstream_before_its_time() {
    let a =
        ScriptedUpstream::start([refuses("429 Too Many Requests", "retry-after: 2\r\n"), answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let bench = bench(REFUSING, &a, &b, "").await;
    let start = Instant::now();

    let first = bench.to("a", "gpt-4o").await;
    assert_eq!((first.status(), first.header("retry-after")), (429, Some("2")), "the upstream's own");

    let mut calls = Vec::new();
    for _ in 0..32 {
        let (address, call) = (bench.envoy.address(), chat_by("a", "ada", json!({})));
        calls.push(tokio::spawn(async move {
            let mut response = client::send(address, call).await.unwrap();
            let body = response.json().await.unwrap();
            (body["error"]["type"] == "upstream", start.elapsed())
        }));
    }
    // On a slow machine some may come after the two seconds.
    let mut passed = 0;
    for call in calls {
        let (is_refused, after) = call.await.unwrap();
        assert!(is_refused || after >= PAUSE, "{after:?}");
        passed += usize::from(!is_refused);
    }

    assert_eq!(bench.to("b", "gpt-4o").await.status(), 200, "another upstream");
    let other = bench.to("a", "gpt-4.1").await;
    assert_eq!(other.status(), 200, "another model");
    assert_eq!(other.header("x-ratelimit-remaining-requests"), Some("999"), "with a budget of its own");

    let admitted = loop {
        let response = bench.to("a", "gpt-4o").await;
        if response.status() == 200 {
            break response;
        }
    };
    assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
    // The first call and this one: the refused calls in between touched no budget.
    let left = (998 - passed).to_string();
    assert_eq!(admitted.header("x-ratelimit-remaining-requests"), Some(&*left));
    assert_eq!((heard(&a), heard(&b)), (3 + passed, 1));
    bench.wait_for_count("tollgate_upstream_busy_total", &[("kind", "told")], 1).await;
    let log = bench.envoy.wait_for_access_log(36).await;
    assert!(log.iter().any(|line| line["details"] == "tollgate_upstream_busy"), "{log:?}");
}

#[tokio::test]
async fn calls_wait_for_a_busy_upstream_on_all_workers() {
    const CALLS: usize = 12;
    let busy = refuses("529 Overloaded", "retry-after-ms: 1000\r\n");
    let a = ScriptedUpstream::start([busy, answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let configuration = REFUSING
        .replace("upstreams: {}", "upstreams: { when_busy: wait }")
        .replace("free: {", "free: { wait: { max_wait: 20s }, ");
    let bench = bench(&configuration, &a, &b, "").await;
    let start = Instant::now();
    assert_eq!(bench.to("a", "gpt-4o").await.status(), 529);

    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let (address, call) = (bench.envoy.address(), chat_by("a", "ada", json!({ "model": "gpt-4o" })));
        calls.push(tokio::spawn(async move {
            let mut response = client::send(address, call).await.unwrap();
            response.body().await.unwrap();
            (response.status(), start.elapsed())
        }));
    }
    for call in calls {
        let (status, after) = call.await.unwrap();
        assert_eq!(status, 200);
        assert!(after >= Duration::from_secs(1), "{after:?}");
    }
    assert_eq!(heard(&a), 1 + CALLS);
    let waited = bench.envoy.metrics().await.sum("tollgate_upstream_busy_total", &[("kind", "waited")]);
    assert!(waited > 0.0, "{waited}");
}

#[tokio::test]
async fn a_limit_follows_what_its_upstream_allows_and_no_other() {
    let a = ScriptedUpstream::start([refuses("429 Too Many Requests", ""), answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let configuration = REFUSING.replace("upstreams: {}", "").replace("window:", "adaptive: true, window:");
    let bench = bench(&configuration, &a, &b, "").await;
    let allowed = async |upstream| {
        let response = bench.to(upstream, "gpt-4o").await;
        response.header("x-ratelimit-limit-requests").unwrap().to_owned()
    };
    assert_eq!(allowed("a").await, "1000", "the call that is refused was let pass before");
    assert_eq!((allowed("a").await, allowed("b").await), ("500".to_owned(), "1000".to_owned()));
    bench.wait_for_count("tollgate_rate_decreases_total", &[("limit", "rpm")], 1).await;
}

/// Starts the same bench with one route to both upstreams.
async fn bench_of_one_route(
    configuration: &str,
    a: &ScriptedUpstream,
    b: &ScriptedUpstream,
    chosen_by: &str,
) -> Bench {
    let detour = |name, upstream: &ScriptedUpstream| Detour { name, to: Some(upstream.address()), route: "" };
    let route = format!("- {{ match: {{ prefix: / }}, route: {{ {chosen_by} }} }}\n");
    Bench::with(Filter::yaml(configuration), |bootstrap| {
        with_detours(bootstrap, &[detour("a", a), detour("b", b)]).routes_before(&route)
    })
    .await
}

#[tokio::test]
async fn the_upstream_is_known_also_where_a_header_chooses_it() {
    let a =
        ScriptedUpstream::start([refuses("429 Too Many Requests", "retry-after: 60\r\n"), answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let bench = bench_of_one_route(REFUSING, &a, &b, "cluster_header: x-cluster").await;
    let to = async |cluster| bench.send(chat("ada").header("x-cluster", cluster)).await.status();
    assert_eq!(to("a").await, 429);
    assert_eq!((to("a").await, to("b").await, heard(&a)), (429, 200, 1));
}

#[tokio::test]
async fn the_upstream_is_known_also_where_weights_choose_it() {
    let a = ScriptedUpstream::start([answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let weights = "weighted_clusters: { clusters: [ { name: a, weight: 50 }, { name: b, weight: 50 } ] }";
    let bench = bench_of_one_route(&REFUSING.replace("1000", "10"), &a, &b, weights).await;
    // The probability that Envoy chooses one of them fewer than ten times in eighty is 4e-13.
    for _ in 0..80 {
        bench.send(chat("ada")).await;
    }
    assert_eq!((heard(&a), heard(&b)), (10, 10));
}

#[tokio::test]
async fn what_envoy_answers_itself_says_nothing_of_the_upstream() {
    let abort = "
- name: envoy.filters.http.fault
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
    abort: { http_status: 429, percentage: { numerator: 100 } }
    headers: [ { name: x-abort, present_match: true } ]
";
    let bench = Bench::with(Filter::yaml(REFUSING), |bootstrap| bootstrap.filters_after(abort)).await;
    assert_eq!(bench.send(chat("ada").header("x-abort", "1")).await.status(), 429);
    assert_eq!(bench.send(chat("ada")).await.status(), 200);
    assert_eq!(bench.envoy.metrics().await.sum("tollgate_upstream_busy_total", &[]), 0.0);
}

#[tokio::test]
async fn a_refusal_that_envoy_tries_again_is_not_seen_and_the_call_counts_once() {
    let a =
        ScriptedUpstream::start([refuses("429 Too Many Requests", "retry-after: 60\r\n"), answers()]).await;
    let b = ScriptedUpstream::start([answers()]).await;
    let retry = ", retry_policy: { retry_on: retriable-status-codes, retriable_status_codes: [ 429, 529 ], num_retries: 1 }";
    let bench = bench(REFUSING, &a, &b, retry).await;
    let response = bench.to("a", "gpt-4o").await;
    assert_eq!((response.status(), response.header("x-ratelimit-remaining-requests")), (200, Some("999")));
    assert_eq!((bench.to("a", "gpt-4o").await.status(), heard(&a)), (200, 3));
}
