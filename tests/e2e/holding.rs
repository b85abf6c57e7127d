//! The filter holds requests until it has counted their bodies, if the host can; otherwise no
//! request hangs and none passes uncounted.

use core::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tollgate_rig::client::{Client, Request, Response};
use tollgate_rig::envoy::{Envoy, Filter};
use tollgate_rig::mock_llm::MockLlm;

use crate::bench::{Bench, bootstrap, chat_with};

/// Returns a configuration with a generous and a tiny tier. A new `salt` makes a new configuration,
/// for which the filter probes holding again.
fn tiers(hold: &str, salt: usize) -> String {
    format!(
        "
hold: {hold}
salt: salt-{salt}
identity: {{ tenant: {{ header: x-tenant-id }}, tier: {{ header: x-tier, default: rich }} }}
tiers:
  rich: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: 200_000, window: 30d }} ] }}
  poor: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: 5, window: 30d }} ] }}
"
    )
}

/// Slightly less than the time between two ticks.
const TICK: Duration = Duration::from_millis(45);

fn filter(configuration: &str, holds: bool) -> Filter {
    let filter = Filter::yaml(configuration);
    if holds { filter } else { filter.without_holding() }
}

/// A form in which a client sends its body.
#[derive(Clone, Copy, Debug)]
enum Sending {
    /// Right after the headers, with a `content-length`.
    AtOnce,
    /// The same as `AtOnce`, with 200 kB.
    Large,
    /// In two parts of unknown length, right after the headers.
    Chunked,
    /// With a `content-length`, but long after the headers.
    Late,
    /// With a `content-length`, the second half long after the first.
    HalfLate,
    /// With trailers.
    Trailers,
}

const SENDINGS: [Sending; 6] =
    [Sending::AtOnce, Sending::Large, Sending::Chunked, Sending::Late, Sending::HalfLate, Sending::Trailers];

#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

/// Longer than the filter's probe of whether the host holds a request (50 ms). The delay itself is
/// under test.
const LONG_AFTER: Duration = Duration::from_millis(300);

impl Sending {
    fn body(self) -> Value {
        let content =
            if matches!(self, Self::Large) { "all work and no play ".repeat(10_000) } else { "Hi".into() };
        json!({ "model": "gpt-4o", "max_tokens": 5, "messages": [{ "role": "user", "content": content }] })
    }

    async fn send(self, mut client: Client, request: Request) -> Response {
        let body = self.body().to_string();
        let (head, tail) = body.split_at(body.len() / 2);
        let (head, tail) = (head.to_owned(), tail.to_owned());
        let has_length = matches!(self, Self::Late | Self::HalfLate);
        let request =
            if has_length { request.header("content-length", body.len().to_string()) } else { request };
        if matches!(self, Self::AtOnce | Self::Large) {
            return client.send(request.body(body)).await.unwrap();
        }
        let (request, mut sender) = request.body_in_parts();
        let call = tokio::spawn(async move { client.send(request).await });
        if matches!(self, Self::Late) {
            sleep(LONG_AFTER).await;
        }
        assert!(sender.send(head).await);
        if matches!(self, Self::HalfLate) {
            sleep(LONG_AFTER).await;
        }
        assert!(sender.send(tail).await);
        if matches!(self, Self::Trailers) {
            assert!(sender.finish_with_trailers(&[("x-end", "yes")]).await);
        } else {
            drop(sender);
        }
        call.await.unwrap().unwrap()
    }
}

fn call(tenant: &str, tier: &str) -> Request {
    Request::post("/v1/chat/completions").header("x-tenant-id", tenant).header("x-tier", tier)
}

fn remaining(response: &Response) -> u64 {
    response.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap()
}

/// Sends the first call of a configuration in every way, over these versions of HTTP.
async fn first_calls(hold: &str, holds: bool, versions: &[Version]) {
    let mock = MockLlm::start().await;
    let bootstrap = |salt| bootstrap(mock.address(), filter(&tiers(hold, salt), holds)).reloadable();
    let envoy = Envoy::start(bootstrap(0)).await;
    let mut salt = 0;
    for sending in SENDINGS {
        for version in versions {
            if matches!((sending, version), (Sending::Trailers, Version::Http1)) {
                // Envoy drops the trailers of HTTP/1.1.
                continue;
            }
            let client = || async {
                let address = envoy.address();
                match version {
                    Version::Http1 => Client::http1(address).await.unwrap(),
                    Version::Http2 => Client::http2(address).await.unwrap(),
                }
            };
            let tenant = format!("{sending:?}-{version:?}");
            for tier in ["rich", "poor"] {
                salt += 1;
                assert!(envoy.reload(&bootstrap(salt)).await);
                let before = mock.received().len();
                let mut response = sending.send(client().await, call(&tenant, tier)).await;
                let answer = response.json().await.unwrap();
                if tier == "rich" {
                    assert_eq!(response.status(), 200, "{tenant} {answer}");
                    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap();
                    assert_eq!(remaining(&response), 200_000 - prompt - 5, "{tenant}");
                    assert_eq!(mock.received()[before].json(), sending.body(), "{tenant}");
                } else {
                    assert_eq!(response.status(), 429, "{tenant} {answer}");
                }
            }
        }
    }
    // No refused request reached the upstream.
    let answered = mock
        .received()
        .iter()
        .filter(|received| received.header("x-tier") == Some("poor") && !received.body.is_empty())
        .count();
    assert_eq!(answered, 0);
    let warned = envoy.log().contains(WARNING);
    assert_eq!(warned, hold == "auto" && !holds);
}

pub(crate) const WARNING: &str =
    "requests cannot be held here, because `allow_on_headers_stop_iteration: true` is not set";

