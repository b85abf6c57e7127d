//! The mock implements Anthropic's messages, also as Vertex serves them.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

fn body(more: &Value) -> Value {
    let mut body = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "messages": [{ "role": "user", "content": "Hello there" }],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn ask(more: &Value) -> Request {
    Request::post("/v1/messages").json(&body(more))
}

async fn json_of(address: SocketAddr, request: Request) -> Value {
    client::send(address, request).await.unwrap().json().await.unwrap()
}

/// Returns the events of a stream, after checking their framing.
async fn events_of(address: SocketAddr, request: Request) -> Vec<Value> {
    let mut response = client::send(address, request).await.unwrap();
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    let events: Vec<_> = Transcript::parse(body.as_bytes()).json().collect();
    let names: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, types(&events));
    events
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn joined(events: &[Value], field: &str) -> String {
    events.iter().filter_map(|event| event["delta"][field].as_str()).collect()
}

/// 3 for the message, 1 for the role, 2 for the words, 3 for the reply.
const INPUT_TOKENS: u64 = 9;

#[tokio::test]
async fn a_message_has_the_usage_of_what_was_sent() {
    let mock = MockLlm::start().await;
    let message = json_of(mock.address(), ask(&json!({})).header("x-mock-output-tokens", "7")).await;
    assert_eq!((&message["type"], &message["stop_reason"]), (&json!("message"), &json!("end_turn")));
    let usage = &message["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(INPUT_TOKENS), &json!(7)));
    assert_eq!(usage["cache_creation_input_tokens"], 0);
    assert_eq!(usage["cache_read_input_tokens"], 0);
}

#[tokio::test]
async fn max_tokens_limits_a_message() {
    let mock = MockLlm::start().await;
    let message = json_of(mock.address(), ask(&json!({ "max_tokens": 3 }))).await;
    assert_eq!(message["stop_reason"], "max_tokens");
    assert_eq!(message["usage"]["output_tokens"], 3);
}

#[tokio::test]
async fn a_streamed_message_has_the_events_of_the_api_in_order() {
    let mock = MockLlm::start().await;
    let whole = json_of(mock.address(), ask(&json!({})).header("x-mock-output-tokens", "2")).await;

    let request = ask(&json!({ "stream": true })).header("x-mock-output-tokens", "2");
    let events = events_of(mock.address(), request).await;

    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!(events[0]["message"]["content"], json!([]));
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], INPUT_TOKENS);
    assert_eq!(events[0]["message"]["usage"]["output_tokens"], 1);
    assert_eq!(joined(&events, "text"), whole["content"][0]["text"]);
    assert_eq!(events[6]["delta"]["stop_reason"], "end_turn");
    assert_eq!(events[6]["usage"], whole["usage"], "cumulative");
}

#[tokio::test]
async fn what_is_marked_is_written_to_the_cache_and_kept_apart() {
    let mock = MockLlm::start().await;
    let system = json!([{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }]);
    let plain = json_of(mock.address(), ask(&json!({ "system": "Be brief." }))).await;
    let events = events_of(mock.address(), ask(&json!({ "system": system, "stream": true }))).await;

    let usage = &events[0]["message"]["usage"];
    let [input, written] =
        ["input_tokens", "cache_creation_input_tokens"].map(|class| usage[class].as_u64().unwrap());
    assert!(written > 0);
    assert_eq!(plain["usage"]["input_tokens"], input + written);
    assert_eq!(usage["cache_creation"]["ephemeral_5m_input_tokens"], written);
}

#[tokio::test]
async fn a_message_thinks_if_that_is_enabled() {
    let mock = MockLlm::start().await;
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 }, "stream": true });
    let events = events_of(mock.address(), ask(&thinking).header("x-mock-output-tokens", "4")).await;

    assert_eq!(events[1]["content_block"]["type"], "thinking");
    assert!(!joined(&events, "thinking").is_empty());
    assert!(!joined(&events, "signature").is_empty());
    let starts: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!((&starts[1]["index"], &starts[1]["content_block"]["type"]), (&json!(1), &json!("text")));
    let usage = &events[events.len() - 2]["usage"];
    let thinking = usage["output_tokens_details"]["thinking_tokens"].as_u64().unwrap();
    assert_eq!(usage["output_tokens"], thinking + 4);
}

