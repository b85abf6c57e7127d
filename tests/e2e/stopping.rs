//! Streams that exhaust their budget get an ending in their API's format; the filter drains or
//! resets their upstream.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{Client, ClientError, Request, Response};
use tollgate_rig::mock_llm::{Ending, eventstream};

use crate::bench::Bench;

/// A tenant's budget; none of it refills during a test.
const BUDGET: u64 = 300;

pub(crate) fn configuration(drain_for: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
streams: {{ stop_at_limit: true, drain_for: {drain_for} }}
counting: {{ output_reserve: {{ at_most: 0.1 }} }}
tiers: {{ free: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: {BUDGET}, window: 30d }} ] }} }}
"
    )
}

/// Returns a call whose answer far exceeds the budget and streams slowly enough to outlast its
/// client.
pub(crate) fn endless(path: &str, body: &Value) -> Request {
    let request = Request::post(path).json(body);
    request.header("x-mock-output-tokens", "2000").header("x-mock-chunk-delay-ms", "2")
}

/// Returns the calls, each with the ending that its client gets.
pub(crate) fn calls() -> [(Request, &'static [&'static str]); 9] {
    let messages = json!([{ "role": "user", "content": "Say something." }]);
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Say something." }] }] });
    let converse = json!({ "messages": [{ "role": "user", "content": [{ "text": "Say something." }] }] });
    let native =
        json!({ "anthropic_version": "bedrock-2023-05-31", "messages": messages, "max_tokens": 100_000 });
    [
        (
            endless(
                "/v1/chat/completions",
                &json!({ "model": "gpt-4o", "messages": messages, "stream": true }),
            ),
            &["\"finish_reason\":\"length\"", "[DONE]"],
        ),
        (
            endless(
                "/v1/responses",
                &json!({ "model": "gpt-4o", "input": "Say something.", "stream": true }),
            ),
            &["\"reason\":\"max_output_tokens\"", "[DONE]"],
        ),
        (
            endless(
                "/v1/messages",
                &json!({ "model": "claude-sonnet-4-5", "messages": messages, "max_tokens": 100_000, "stream": true }),
            ),
            &["\"stop_reason\":\"max_tokens\"", "\"type\":\"message_stop\""],
        ),
        (
            endless("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", &contents),
            &["\"finishReason\":\"MAX_TOKENS\""],
        ),
        (
            endless(
                "/v2/chat",
                &json!({ "model": "command-a-03-2025", "messages": messages, "stream": true }),
            ),
            &["\"finish_reason\":\"MAX_TOKENS\"", "[DONE]"],
        ),
        (
            endless("/api/chat", &json!({ "model": "llama3.2", "messages": messages })),
            &["\"done_reason\":\"length\""],
        ),
        (
            endless("/model/amazon.nova-lite-v1%3A0/converse-stream", &converse),
            &["\"stopReason\":\"max_tokens\"", "\"outputTokens\""],
        ),
        (
            endless("/model/anthropic.claude-sonnet-4/invoke-with-response-stream", &native),
            &["\"stop_reason\":\"max_tokens\"", "\"amazon-bedrock-invocationMetrics\""],
        ),
        (
            endless(
                "/model/meta.llama3-8b-instruct-v1%3A0/invoke-with-response-stream",
                &json!({ "prompt": "Say something." }),
            ),
            &["\"stop_reason\":\"length\""],
        ),
    ]
}

/// Returns the documents of a stream: its events, its lines, or the payloads of its frames, which
/// must be whole.
fn documents(response: &Response, body: &[u8]) -> Vec<String> {
    let content_type = response.header("content-type").unwrap();
    if content_type == eventstream::CONTENT_TYPE {
        return eventstream::frames(body).unwrap().iter().map(payload).collect();
    }
    let end = if content_type.contains("ndjson") { "\n" } else { "\n\n" };
    str::from_utf8(body).unwrap().split_terminator(end).map(str::to_owned).collect()
}

/// Returns the payload of a frame, which a chunk has in base64.
fn payload(frame: &eventstream::Frame) -> String {
    let bytes = match frame.header(":event-type") {
        Some("chunk") => STANDARD.decode(frame.json()["bytes"].as_str().unwrap()).unwrap(),
        _ => frame.payload.clone(),
    };
    String::from_utf8(bytes).unwrap()
}

/// Asserts that the ending is the last that the client got.
pub(crate) fn assert_ends(response: &Response, body: &[u8], ending: &[&str]) {
    let documents = documents(response, body);
    let last = &documents[documents.len() - ending.len()..];
    for (document, expected) in last.iter().zip(ending) {
        assert!(document.contains(expected), "{expected} in {last:?}");
    }
}

/// Returns the body up to the reset.
async fn cut_body(response: &mut Response) -> Vec<u8> {
    match response.body().await {
        Err(ClientError::Cut { received, .. }) => received.to_vec(),
        other => panic!("it is not cut: {other:?}"),
    }
}

