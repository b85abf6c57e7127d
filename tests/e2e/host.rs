//! Constraints of the host: body limits, odd headers, local replies, dead VMs.

use core::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use tollgate_rig::client::raw::{self, RawConnection};
use tollgate_rig::client::{Client, PATIENCE, Request, Response};
use tollgate_rig::envoy::{Filter, Metrics};

use crate::bench::{Bench, chat, chat_with, trap_module};

const MAX: u64 = 2_000_000;

const TIERS: &str = "
identity:
  tenant: { header: x-tenant-id }
  tier: { header: x-tier, default: rich }
counting: { hold_up_to: 4MiB, output_reserve: { start: 1000, learn: false } }
tiers:
  rich: { limits: [ { name: tpm, count: tokens, per: tenant, max: 2_000_000, window: 30d } ] }
  poor: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1_000, window: 30d } ] }
";

/// A call of ten input tokens.
const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Say something."}]}"#;

fn used(response: &Response) -> u64 {
    MAX - response.header("x-ratelimit-remaining-tokens").unwrap().parse::<u64>().unwrap()
}

/// Returns a tenant's usage, through a call that costs ten tokens.
async fn used_by(bench: &Bench, tenant: &str) -> u64 {
    used(&bench.send(chat_with(tenant, json!({ "max_tokens": 0 }))).await) - 10
}

fn large(bytes: usize) -> String {
    let content = "all work and no play ".repeat(bytes / 21);
    json!({ "model": "gpt-4o", "max_tokens": 5, "messages": [{ "role": "user", "content": content }] })
        .to_string()
}

fn post(tenant: &str, body: String) -> Request {
    Request::post("/v1/chat/completions").header("x-tenant-id", tenant).body(body)
}

#[tokio::test]
async fn bodies_up_to_the_raised_limit_are_counted_and_larger_ones_judged_by_their_length() {
    let bench = Bench::with(Filter::yaml(TIERS), |bootstrap| bootstrap.body_limit(16 << 20)).await;
    let (held, over) = (large(3 << 20), large(5 << 20));

    let (response, answer) = bench.json(post("held", held.clone())).await;
    // Above `exact_up_to` the filter extrapolates the count; this text is uniform, so within a
    // thousandth.
    let prompt = answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(used(&response).abs_diff(prompt + 5) < prompt / 1_000, "{} {prompt}", used(&response));
    let response = bench.send(post("over", over.clone())).await;
    assert_eq!(used(&response), over.len().div_ceil(4) as u64 + 1_000);
    // An estimate fills a budget, but does not refuse a call forever. The filter answers the next
    // call before any byte of its body.
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-tier: poor\r\ncontent-length: {}\r\n\r\n",
        5 << 20
    );
    let mut first = RawConnection::open(bench.envoy.address()).await.unwrap();
    first.write(head.as_bytes()).await.unwrap();
    bench.envoy.wait_for_metrics(|metrics| oversize(metrics) == 2.0).await;
    let mut second = RawConnection::open(bench.envoy.address()).await.unwrap();
    second.write(head.as_bytes()).await.unwrap();
    second.read_until("HTTP/1.1 429 Too Many Requests").await;
    drop(first);

    let received = bench.mock.wait_for(2).await;
    assert_eq!((&received[0].body, &received[1].body), (&held.into(), &over.into()));
    assert_eq!(oversize(&bench.envoy.metrics().await), 3.0);
}

fn oversize(metrics: &Metrics) -> f64 {
    metrics.sum("tollgate_unread_bodies_total", &[("kind", "oversize")])
}

#[tokio::test]
async fn an_upload_of_unknown_length_over_envoys_limit_is_its_413_and_costs_nothing() {
    for filter in [Filter::yaml(TIERS), Filter::yaml(TIERS).without_holding()] {
        let bench = Bench::with(filter, |bootstrap| bootstrap).await;
        // This call completes the probe of holding.
        assert_eq!(bench.send(chat("ada")).await.status(), 200);
        let before = used_by(&bench, "eve").await + 10;
        let (request, mut sender) = post("eve", String::new()).body_in_parts();
        let mut client = Client::http2(bench.envoy.address()).await.unwrap();
        let call = tokio::spawn(async move { client.send(request).await });
        while sender.send(vec![b' '; 64 << 10]).await {}
        assert_eq!(call.await.unwrap().unwrap().status(), 413);
        assert_eq!(used_by(&bench, "eve").await, before);
    }
}

