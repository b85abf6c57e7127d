//! Calls wait for their budgets in order, no longer than allowed, and never block other calls.

use core::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tollgate_rig::client::{BodySender, Client, Request, Response};
use tollgate_rig::envoy::{Envoy, Filter};
use tollgate_rig::mock_llm::MockLlm;

use crate::bench::{Bench, bootstrap, chat_with, trap_module};

fn configuration(wait: &str, limit: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
tiers: {{ free: {{ wait: {{ {wait} }}, limits: [ {limit} ] }} }}
"
    )
}

/// Returns a call that holds and uses 50 tokens.
fn fifty(tenant: &str) -> Request {
    chat_with(tenant, json!({ "max_tokens": 40 })).header("x-mock-output-tokens", "40")
}

impl Bench {
    async fn wait_for_waits(&self, kind: &str, count: u32) {
        self.wait_for_count("tollgate_waits_total", &[("kind", kind)], count).await;
    }

    /// Spends a budget with one call whose answer reports this usage.
    async fn use_up(&self, tenant: &str, tokens: u64) -> Instant {
        let usage = json!({ "prompt_tokens": 10, "completion_tokens": tokens - 10 }).to_string();
        let call = chat_with(tenant, json!({ "max_tokens": 0 })).header("x-mock-usage", usage);
        let begun = Instant::now();
        assert_eq!(self.json(call).await.0.status(), 200);
        begun
    }
}

/// Returns the time of the slowest of `count` other calls, each on its own connection, so that
/// every worker serves some.
async fn slowest_of_others(bench: &Bench, count: u32) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let response = bench.send(chat_with(&format!("other-{number}"), json!({ "max_tokens": 1 }))).await;
        assert_eq!(response.status(), 200);
        slowest = slowest.max(response.time_to_headers());
    }
    slowest
}

/// Far longer than such a call takes on a busy machine, far shorter than the waits of the others.
const SWIFT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn calls_over_the_budget_go_on_in_order_as_it_refills_and_are_in_nobodys_way() {
    // 50 tokens refill in half a second.
    let limit = "{ name: tpm, count: tokens, per: tenant, max: 600, window: 6s }";
    let bench = Bench::start(&configuration("max_wait: 10s, max_waiting: 100", limit)).await;
    let begun = bench.use_up("ada", 600).await;
    let mut calls = Vec::new();
    for number in 1..=10 {
        let address = bench.envoy.address();
        calls.push(tokio::spawn(async move {
            let client =
                if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
            let response = client.unwrap().send(fifty("ada")).await.unwrap();
            (response.status(), begun.elapsed(), response.time_to_headers())
        }));
        bench.wait_for_waits("held", number).await;
    }

    let slowest = slowest_of_others(&bench, 40).await;
    assert!(slowest < SWIFT, "another tenant's call took {slowest:?}");

    let mut last = Duration::ZERO;
    for (number, call) in (1_u32..).zip(calls) {
        let (status, at, waited) = call.await.unwrap();
        assert_eq!(status, 200);
        let refilled = Duration::from_millis(500) * number;
        assert!(at >= refilled, "call {number} was let through {at:?} after the budget was used up");
        assert!(
            at < refilled + Duration::from_secs(3) && waited < Duration::from_secs(10),
            "{number}: {at:?}"
        );
        assert!(at > last, "call {number} overtook the one before it");
        last = at;
    }
    bench.wait_for_waits("passed", 10).await;
}

#[tokio::test]
async fn no_more_wait_than_may_and_those_that_leave_are_forgotten() {
    // 50 tokens refill in five seconds.
    let limit = "{ name: tpm, count: tokens, per: tenant, max: 600, window: 60s }";
    let bench = Bench::start(&configuration("max_wait: 1m, max_waiting: 5", limit)).await;
    bench.use_up("ada", 600).await;
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let address = bench.envoy.address();
        calls.spawn(async move {
            let client =
                if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
            let mut response = client.unwrap().send(fifty("ada")).await.unwrap();
            (response.status(), response.json().await.unwrap(), response)
        });
    }
    for _ in 0..15 {
        let (status, body, response) = calls.join_next().await.unwrap().unwrap();
        assert_eq!(status, 429, "{body}");
        let wait: u64 = response.header("retry-after-ms").unwrap().parse().unwrap();
        // Behind at least one waiting call, and with an upper bound.
        assert!((5_000..=110_000).contains(&wait), "{wait}");
    }
    bench.wait_for_waits("held", 5).await;
    assert!(slowest_of_others(&bench, 8).await < SWIFT);

    calls.abort_all();

    bench.wait_for_waits("left", 5).await;
    bench.wait_for_waits("passed", 0).await;
    // Their holds are released: the next call waits only for its own tokens, at most five seconds.
    let response = bench.send(fifty("ada")).await;
    assert_eq!(response.status(), 200);
    assert!(response.time_to_headers() < Duration::from_secs(8), "{:?}", response.time_to_headers());
    bench.wait_for_waits("passed", 1).await;
}