#[tokio::test]
async fn every_api_gets_its_ending_and_the_upstream_stops() {
    let bench = Bench::start(&configuration("0s")).await;
    let address = bench.envoy.address();
    let mut count = 0;
    for http2 in [false, true] {
        for (request, ending) in calls() {
            count += 1;
            let tenant = format!("tenant-{count}");
            let client = if http2 { Client::http2(address).await } else { Client::http1(address).await };
            let request = request.header("x-tenant-id", &tenant);
            let mut response = client.unwrap().send(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let body = cut_body(&mut response).await;

            assert_ends(&response, &body, ending);
            let received = &bench.mock.wait_for(count).await[count - 1];
            assert_eq!(received.ended().await, Ending::Aborted, "{ending:?}");
            let line = &bench.envoy.wait_for_access_log(count).await[count - 1];
            assert_eq!(line["tollgate.stopped_by"], "tpm");
            bench.envoy.wait_for_log(&format!(r#""per":{{"tenant":"{tenant}"}}"#)).await;
        }
    }
    bench.wait_for_calls("stopped", 18).await;
    bench.wait_for_count("tollgate_streams_stopped_total", &[("limit", "tpm")], 18).await;
}

#[tokio::test]
async fn what_was_streamed_is_charged_and_the_debt_is_the_grace() {
    let bench = Bench::start(&configuration("0s")).await;
    let [(request, _), ..] = calls();
    let body = cut_body(&mut bench.send(request.header("x-tenant-id", "ada")).await).await;
    let words = Transcript::parse(&body)
        .json()
        .filter(|chunk| chunk["choices"][0]["delta"]["content"] != json!(null))
        .count();
    bench.wait_for_calls("stopped", 1).await;
    let line = &bench.envoy.wait_for_access_log(1).await[0];
    let used =
        |side: &str| line[format!("tollgate.{side}_tokens.used")].as_str().unwrap().parse::<u64>().unwrap();
    let used = used("input") + used("output");
    // The budget and a twentieth, a hundredth as a step, and the tokens that the filter does not
    // count one by one.
    assert!((316..=340).contains(&used), "{used} tokens, {words} chunks");
    assert_eq!(bench.left("ada").await, 0);
}

#[tokio::test]
async fn a_drained_stream_ends_properly_when_its_upstream_does() {
    let bench = Bench::start(&configuration("30s")).await;
    for (count, (request, ending)) in (1..).zip(calls()) {
        let request = request.header("x-tenant-id", format!("tenant-{count}"));
        let request = request.header("x-mock-output-tokens", "600");
        let mut response = bench.send(request).await;
        let body = response.body().await.unwrap();
        assert_ends(&response, &body, ending);
        let documents = documents(&response, &body);
        let ends = documents.iter().filter(|document| document.contains(ending[0]));
        assert_eq!(ends.count(), 1, "{documents:?}");
        let received = &bench.mock.wait_for(count).await[count - 1];
        assert_eq!(received.ended().await, Ending::Finished);
    }
    bench.wait_for_calls("stopped", 9).await;
    assert_eq!(bench.envoy.metrics().await.sum("tollgate_streams_cut_total", &[]), 0.0);
}

#[tokio::test]
async fn a_stream_whose_upstream_goes_on_for_longer_is_reset() {
    let bench = Bench::start(&configuration("100ms")).await;
    let [(request, ending), ..] = calls();
    let mut response = bench.send(request.header("x-tenant-id", "ada")).await;
    let body = cut_body(&mut response).await;
    assert_ends(&response, &body, ending);
    let received = &bench.mock.wait_for(1).await[0];
    assert_eq!(received.ended().await, Ending::Aborted);
    bench.wait_for_count("tollgate_streams_cut_total", &[], 1).await;
    let drained = bench.envoy.metrics().await.sum("tollgate_drained_bytes_total", &[]);
    // About one chunk every two milliseconds.
    assert!(drained > 1000.0, "{drained} bytes");
}

#[tokio::test]
async fn a_client_that_leaves_behind_the_ending_stops_its_upstream_and_is_charged_as_told() {
    let bench = Bench::start(&configuration("30s")).await;
    for (count, http2) in [(1, false), (2, true)] {
        let [(request, _), ..] = calls();
        let request = request.header("x-tenant-id", format!("tenant-{count}"));
        let mut response = if http2 { bench.send_http2(request).await } else { bench.send(request).await };
        let mut body = Vec::new();
        while !body.ends_with(b"[DONE]\n\n") {
            body.extend_from_slice(&response.chunk().await.unwrap().unwrap().data);
        }
        response.abort();
        let received = &bench.mock.wait_for(count).await[count - 1];
        assert_eq!(received.ended().await, Ending::Aborted);
    }
    bench.wait_for_calls("stopped", 2).await;
    bench.envoy.wait_for_access_log(2).await;
    assert_eq!(bench.envoy.metrics().await.sum("tollgate_calls_total", &[]), 2.0);
}
