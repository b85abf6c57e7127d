//! Every ending of a call settles it, and the budget is exact afterwards.
//!
//! In: calls of 10 input tokens. Out: nothing. Each holds 10 + 250 tokens unless it sets
//! `max_tokens`: a quarter of the budget is less than the 512 output tokens that the filter expects
//! of an unbounded call.

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tollgate_rig::client::raw::RawConnection;
use tollgate_rig::client::{self, Client, ClientError, Request, Response};
use tollgate_rig::envoy::{Filter, Metrics};
use tollgate_rig::mock_llm::tokens::Counter;
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use crate::bench::{Bench, Detour, chat, chat_by, chat_with, with_detours};
use crate::probe::{INPUT, STREAM_HEAD, answer, chunk, event};

const BUDGET: u64 = 1000;

fn configuration(counting: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
counting: {counting}
tiers:
  free:
    limits:
    - {{ name: rpm, count: requests, per: tenant, max: 100, window: 30d }}
    - {{ name: tpm, count: tokens, per: tenant, max: {BUDGET}, window: 30d }}
"
    )
}

async fn start() -> Bench {
    Bench::start(&configuration("{}")).await
}

/// Starts a bench with one detour besides the mock.
async fn start_with(counting: &str, detour: Detour<'_>) -> Bench {
    Bench::with(Filter::yaml(&configuration(counting)), |bootstrap| with_detours(bootstrap, &[detour])).await
}

/// Starts a bench with an upstream that plays this script at `/scripted`.
async fn start_before(upstream: &ScriptedUpstream, counting: &str) -> Bench {
    start_with(counting, Detour { name: "scripted", to: Some(upstream.address()), route: "" }).await
}

fn scripted(members: Value) -> Request {
    chat_by("scripted", "ada", members)
}

fn streamed() -> Value {
    json!({ "stream": true })
}

/// Reads a stream until this many events have arrived.
async fn read_events(response: &mut Response, count: usize) {
    let mut seen = 0;
    while seen < count {
        let chunk = response.chunk().await.unwrap().expect("the stream goes on");
        seen += String::from_utf8_lossy(&chunk.data).matches("\n\n").count();
    }
}

/// Returns a script that streams three tokens, then stays silent until `then` continues.
fn three_tokens(then: impl FnOnce(Script) -> Script) -> Script {
    let script = Script::new().read_request().write(STREAM_HEAD);
    then(["The", " answer", " to"].iter().fold(script, |script, word| script.write(chunk(&event(word)))))
}

fn requests_left(response: &Response) -> u64 {
    response.header("x-ratelimit-remaining-requests").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_whole_answer_is_charged_by_its_usage() {
    let bench = start().await;
    bench.json(chat("ada").header("x-mock-output-tokens", "30")).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 30);
    bench.wait_for_calls("ok", 1).await;
}