#[tokio::test]
async fn headers_that_are_not_text_are_read_as_bytes() {
    let configuration = TIERS.replace(
        "x-tier, default: rich }",
        "x-tier, default: rich }\n  key: { header: authorization, scheme: Bearer, secret: true }",
    );
    let bench = Bench::with(Filter::yaml(&configuration), |bootstrap| bootstrap.upgrade("websocket")).await;
    let status = |head: &'static [u8]| {
        let address = bench.envoy.address();
        async move {
            let tail = format!("content-length: {}\r\nconnection: close\r\n\r\n{CHAT}", CHAT.len());
            let request = [b"POST ", head, b"\r\nhost: x\r\n", tail.as_bytes()].concat();
            let answer = raw::exchange(address, &request).await.unwrap();
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let remaining = answer
                .lines()
                .find_map(|line| line.strip_prefix("x-ratelimit-remaining-tokens: ").map(str::to_owned));
            (answer.split(' ').nth(1).unwrap_or_default().to_owned(), remaining)
        }
    };
    let counted = |tokens: u64| ("200".to_owned(), Some((MAX - tokens).to_string()));
    for head in [
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: \xff\xfe" as &[u8],
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: path\r\nauthorization: Bearer \xff",
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: scheme\r\nauthorization: \xff\xff",
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: tier\r\nx-tier: \xc3\x28",
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: accept\r\naccept-encoding: \xff\r\ncontent-type: \xff",
        // A header may occur several times.
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: a\r\nx-tenant-id: b",
    ] {
        assert_eq!(status(head).await, counted(1_010), "{}", String::from_utf8_lossy(head));
    }
    let bytes = CHAT.len() as u64;
    for head in [
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: c\r\ncontent-encoding: \xff" as &[u8],
        b"/v1/chat/completions HTTP/1.1\r\nx-tenant-id: d\r\ncontent-encoding: identity\r\ncontent-encoding: gzip",
    ] {
        // The mock rejects bodies that it cannot decode, but the filter has reserved for them.
        assert_eq!(status(head).await, ("400".to_owned(), Some((MAX - 1_000 - bytes).to_string())));
    }
    // The filter does not judge these, and no VM dies of them.
    for head in [
        b"/v1/chat/completions?\xff HTTP/1.1" as &[u8],
        b"/\xff\xfe/chat/completions HTTP/1.1",
        b"/v1/chat/completions HTTP/1.1\r\ncontent-length: \xff",
        b"/v1/chat/completions HTTP/1.1\r\nconnection: upgrade\r\nupgrade: \xff",
    ] {
        let (status, remaining) = status(head).await;
        assert!(status.starts_with('4') || remaining.is_some(), "{status} {}", String::from_utf8_lossy(head));
    }
    assert_eq!(bench.envoy.metrics().await.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
}

fn fault(header: &str) -> String {
    format!(
        "- name: fault
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
    abort: {{ http_status: 503, percentage: {{ numerator: 100 }} }}
    headers: [ {{ name: x-fault, string_match: {{ exact: {header} }} }} ]
"
    )
}

#[tokio::test]
async fn answers_that_come_from_envoy_itself_are_settled_like_others() {
    let direct = "- match: { path: /direct/chat/completions }\n  direct_response: { status: 200, body: { inline_string: \"a short text\" } }";
    let bench = Bench::with(Filter::yaml(TIERS), |bootstrap| {
        bootstrap.filters_before(&fault("before")).filters_after(&fault("after")).routes_before(direct)
    })
    .await;
    // In front of this filter: it sees the call only at its end.
    let response = bench.send(chat("ada").header("x-fault", "before")).await;
    assert_eq!((response.status(), response.header("x-ratelimit-remaining-tokens")), (503, None));
    assert_eq!(used_by(&bench, "ada").await, 0);
    // Behind the filter: the call has passed, and costs nothing because it failed.
    let response = bench.send(chat("bob").header("x-fault", "after")).await;
    assert_eq!((response.status(), used(&response)), (503, 1_010));
    assert_eq!(used_by(&bench, "bob").await, 0);
    // Instead of an upstream: the filter charges by the text of the answer.
    let direct = Request::post("/direct/chat/completions").header("x-tenant-id", "eve").body(CHAT);
    assert_eq!(bench.send(direct).await.status(), 200);
    assert_eq!(used_by(&bench, "eve").await, 10 + "a short text".len() as u64 / 4);
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "error")]), 1.0);
}

const SHORT: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits: [ { name: tpm, count: tokens, per: tenant, max: 600, window: 3s } ]
";

#[tokio::test]
async fn a_worker_recovers_from_a_trap_and_what_its_calls_held_flows_back() {
    for when in ["request", "response"] {
        let bench = Bench::with(Filter::yaml(SHORT).module(&trap_module()), |bootstrap| bootstrap).await;
        let slow = |tenant: &str| {
            chat_with(tenant, json!({ "stream": true, "max_tokens": 130 }))
                .header("x-mock-output-tokens", "130")
                .header("x-mock-chunk-delay-ms", "4")
        };
        // Streams on other connections, most of them on other workers, and one on the connection of
        // the trapping call.
        let mut others = Vec::new();
        for number in 0..8 {
            let mut other = bench.send(slow(&format!("other-{number}"))).await;
            other.chunk().await.unwrap();
            others.push(other);
        }
        let mut client = Client::http2(bench.envoy.address()).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut stream = client.same_connection().send(slow("ada")).await.unwrap();
            assert_eq!(stream.status(), 200);
            stream.chunk().await.unwrap();
            held.push(stream);
        }

        let answer = client.send(chat("eve").header("x-tollgate-trap", when)).await.unwrap();

        assert_eq!(answer.status(), 503, "{when}");
        for mut stream in held {
            assert!(stream.body().await.is_err(), "a stream of the worker that trapped went on");
        }
        // Their holds, 4 × 140 of 600 tokens, stay charged but refill with the window.
        let (mut statuses, started) = (Vec::new(), Instant::now());
        while statuses.last() != Some(&200) {
            assert!(started.elapsed() < PATIENCE, "{statuses:?}");
            let call = chat_with("ada", json!({ "max_tokens": 130 }));
            let response = client.send(call).await.unwrap();
            statuses.push(response.status());
            // Waits as long as a refusal says. Until the worker has a new VM, Envoy answers with
            // 503 and no such header.
            let wait = response.header("retry-after-ms").map_or(20, |wait| wait.parse().unwrap());
            sleep(Duration::from_millis(wait)).await;
        }
        assert!(statuses.contains(&429), "{when}: {statuses:?}");
        assert!(statuses.iter().all(|status| [200, 429, 503].contains(status)), "{when}: {statuses:?}");
        let mut untouched = 0;
        for mut other in others {
            untouched += usize::from(other.transcript().await.is_ok_and(|transcript| transcript.is_done()));
        }
        assert!(untouched > 0, "a trap of one worker ended all streams");
        assert_eq!(bench.envoy.metrics().await.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 1.0);
    }
}