#[tokio::test]
async fn a_message_uses_the_tool_that_is_demanded() {
    let mock = MockLlm::start().await;
    let tools = json!([{ "name": "look", "input_schema": { "type": "object" } }]);
    let demand = json!({ "tools": tools, "tool_choice": { "type": "any" } });
    let whole = json_of(mock.address(), ask(&demand)).await;
    assert_eq!((&whole["stop_reason"], &whole["content"][0]["name"]), (&json!("tool_use"), &json!("look")));

    let demand = json!({ "tools": tools, "tool_choice": { "type": "tool", "name": "look" }, "stream": true });
    let events = events_of(mock.address(), ask(&demand)).await;
    let input: Value = serde_json::from_str(&joined(&events, "partial_json")).unwrap();
    assert_eq!(input, whole["content"][0]["input"]);
    assert_eq!(events[events.len() - 2]["usage"], whole["usage"]);
}

#[tokio::test]
async fn tokens_are_counted_as_a_message_counts_them() {
    let mock = MockLlm::start().await;
    let request = Request::post("/v1/messages/count_tokens").json(&body(&json!({})));
    assert_eq!(json_of(mock.address(), request).await, json!({ "input_tokens": INPUT_TOKENS }));
}

#[tokio::test]
async fn vertex_names_the_model_and_the_stream_in_the_path() {
    let mock = MockLlm::start().await;
    let path = "/v1/projects/p/locations/global/publishers/anthropic/models";
    let mut request = body(&json!({ "anthropic_version": "vertex-2023-10-16" }));
    request.as_object_mut().unwrap().remove("model");

    let raw = format!("{path}/claude-sonnet-4-5@20250929:rawPredict");
    let whole = json_of(mock.address(), Request::post(&raw).json(&request)).await;
    assert_eq!(whole["model"], "claude-sonnet-4-5@20250929");
    assert_eq!(whole["usage"]["input_tokens"], INPUT_TOKENS);

    let stream = format!("{path}/claude-sonnet-4-5@20250929:streamRawPredict");
    let events = events_of(mock.address(), Request::post(&stream).json(&request)).await;
    assert_eq!(events[events.len() - 2]["usage"], whole["usage"]);

    let count = format!("{path}/count-tokens:rawPredict");
    let counted = json_of(mock.address(), Request::post(&count).json(&body(&json!({})))).await;
    assert_eq!(counted["input_tokens"], INPUT_TOKENS);
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;
    let odd = r#"{"input_tokens": 1, "cache_read_input_tokens":2,"output_tokens":3}"#;
    for (stream, places) in [(false, 1), (true, 2)] {
        let ask = || ask(&json!({ "stream": stream }));
        let told = client::send(mock.address(), ask().header("x-mock-usage", odd)).await;
        let text = String::from_utf8(told.unwrap().body().await.unwrap().to_vec()).unwrap();
        assert_eq!(text.matches(&format!("\"usage\":{odd}")).count(), places, "{text}");

        let silent = client::send(mock.address(), ask().header("x-mock-no-usage", "true")).await;
        let text = String::from_utf8(silent.unwrap().body().await.unwrap().to_vec()).unwrap();
        assert!(!text.contains("usage") && !text.contains("_tokens"), "{text}");
    }
}

#[tokio::test]
async fn errors_have_anthropic_bodies() {
    let mock = MockLlm::start().await;
    let cases = [
        (ask(&json!({})).header("x-mock-status", "429"), 429, "rate_limit_error"),
        (ask(&json!({})).header("x-mock-status", "529"), 529, "overloaded_error"),
        (ask(&json!({ "max_tokens": null })), 400, "invalid_request_error"),
        (Request::post("/v1/messages").body("{"), 400, "invalid_request_error"),
        (Request::post("/v1/messages").body("[]"), 400, "invalid_request_error"),
    ];
    for (request, status, kind) in cases {
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.json().await.unwrap();
        assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!(kind)), "{status}");
    }
}