#[tokio::test]
async fn a_stream_is_charged_by_its_usage_before_its_client_sees_the_end() {
    let bench = start().await;
    let mut response = bench.send(chat_with("ada", streamed()).header("x-mock-output-tokens", "30")).await;
    assert!(response.transcript().await.unwrap().is_done());
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 30);
    bench.wait_for_calls("ok", 1).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_mid_stream_pays_for_what_it_was_sent() {
    let upstream = ScriptedUpstream::start([three_tokens(Script::read_until_closed)]).await;
    let bench = start_before(&upstream, "{}").await;
    for (calls, http2) in [(1, false), (2, true)] {
        let address = bench.envoy.address();
        let client = if http2 { Client::http2(address).await } else { Client::http1(address).await };
        let mut response = client.unwrap().send(scripted(streamed())).await.unwrap();
        read_events(&mut response, 3).await;
        response.abort();
        bench.wait_for_calls("client_abort", calls).await;
        assert_eq!(bench.left("ada").await, BUDGET - u64::from(calls) * (INPUT + 3), "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_pays_for_its_input() {
    let arrived = Signal::new();
    let script = Script::new().read_request().tell(&arrived).read_until_closed();
    let upstream = ScriptedUpstream::start([script]).await;
    let bench = start_before(&upstream, "{}").await;
    let mut client = Client::http1(bench.envoy.address()).await.unwrap();
    tokio::select! {
        _ = client.send(scripted(streamed())) => panic!("nobody answers"),
        () = arrived.wait() => {}
    }
    drop(client);
    bench.wait_for_calls("client_abort", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT);
}

#[tokio::test]
async fn a_client_that_hangs_up_within_its_request_pays_nothing() {
    let bench = start().await;
    let mut connection = RawConnection::open(bench.envoy.address()).await.unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-tenant-id: ada\r\ncontent-length: 500\r\n\r\n";
    connection.write(format!("{head}{{\"model\":").as_bytes()).await.unwrap();
    let here = [("envoy_http_conn_manager_prefix", "main")];
    let has_begun = |metrics: &Metrics| metrics.sum("envoy_http_downstream_rq_active", &here) == 1.0;
    bench.envoy.wait_for_metrics(has_begun).await;
    drop(connection);
    bench.envoy.wait_for_access_log(1).await;
    assert_eq!(bench.left("ada").await, BUDGET);
    assert_eq!(bench.mock.received().len(), 1, "only the probe has reached the upstream");
}

#[tokio::test]
async fn an_upstream_that_resets_mid_stream_is_paid_for_what_it_sent() {
    let cut = Signal::new();
    let upstream = ScriptedUpstream::start([three_tokens(|script| script.wait(&cut).reset())]).await;
    let bench = start_before(&upstream, "{}").await;
    let mut response = bench.send(scripted(streamed())).await;
    read_events(&mut response, 3).await;
    cut.fire();
    assert!(matches!(response.body().await, Err(ClientError::Cut { .. } | ClientError::Exchange(_))));
    bench.wait_for_calls("upstream_reset", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 3);

    // The same with a close instead of a reset: a chunk for the role, then three tokens.
    let request = chat_with("ada", streamed()).header("x-mock-cut-after", "4");
    assert!(bench.send(request).await.body().await.is_err());
    bench.wait_for_calls("upstream_reset", 2).await;
    assert_eq!(bench.left("ada").await, BUDGET - 2 * (INPUT + 3));
}

#[tokio::test]
async fn a_whole_answer_that_is_cut_is_charged_by_the_text_that_came() {
    let bench = start().await;
    let mut whole = client::send(bench.mock.address(), chat("ada")).await.unwrap();
    let came = whole.body().await.unwrap().slice(..150);
    let (_, text) = core::str::from_utf8(&came).unwrap().split_once("\"content\":\"").unwrap();
    let written = Counter::for_model("gpt-4o").text(text) as u64;
    assert!(written > 0, "{text}");
    let request = chat("ada").header("x-mock-split-bytes", "50").header("x-mock-cut-after", "3");
    assert!(bench.send(request).await.body().await.is_err());
    bench.wait_for_calls("upstream_reset", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - written);
}

#[tokio::test]
async fn an_error_of_the_upstream_costs_nothing_but_its_request() {
    let bench = start().await;
    for (calls, status) in [(1_u32, 400_u16), (2, 401), (3, 404), (4, 429), (5, 500), (6, 503)] {
        let request = chat("ada").header("x-mock-status", status.to_string());
        let (response, body) = bench.json(request).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(requests_left(&response), 100 - u64::from(calls));
        bench.wait_for_calls("error", calls).await;
    }
    assert_eq!(bench.left("ada").await, BUDGET);
}

#[tokio::test]
async fn an_upstream_that_is_down_costs_nothing_but_its_request() {
    // The socket is bound but does not listen, so no other process can listen on its port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let down = Detour { name: "down", to: Some(socket.local_addr().unwrap()), route: "" };
    let bench = start_with("{}", down).await;
    let mut response = bench.send(chat_by("down", "ada", json!({}))).await;
    assert_eq!((response.status(), requests_left(&response)), (503, 99));
    response.body().await.unwrap();
    bench.wait_for_calls("error", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET);
}

#[tokio::test]
async fn a_body_that_envoy_refuses_as_too_large_costs_nothing() {
    let bench = start().await;
    let (request, mut body) =
        Request::post("/v1/chat/completions").header("x-tenant-id", "ada").body_in_parts();
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let feeding = tokio::spawn(async move { while body.send(vec![b' '; 64 * 1024]).await {} });
    let response = client.send(request).await.unwrap();
    assert_eq!(response.status(), 413);
    drop(response);
    feeding.abort();
    bench.envoy.wait_for_access_log(1).await;
    assert_eq!(bench.left("ada").await, BUDGET);
}

#[tokio::test]
async fn an_upstream_that_is_too_slow_costs_nothing_but_its_request() {
    let slow = Detour { name: "slow", to: None, route: ", timeout: 0.1s" };
    let bench = start_with("{}", slow).await;
    let mut response = bench.send(chat_by("slow", "ada", json!({})).header("x-mock-delay-ms", "20000")).await;
    assert_eq!((response.status(), requests_left(&response)), (504, 99));
    response.body().await.unwrap();
    bench.wait_for_calls("error", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET);
}

#[tokio::test]
async fn a_stream_that_takes_too_long_is_charged_as_far_as_it_came() {
    let upstream = ScriptedUpstream::start([three_tokens(Script::read_until_closed)]).await;
    let slow = Detour { name: "scripted", to: Some(upstream.address()), route: ", idle_timeout: 0.2s" };
    let bench = start_with("{}", slow).await;
    let mut response = bench.send(scripted(streamed())).await;
    read_events(&mut response, 3).await;
    assert!(response.body().await.is_err());
    bench.wait_for_calls("upstream_reset", 1).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 3);
}

#[tokio::test]
async fn a_call_that_envoy_tries_again_is_counted_once() {
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let script = |bytes: String| Script::new().read_request().write(bytes);
    let upstream = ScriptedUpstream::start([script(unavailable.to_owned()), script(answer(INPUT, 7))]).await;
    let retried = Detour {
        name: "scripted",
        to: Some(upstream.address()),
        route: ", retry_policy: { retry_on: 5xx, num_retries: 3 }",
    };
    let bench = start_with("{}", retried).await;
    let (response, body) = bench.json(scripted(json!({}))).await;
    assert_eq!((response.status(), upstream.heard().len()), (200, 2), "{body}");
    assert_eq!(requests_left(&response), 99);
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 7);
    bench.wait_for_calls("ok", 1).await;
}

