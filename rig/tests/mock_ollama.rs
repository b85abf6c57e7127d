//! The mock implements Ollama's dialect: lines of JSON, streamed by default.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

fn chat(more: &Value) -> Request {
    let mut body = json!({ "model": "llama3.2", "messages": [{ "role": "user", "content": "Hello there" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post("/api/chat").json(&body).header("x-mock-output-tokens", "7")
}

fn generate(more: &Value) -> Request {
    let mut body = json!({ "model": "llama3.2", "prompt": "Hello there" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post("/api/generate").json(&body).header("x-mock-output-tokens", "7")
}

async fn lines(mock: &MockLlm, request: Request) -> Vec<Value> {
    let mut response = client::send(mock.address(), request).await.unwrap();
    assert_eq!(response.header("content-type"), Some("application/x-ndjson"));
    let body = response.body().await.unwrap();
    assert!(body.ends_with(b"}\n"));
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

async fn answer(mock: &MockLlm, request: Request) -> Value {
    client::send(mock.address(), request).await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn answers_are_streamed_unless_told_otherwise_and_counted_in_the_last_line() {
    let mock = MockLlm::start().await;
    let requests = [chat as fn(&Value) -> Request, generate];
    for (request, (said, prompt)) in requests.into_iter().zip([("/message/content", 9), ("/response", 2)]) {
        let lines = lines(&mock, request(&json!({})).header("x-mock-tokens-per-chunk", "4")).await;
        let whole = answer(&mock, request(&json!({ "stream": false }))).await;

        assert_eq!(lines.len(), 3);
        let text: String = lines.iter().map(|line| line.pointer(said).unwrap().as_str().unwrap()).collect();
        assert_eq!(text, *whole.pointer(said).unwrap());
        let (last, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line["done"] == false && line.get("eval_count").is_none()));
        for end in [last, &whole] {
            assert_eq!((&end["done"], &end["done_reason"]), (&json!(true), &json!("stop")));
            assert_eq!(end["prompt_eval_count"], prompt);
            assert_eq!(end["eval_count"], 7);
        }
    }
}

#[tokio::test]
async fn the_request_limits_the_length_unless_the_limit_is_negative() {
    let mock = MockLlm::start().await;
    for (limit, count, reason) in [(3, 3, "length"), (-1, 7, "stop")] {
        let more = json!({ "stream": false, "options": { "num_predict": limit } });
        let body = answer(&mock, chat(&more)).await;
        assert_eq!((&body["eval_count"], &body["done_reason"]), (&json!(count), &json!(reason)), "{limit}");
    }
}

#[tokio::test]
async fn embeddings_count_their_inputs() {
    let mock = MockLlm::start().await;
    for (input, count) in [(json!("Hello there"), 1), (json!(["Hello there", "Hello there"]), 2)] {
        let request = Request::post("/api/embed").json(&json!({ "model": "all-minilm", "input": input }));
        let body = answer(&mock, request).await;
        assert_eq!(body["embeddings"].as_array().unwrap().len(), count);
        assert_eq!(body["prompt_eval_count"], 2 * count);
    }
}

#[tokio::test]
async fn counts_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;
    let odd = chat(&json!({})).header("x-mock-usage", r#"{"eval_count": 5}"#);
    let last = lines(&mock, odd).await.pop().unwrap();
    assert_eq!((&last["eval_count"], last.get("prompt_eval_count")), (&json!(5), None));

    let none = chat(&json!({})).header("x-mock-no-usage", "true");
    let last = lines(&mock, none).await.pop().unwrap();
    assert_eq!((&last["done"], last.get("eval_count")), (&json!(true), None));
}

#[tokio::test]
async fn errors_are_a_sentence() {
    let mock = MockLlm::start().await;
    let cases = [
        (chat(&json!({})).header("x-mock-status", "503"), 503),
        (generate(&json!({ "prompt": null })), 400),
        (Request::post("/api/embed").body("{"), 400),
    ];
    for (request, status) in cases {
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.json().await.unwrap()["error"].is_string());
    }
}
