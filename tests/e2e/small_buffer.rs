//! An Envoy whose buffer is smaller than the bodies to hold, like Envoy Gateway's default. Over
//! HTTP/2 the buffer is the stream's window instead, 16 MiB by default.

use serde_json::json;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::{Bootstrap, Filter};

use crate::bench::Bench;
use crate::holding::WARNING;

const TIERS: &str = "
identity: { tenant: { header: x-tenant-id } }
counting: { output_reserve: { start: 1000, learn: false } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1_000_000, window: 30d } ] } }
";

fn small(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap.listener("per_connection_buffer_limit_bytes: 32768")
}

const LARGE: usize = 60_000;

/// Returns a call of exactly this many bytes.
fn large(bytes: usize) -> String {
    let body = |content: &str| {
        json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string()
    };
    body(&"x".repeat(bytes - body("").len()))
}

fn post(body: String) -> Request {
    Request::post("/v1/chat/completions").header("x-tenant-id", "ada").body(body)
}

const TOLD: &str = "Envoy answered 413 to a call";

#[tokio::test]
async fn a_body_over_envoys_buffer_is_told_once_with_its_size_and_counted_each_time() {
    for (what, filter) in [("held", Filter::yaml(TIERS)), ("not held", Filter::yaml(TIERS).without_holding())]
    {
        let bench = Bench::with(filter, small).await;
        // Small calls show whether holding works; on a busy machine not always the first.
        for _ in 0..20 {
            assert_eq!(bench.send(post(large(1_000))).await.status(), 200);
            if what == "held" || bench.envoy.log().contains(WARNING) {
                break;
            }
        }
        // Each call has its own connection, so that several workers see one.
        for _ in 0..12 {
            let response = bench.send(post(large(LARGE))).await;
            assert_eq!(response.status(), 413, "{what}");
        }

        bench.envoy.wait_for_log(TOLD).await;
        let log = bench.envoy.log();
        assert_eq!(log.matches(TOLD).count(), 1);
        let line = log.lines().find(|line| line.contains(TOLD)).unwrap();
        for part in [
            "[warning]",
            "60000 bytes",
            "per_connection_buffer_limit_bytes",
            "initial_stream_window_size",
            "counting.hold_up_to",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let metrics = bench.envoy.metrics().await;
        assert_eq!(metrics.sum("tollgate_bodies_over_buffer_total", &[]), 12.0);
        // Where the host cannot hold requests, the upstream sees the headers of each.
        assert!(what != "held" || bench.mock.received().len() == 1);
    }
}

#[tokio::test]
async fn an_upload_of_unknown_length_over_envoys_buffer_is_noticed_too() {
    let bench = Bench::with(Filter::yaml(TIERS), small).await;
    let (request, mut sender) = post(String::new()).body_in_parts();
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let call = tokio::spawn(async move { client.send(request).await });
    while sender.send(vec![b' '; 8 << 10]).await {}
    assert_eq!(call.await.unwrap().unwrap().status(), 413);
    bench.envoy.wait_for_log(TOLD).await;
    assert_eq!(bench.envoy.metrics().await.sum("tollgate_bodies_over_buffer_total", &[]), 1.0);
}

#[tokio::test]
async fn with_the_remedy_longer_bodies_pass_on_a_guess_and_nothing_is_told() {
    let configuration = TIERS.replace("counting: {", "counting: { hold_up_to: 32KiB,");
    let bench = Bench::with(Filter::yaml(&configuration), small).await;
    for bytes in [LARGE, 32 << 10] {
        let response = bench.send(post(large(bytes))).await;
        assert_eq!(response.status(), 200, "{bytes}");
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_unread_bodies_total", &[("kind", "oversize")]), 1.0);
    assert_eq!(metrics.sum("tollgate_bodies_over_buffer_total", &[]), 0.0);
    assert!(!bench.envoy.log().contains(TOLD));
}