#[tokio::test]
async fn an_answer_without_usage_is_charged_by_its_text() {
    let bench = start().await;
    let without = |members: Value| {
        chat_with("ada", members).header("x-mock-no-usage", "true").header("x-mock-output-tokens", "30")
    };
    bench.json(without(json!({}))).await;
    assert_eq!(bench.left("ada").await, BUDGET - INPUT - 30);
    let mut response = bench.send(without(streamed())).await;
    assert!(response.transcript().await.unwrap().is_done());
    assert_eq!(bench.left("ada").await, BUDGET - 2 * (INPUT + 30));
    bench.wait_for_count("tollgate_usage_missing_total", &[("kind", "absent")], 2).await;
}

#[tokio::test]
async fn an_answer_with_nonsense_for_usage_is_charged_by_its_text() {
    let bench = start().await;
    let nonsense = [
        r#"{"prompt_tokens":-1,"completion_tokens":-1000000}"#,
        r#"{"prompt_tokens":{},"completion_tokens":[]}"#,
        r#""none""#,
        "[]",
        "true",
    ];
    for (calls, usage) in (1_u32..).zip(nonsense) {
        let request = chat("ada").header("x-mock-usage", usage).header("x-mock-output-tokens", "30");
        let (response, body) = bench.json(request).await;
        assert_eq!(response.status(), 200, "{body}");
        assert_eq!(bench.left("ada").await, BUDGET - u64::from(calls) * (INPUT + 30), "{usage}");
        bench.wait_for_count("tollgate_usage_missing_total", &[("kind", "unreadable")], calls).await;
    }
}

#[tokio::test]
async fn usage_beyond_all_bounds_is_not_believed() {
    let bench = start().await;
    let usage = r#"{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615}"#;
    let request = chat("ada").header("x-mock-usage", usage).header("x-mock-output-tokens", "3");
    bench.json(request).await;
    bench.wait_for_count("tollgate_usage_missing_total", &[("kind", "unreadable")], 1).await;
    assert_eq!(bench.left("ada").await, BUDGET - (INPUT + 3));
}

#[tokio::test]
async fn an_answer_that_is_compressed_all_the_same_is_charged_what_it_used() {
    let bench = start().await;
    for (calls, members) in
        [(1, json!({ "max_tokens": 20 })), (2, json!({ "max_tokens": 20, "stream": true }))]
    {
        let request = chat_with("ada", members).header("x-mock-encoding", "gzip");
        let mut response = bench.send(request.header("x-mock-output-tokens", "3")).await;
        assert_eq!((response.status(), response.header("content-encoding")), (200, Some("gzip")));
        response.body().await.unwrap();
        assert_eq!(bench.left("ada").await, BUDGET - calls * (INPUT + 3));
    }
}

/// Returns the remaining budget after a client aborts a stream at three tokens.
async fn left_after_abort(on_abort: &str) -> u64 {
    let upstream = ScriptedUpstream::start([three_tokens(Script::read_until_closed)]).await;
    let bench = start_before(&upstream, &format!("{{ on_abort: {on_abort} }}")).await;
    let mut response = bench.send(scripted(json!({ "stream": true, "max_tokens": 20 }))).await;
    read_events(&mut response, 3).await;
    response.abort();
    bench.wait_for_calls("client_abort", 1).await;
    bench.left("ada").await
}

#[tokio::test]
async fn the_operator_chooses_what_an_abort_costs() {
    assert_eq!(left_after_abort("charge_streamed").await, BUDGET - INPUT - 3);
    assert_eq!(left_after_abort("charge_reserved").await, BUDGET - INPUT - 20);
    assert_eq!(left_after_abort("free").await, BUDGET);
}

#[tokio::test]
async fn a_refused_call_costs_nothing() {
    let bench = start().await;
    let usage = r#"{"prompt_tokens":10,"completion_tokens":989}"#;
    bench.json(chat("ada").header("x-mock-usage", usage)).await;
    for _ in 0..3 {
        assert_eq!(bench.json(chat("ada")).await.0.status(), 429);
    }
    assert_eq!(bench.left("ada").await, 1);
    bench.wait_for_calls("refused", 4).await;
    assert_eq!(bench.mock.received().len(), 1);
}