#[tokio::test]
async fn a_call_goes_on_early_when_others_have_used_less_than_they_held() {
    let limit = "{ name: tpm, count: tokens, per: tenant, max: 600, window: 60s }";
    let bench = Bench::start(&configuration("max_wait: 1m", limit)).await;
    // Four calls hold the whole budget while they are in flight.
    let slow = || {
        chat_with("ada", json!({ "max_tokens": 140 }))
            .header("x-mock-output-tokens", "1")
            .header("x-mock-delay-ms", "700")
    };
    let mut on_their_way = JoinSet::new();
    for _ in 0..4 {
        let address = bench.envoy.address();
        on_their_way
            .spawn(async move { Client::http1(address).await.unwrap().send(slow()).await.unwrap().status() });
    }
    bench.mock.wait_for(4).await;

    let response = bench.send(fifty("ada")).await;

    assert_eq!(response.status(), 200);
    assert!(response.time_to_headers() < Duration::from_secs(4), "{:?}", response.time_to_headers());
    bench.wait_for_waits("passed", 1).await;
}

const THOUSANDS: usize = 2_000;

/// All calls become due at the same moment: at the end of the calendar window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_wait_and_go_on_together_while_others_are_served() {
    let limit =
        "{ name: tpm, count: tokens, per: tenant, max: 100_000, window: 10s, algorithm: fixed_window }";
    let direct = "- match: { prefix: /direct/ }\n  direct_response: { status: 200, body: { inline_string: \"Yes.\" } }";
    let filter = Filter::yaml(&configuration("max_wait: 40s, max_waiting: 10_000", limit));
    let bench = Bench::with(filter, |bootstrap| bootstrap.routes_before(direct)).await;
    // Covers this window and the next, so that the calls below find no tokens, whenever they come.
    let used_up = bench.use_up("ada", 200_000).await;
    let mut calls = JoinSet::new();
    for _ in 0..THOUSANDS / 50 {
        let client = Client::http2(bench.envoy.address()).await.unwrap();
        for _ in 0..50 {
            let mut client = client.same_connection();
            calls.spawn(async move {
                let body = r#"{"model":"gpt-4o","max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#;
                let request = Request::post("/direct/v1/chat/completions").header("x-tenant-id", "ada");
                client.send(request.body(body)).await.map(|response| response.status()).unwrap_or_default()
            });
        }
    }
    bench
        .envoy
        .wait_for_metrics(|metrics| {
            metrics.sum("tollgate_waits_total", &[("kind", "held")]) >= THOUSANDS as f64
        })
        .await;
    let mut slowest = Duration::ZERO;
    let passed = || async {
        bench.envoy.metrics_so_far().await.sum("tollgate_waits_total", &[("kind", "passed")]) as usize
    };
    while passed().await < THOUSANDS {
        slowest = slowest.max(slowest_of_others(&bench, 4).await);
        assert!(used_up.elapsed() < Duration::from_secs(60), "{} have gone on", passed().await);
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert!(slowest < SWIFT * 2, "another tenant's call took {slowest:?}");
    bench.wait_for_waits("left", 0).await;
}

#[tokio::test]
async fn calls_that_wait_while_the_configuration_changes_are_answered() {
    let mock = MockLlm::start().await;
    // Another salt makes another configuration, and a new root context.
    let with = |salt: u32| {
        let limit = "{ name: rps, count: requests, per: tenant, max: 1, window: 500ms }";
        let configuration = format!("salt: s{salt}\n{}", configuration("max_wait: 20s", limit));
        bootstrap(mock.address(), Filter::yaml(&configuration)).reloadable()
    };
    let envoy = Envoy::start(with(0)).await;
    let mut calls = JoinSet::new();
    let (mut sent, begun) = (0, Instant::now());
    for salt in 1..=3 {
        for _ in 0..6 {
            let address = envoy.address();
            calls.spawn(async move {
                Client::http1(address).await.unwrap().send(fifty("ada")).await.unwrap().status()
            });
            sent += 1;
        }
        let held = |count: f64| {
            move |metrics: &tollgate_rig::envoy::Metrics| {
                metrics.sum("tollgate_waits_total", &[("kind", "held")]) >= count
            }
        };
        envoy.wait_for_metrics(held(f64::from(sent) - 4.0)).await;
        assert!(envoy.reload(&with(salt)).await);
    }
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    // One budget for all configurations: 18 calls, one at once, the others half a second apart.
    assert!(begun.elapsed() >= Duration::from_millis(500 * 17), "{:?}", begun.elapsed());
    assert_eq!(mock.received().len(), 18);
}

