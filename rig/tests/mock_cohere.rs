//! The mock implements Cohere's dialect, version 2.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

fn post(more: &Value) -> Request {
    let mut body =
        json!({ "model": "command-a", "messages": [{ "role": "user", "content": "Hello there" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post("/v2/chat").json(&body).header("x-mock-output-tokens", "7")
}

async fn answer(mock: &MockLlm, request: Request) -> Value {
    client::send(mock.address(), request).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn both_usages_are_floating_point_numbers() {
    let mock = MockLlm::start().await;
    let body = answer(&mock, post(&json!({}))).await;
    assert_eq!(body["finish_reason"], "COMPLETE");
    let usage = &body["usage"];
    assert_eq!(usage["billed_units"], json!({ "input_tokens": 2.0, "output_tokens": 7.0 }));
    assert_eq!(usage["tokens"], json!({ "input_tokens": 9.0, "output_tokens": 7.0 }));

    let body = answer(&mock, post(&json!({ "max_tokens": 3, "documents": ["Hello there"] }))).await;
    assert_eq!(body["finish_reason"], "MAX_TOKENS");
    assert_eq!(body["usage"]["tokens"], json!({ "input_tokens": 11.0, "output_tokens": 3.0 }));
}

#[tokio::test]
async fn a_stream_ends_with_the_usage_and_says_the_same_as_the_whole() {
    let mock = MockLlm::start().await;
    let whole = answer(&mock, post(&json!({}))).await;
    let request = post(&json!({ "stream": true })).header("x-mock-tokens-per-chunk", "4");
    let mut response = client::send(mock.address(), request).await.unwrap();

    let transcript = response.transcript().await.unwrap();

    let events: Vec<Value> = transcript.json().collect();
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let (start, delta, end) = ("content-start", "content-delta", "content-end");
    assert_eq!(types, ["message-start", start, delta, delta, end, "message-end"]);
    let texts = events.iter().filter_map(|event| event["delta"]["message"]["content"]["text"].as_str());
    assert_eq!(texts.collect::<String>(), whole["message"]["content"][0]["text"]);
    assert_eq!(events[5]["delta"]["usage"], whole["usage"]);
    assert!(transcript.is_done());
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;
    for stream in [false, true] {
        let odd = post(&json!({ "stream": stream })).header("x-mock-usage", r#"{"tokens": null}"#);
        let body = client::send(mock.address(), odd).await.unwrap().body().await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains(r#""usage":{"tokens": null}"#), "{stream}");
        let none = post(&json!({ "stream": stream })).header("x-mock-no-usage", "true");
        let body = client::send(mock.address(), none).await.unwrap().body().await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("usage"), "{stream}");
    }
}

#[tokio::test]
async fn errors_have_a_message_and_an_id() {
    let mock = MockLlm::start().await;
    let cases = [
        (post(&json!({})).header("x-mock-status", "429"), 429),
        (post(&json!({ "messages": null })), 400),
        (Request::post("/v2/chat").body("{"), 400),
    ];
    for (request, status) in cases {
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), status);
        let body = response.json().await.unwrap();
        assert!(body["message"].is_string() && body["id"].is_string(), "{body}");
    }
}