#[tokio::test]
async fn the_first_call_is_counted_or_refused_however_it_is_sent_where_holding_works() {
    first_calls("auto", true, &BOTH).await;
}

#[tokio::test]
async fn the_first_call_is_counted_or_refused_however_it_is_sent_where_holding_does_not_work() {
    first_calls("auto", false, &BOTH).await;
}

#[tokio::test]
async fn a_fixed_choice_is_kept_to() {
    // Without the probe, the versions of HTTP differ in nothing.
    first_calls("always", true, &[Version::Http2]).await;
    first_calls("never", true, &[Version::Http2]).await;
    first_calls("never", false, &[Version::Http2]).await;
}

/// Sends calls one after another during the probe, so that each tick holds some of them.
#[tokio::test]
async fn calls_that_come_while_it_is_found_out_do_not_hang() {
    for workers in [1, 4] {
        let bench =
            Bench::with(filter(&tiers("auto", 0), false), |bootstrap| bootstrap.concurrency(workers)).await;
        let mut pace = interval(Duration::from_millis(5));
        let mut calls = JoinSet::new();
        for _ in 0..60 {
            pace.tick().await;
            let address = bench.envoy.address();
            calls.spawn(async move {
                let client = Client::http1(address).await.unwrap();
                Sending::AtOnce.send(client, call("ada", "rich")).await.status()
            });
        }
        while let Some(status) = calls.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
        let log = bench.envoy.log();
        assert_eq!(log.matches(WARNING).count(), 1, "{log}");
        assert!(log.lines().any(|line| line.contains("[warning]") && line.contains(WARNING)));
    }
}

/// After the probe, no worker waits for a tick.
#[tokio::test]
async fn what_one_worker_finds_out_all_know() {
    let bench = Bench::with(filter(&tiers("auto", 0), false), |bootstrap| bootstrap).await;
    // A machine too busy to deliver a body at once proves nothing.
    for _ in 0..20 {
        assert_eq!(bench.send(chat_with("ada", json!({}))).await.status(), 200);
        if bench.envoy.log().contains(WARNING) {
            break;
        }
    }
    // Four workers share the connections. The other three would each wait at least one tick of 50
    // ms. Calls that never wait, interleaved with these, measure the load of the machine.
    let never_waits = Bench::with(filter(&tiers("auto", 0), true), |bootstrap| bootstrap).await;
    let (mut times, mut of_others) = (Vec::new(), Vec::new());
    for _ in 0..24 {
        times.push(bench.send(chat_with("ada", json!({}))).await.time_to_headers());
        of_others.push(never_waits.send(chat_with("ada", json!({}))).await.time_to_headers());
    }
    let longest = of_others.iter().max().unwrap();
    let waited = times.iter().filter(|time| **time > (*longest).max(TICK)).count();
    assert!(waited < 3, "{times:?}, others {of_others:?}");
    assert_eq!(bench.envoy.log().matches(WARNING).count(), 1);
}

/// Returns a streamed call that does not request its usage; the filter requests it where it can
/// edit the body.
fn streamed(tenant: &str) -> Request {
    chat_with(tenant, json!({ "stream": true }))
}

#[tokio::test]
async fn a_body_that_cannot_be_held_is_edited_only_where_its_length_is_not_told() {
    let bench = Bench::with(filter(&tiers("never", 0), false), |bootstrap| bootstrap).await;
    let whole =
        json!({ "stream": true, "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hi" }] })
            .to_string();

    let mut told = bench.send(call("ada", "rich").body(whole.clone())).await;
    assert!(told.transcript().await.unwrap().is_done());
    let (request, mut sender) = call("ada", "rich").body_in_parts();
    let mut client = Client::http1(bench.envoy.address()).await.unwrap();
    let chunked = tokio::spawn(async move { client.send(request).await });
    assert!(sender.send(whole.clone()).await);
    drop(sender);
    let mut chunked = chunked.await.unwrap().unwrap();

    // This client did not request the usage chunk, so the filter removes it.
    assert_eq!(chunked.transcript().await.unwrap().usage(), None);
    let received = bench.mock.wait_for(2).await;
    assert_eq!(received[0].body, whole);
    assert_eq!(received[0].header("content-length"), Some(whole.len().to_string().as_str()));
    assert_eq!(received[1].json()["stream_options"], json!({ "include_usage": true }));
    bench.envoy.wait_for_metrics(|metrics| metrics.sum("tollgate_calls_total", &[]) == 2.0).await;
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_edits_skipped_total", &[]), 1.0);
    // The filter charged both, the first by its text.
    assert_eq!(metrics.sum("tollgate_usage_missing_total", &[("kind", "absent")]), 1.0);
    assert_eq!(metrics.sum("tollgate_tokens_total", &[("kind", "output")]), 40.0);
}

#[tokio::test]
async fn a_reload_that_sets_the_flag_makes_holding_work_again() {
    let mock = MockLlm::start().await;
    let with = |holds| bootstrap(mock.address(), filter(&tiers("auto", 0), holds)).reloadable();
    let envoy = Envoy::start(with(false)).await;
    let call = || async {
        let mut response = Client::http1(envoy.address()).await.unwrap().send(streamed("ada")).await.unwrap();
        assert!(response.transcript().await.unwrap().is_done());
        mock.received().pop().unwrap().json()["stream_options"].clone()
    };
    for _ in 0..20 {
        assert_eq!(call().await, Value::Null);
        if envoy.log().contains(WARNING) {
            break;
        }
    }

    assert!(envoy.reload(&with(true)).await);

    for _ in 0..8 {
        assert_eq!(call().await, json!({ "include_usage": true }));
    }
}