#[tokio::test]
async fn calls_that_wait_in_a_vm_that_traps_end_by_the_idle_timeout_and_the_next_ones_wait_as_ever() {
    let limit = "{ name: rps, count: requests, per: tenant, max: 1, window: 1s }";
    let filter = Filter::yaml(&configuration("max_wait: 20s", limit)).module(&trap_module());
    // One worker, so that all calls are in the VM that traps.
    let idle = "stream_idle_timeout: 4s";
    let bench = Bench::with(filter, |bootstrap| bootstrap.concurrency(1).connection_manager(idle)).await;
    let call = || bench.send(fifty("ada"));
    assert_eq!(call().await.status(), 200);
    let traps = async {
        bench.wait_for_waits("held", 1).await;
        bench.send(fifty("bob").header("x-tollgate-trap", "request")).await.status()
    };
    let (waits, trapped) = tokio::join!(call(), traps);
    assert_eq!((waits.status(), trapped), (503, 503));
    assert_eq!(bench.envoy.wait_for_access_log(3).await[2]["flags"], "SI", "the stream's idle timeout");
    let (one, another) = tokio::join!(call(), call());
    assert_eq!([one.status(), another.status()], [200; 2]);
}

/// A form in which a client sends a call.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Http1,
    Http2,
    /// HTTP/2 with trailers after the body.
    Trailers,
    /// HTTP/1.1 of unknown length.
    Chunked,
    /// HTTP/2, the second half long after the first.
    Late,
}

const SENDINGS: [Sending; 5] =
    [Sending::Http1, Sending::Http2, Sending::Trailers, Sending::Chunked, Sending::Late];

fn body() -> Value {
    json!({ "model": "gpt-4o", "max_tokens": 20, "messages": [{ "role": "user", "content": "Say something." }] })
}

impl Sending {
    async fn send(self, address: std::net::SocketAddr) -> Response {
        let request = Request::post("/v1/chat/completions").header("x-tenant-id", format!("{self:?}"));
        let client = match self {
            Self::Http1 | Self::Chunked => Client::http1(address).await,
            Self::Http2 | Self::Trailers | Self::Late => Client::http2(address).await,
        };
        let mut client = client.unwrap();
        if matches!(self, Self::Http1 | Self::Http2) {
            return client.send(request.body(body().to_string())).await.unwrap();
        }
        let (request, sender) = request.body_in_parts();
        let feeding = tokio::spawn(self.feed(sender));
        let response = client.send(request).await.unwrap();
        feeding.await.unwrap();
        response
    }

    async fn feed(self, mut sender: BodySender) {
        let text = body().to_string();
        let (head, tail) = text.split_at(text.len() / 2);
        assert!(sender.send(head.to_owned()).await);
        if matches!(self, Self::Late) {
            // Longer than the filter's probe of whether the host holds a request (50 ms).
            sleep(Duration::from_millis(150)).await;
        }
        assert!(sender.send(tail.to_owned()).await);
        if matches!(self, Self::Trailers) {
            assert!(sender.finish_with_trailers(&[("x-end", "yes")]).await);
        }
    }
}

/// Makes three calls in every form of sending: one passes, one waits, and one would wait too long.
async fn every_sending(hold: &str, holds: bool) {
    let limit = "{ name: rps, count: requests, per: [tenant, model], max: 1, window: 2s }";
    let configuration = format!("hold: {hold}\n{}", configuration("max_wait: 3s", limit));
    let filter = Filter::yaml(&configuration);
    let bench =
        Bench::with(if holds { filter } else { filter.without_holding() }, |bootstrap| bootstrap).await;
    let mut held = 0;
    for sending in SENDINGS {
        let mut calls = JoinSet::new();
        for _ in 0..3 {
            let address = bench.envoy.address();
            calls.spawn(async move {
                let mut response = sending.send(address).await;
                let body = response.body().await.unwrap();
                (response.status(), response.time_to_headers(), body)
            });
        }
        let mut answers = Vec::new();
        while let Some(answer) = calls.join_next().await {
            let (status, after, body) = answer.unwrap();
            assert!(status == 200 || status == 429, "{sending:?}: {status} {body:?}");
            answers.push((status, after));
        }
        answers.sort_unstable();
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [200, 200, 429], "{sending:?}");
        let (first, second) = (answers[0].1, answers[1].1);
        assert!(
            second >= Duration::from_millis(1_000) && first < second,
            "{sending:?}: {first:?}, {second:?}"
        );
        held += 1;
        bench.wait_for_waits("passed", held).await;
    }
    let whole = bench.mock.received().into_iter().filter(|received| !received.body.is_empty());
    let bodies: Vec<_> = whole.map(|received| received.json()).collect();
    assert_eq!(bodies, vec![body(); 2 * SENDINGS.len()]);
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
}

#[tokio::test]
async fn calls_wait_however_they_are_sent() {
    every_sending("auto", true).await;
}

#[tokio::test]
async fn calls_whose_headers_are_not_held_wait_with_their_bodies() {
    every_sending("never", true).await;
}

#[tokio::test]
async fn calls_wait_where_it_has_yet_to_be_found_out_that_headers_cannot_be_held() {
    every_sending("auto", false).await;
}

#[tokio::test]
async fn calls_wait_where_the_host_cannot_hold_headers_and_the_operator_says_so() {
    every_sending("never", false).await;
}
