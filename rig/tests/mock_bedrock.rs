//! The mock implements Bedrock's dialects: Converse, the models' own, and binary frames.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_rig::client::{self, ClientError, Request, Response};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::eventstream::{CONTENT_TYPE, Frame, frames};

const NOVA: &str = "amazon.nova-lite-v1%3A0";
const CLAUDE: &str = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-4-5-v1%3A0";
const LLAMA: &str = "meta.llama3-8b-instruct-v1:0";
const TITAN: &str = "amazon.titan-text-express-v1";

/// 3 for the message, 1 for the role, 2 for the words, 3 for the reply.
const PROMPT: u64 = 9;

fn post(model: &str, operation: &str, body: &Value) -> Request {
    Request::post(&format!("/model/{model}/{operation}")).json(body).header("x-mock-output-tokens", "7")
}

fn hello() -> Value {
    json!({ "messages": [{ "role": "user", "content": [{ "text": "Hello there" }] }] })
}

fn native(model: &str) -> Value {
    match model {
        CLAUDE => json!({
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 100,
            "messages": [{ "role": "user", "content": "Hello there" }],
        }),
        LLAMA => json!({ "prompt": "Hello there", "max_gen_len": 100 }),
        _ => json!({ "inputText": "Hello there", "textGenerationConfig": { "maxTokenCount": 100 } }),
    }
}

async fn send(mock: &MockLlm, request: Request) -> Response {
    client::send(mock.address(), request).await.unwrap()
}

async fn framed(mock: &MockLlm, request: Request) -> Vec<Frame> {
    let mut response = send(mock, request).await;
    assert_eq!((response.status(), response.header("content-type")), (200, Some(CONTENT_TYPE)));
    frames(&response.body().await.unwrap()).unwrap()
}

/// Returns the native documents inside chunk frames.
fn documents(frames: &[Frame]) -> Vec<Value> {
    let document = |frame: &Frame| {
        assert_eq!(frame.header(":event-type"), Some("chunk"));
        let payload = frame.json();
        assert!(payload["p"].is_string());
        serde_json::from_slice(&STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap()).unwrap()
    };
    frames.iter().map(document).collect()
}

#[tokio::test]
async fn a_conversation_has_the_usage_of_what_was_sent() {
    let mock = MockLlm::start().await;
    for model in [NOVA, CLAUDE] {
        let body = send(&mock, post(model, "converse", &hello())).await.json().await.unwrap();
        assert_eq!(body["stopReason"], "end_turn");
        assert_eq!(body["usage"]["inputTokens"], PROMPT);
        assert_eq!(body["usage"]["outputTokens"], 7);
        assert_eq!(body["usage"]["totalTokens"], PROMPT + 7);
    }
    let mut short = hello();
    short["inferenceConfig"] = json!({ "maxTokens": 3 });
    let body = send(&mock, post(NOVA, "converse", &short)).await.json().await.unwrap();
    assert_eq!((&body["stopReason"], &body["usage"]["outputTokens"]), (&json!("max_tokens"), &json!(3)));
}

#[tokio::test]
async fn a_streamed_conversation_is_true_frames_that_end_in_usage() {
    let mock = MockLlm::start().await;
    let whole = send(&mock, post(NOVA, "converse", &hello())).await.json().await.unwrap();
    let request = post(NOVA, "converse-stream", &hello()).header("x-mock-tokens-per-chunk", "4");

    let frames = framed(&mock, request).await;

    let types: Vec<_> = frames.iter().map(|frame| frame.header(":event-type").unwrap()).collect();
    let delta = "contentBlockDelta";
    assert_eq!(types, ["messageStart", delta, delta, "contentBlockStop", "messageStop", "metadata"]);
    assert!(frames.iter().all(|frame| frame.header(":message-type") == Some("event")));
    let texts: Vec<_> = frames.iter().map(|frame| frame.json()["delta"]["text"].take()).collect();
    let said: String = texts.iter().filter_map(Value::as_str).collect();
    assert_eq!(said, whole["output"]["message"]["content"][0]["text"]);
    assert_eq!(frames[5].json()["usage"], whole["usage"]);
}

#[tokio::test]
async fn an_invoked_model_answers_in_its_own_dialect_with_its_counts_in_headers() {
    let mock = MockLlm::start().await;
    for (model, input, counts) in [
        (CLAUDE, "9", ["/usage/input_tokens", "/usage/output_tokens"]),
        (LLAMA, "2", ["/prompt_token_count", "/generation_token_count"]),
        (TITAN, "2", ["/inputTextTokenCount", "/results/0/tokenCount"]),
    ] {
        let mut response = send(&mock, post(model, "invoke", &native(model))).await;
        assert_eq!(response.header("x-amzn-bedrock-input-token-count"), Some(input), "{model}");
        assert_eq!(response.header("x-amzn-bedrock-output-token-count"), Some("7"), "{model}");
        let body = response.json().await.unwrap();
        let counted = counts.map(|pointer| body.pointer(pointer).unwrap().to_string());
        assert_eq!(counted, [input, "7"], "{model}");
    }
}

#[tokio::test]
async fn an_invoked_stream_brings_native_chunks_and_metrics_in_the_last() {
    let mock = MockLlm::start().await;
    for (model, input) in [(CLAUDE, 9), (LLAMA, 2), (TITAN, 2)] {
        let request = post(model, "invoke-with-response-stream", &native(model));
        let documents = documents(&framed(&mock, request).await);
        let (last, others) = documents.split_last().unwrap();
        let metrics = &last["amazon-bedrock-invocationMetrics"];
        assert_eq!(metrics["inputTokenCount"], input, "{model}");
        assert_eq!(metrics["outputTokenCount"], 7, "{model}");
        assert!(others.iter().all(|other| other.get("amazon-bedrock-invocationMetrics").is_none()));
        if model == CLAUDE {
            assert_eq!(documents[0]["type"], "message_start");
            assert_eq!(last["type"], "message_stop");
        }
    }
}

#[tokio::test]
async fn a_model_that_embeds_counts_its_input() {
    let mock = MockLlm::start().await;
    let request = post("amazon.titan-embed-text-v2:0", "invoke", &json!({ "inputText": "Hello there" }));
    let mut response = send(&mock, request).await;
    assert_eq!(response.header("x-amzn-bedrock-input-token-count"), Some("2"));
    let body = response.json().await.unwrap();
    assert!(body["embedding"].is_array());
    assert_eq!(body["inputTextTokenCount"], 2);
}

#[tokio::test]
async fn tokens_are_counted_for_either_kind_of_request() {
    let mock = MockLlm::start().await;
    let encoded = STANDARD.encode(native(CLAUDE).to_string());
    for input in [json!({ "converse": hello() }), json!({ "invokeModel": { "body": encoded } })] {
        let request = post(CLAUDE, "count-tokens", &json!({ "input": input }));
        let body = send(&mock, request).await.json().await.unwrap();
        assert_eq!(body, json!({ "inputTokens": PROMPT }));
    }
}

#[tokio::test]
async fn everything_that_the_model_reads_is_counted() {
    let mock = MockLlm::start().await;
    let result =
        json!({ "toolResult": { "toolUseId": "a", "content": [{ "text": "rain" }, { "json": {} }] } });
    let call = json!({ "toolUse": { "toolUseId": "a", "name": "look", "input": {} } });
    let tool = json!({ "toolSpec": { "name": "look", "inputSchema": { "json": { "type": "object" } } } });
    for (name, more) in [
        ("system", json!([{ "text": "Be brief." }])),
        ("toolConfig", json!({ "tools": [tool] })),
        ("messages", json!([{ "role": "user", "content": [{ "text": "Hello there" }, result] }])),
        ("messages", json!([{ "role": "user", "content": [{ "text": "Hello there" }, call] }])),
    ] {
        let mut body = hello();
        body[name] = more;
        let body = send(&mock, post(NOVA, "converse", &body)).await.json().await.unwrap();
        assert!(body["usage"]["inputTokens"].as_u64().unwrap() > PROMPT, "{name}");
    }
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;
    let given = r#"{"inputTokens": 5, "outputTokens": "many"}"#;
    let odd = post(NOVA, "converse-stream", &hello()).header("x-mock-usage", given);
    let frames = framed(&mock, odd).await;
    assert!(String::from_utf8_lossy(&frames.last().unwrap().payload).contains(given));
    let none = post(NOVA, "converse-stream", &hello()).header("x-mock-no-usage", "true");
    assert!(framed(&mock, none).await.iter().all(|frame| frame.json().get("usage").is_none()));

    let given = r#"{"input_tokens":5,"cache_read_input_tokens":70,"output_tokens":6}"#;
    let cached = post(CLAUDE, "invoke", &native(CLAUDE)).header("x-mock-usage", given);
    let response = send(&mock, cached).await;
    assert_eq!(response.header("x-amzn-bedrock-input-token-count"), Some("5"));
    assert_eq!(response.header("x-amzn-bedrock-cache-read-input-token-count"), Some("70"));
    for model in [CLAUDE, LLAMA, TITAN] {
        let none = post(model, "invoke", &native(model)).header("x-mock-no-usage", "true");
        let mut response = send(&mock, none).await;
        assert_eq!(response.header("x-amzn-bedrock-input-token-count"), None, "{model}");
        let body = response.json().await.unwrap().to_string().to_lowercase();
        assert!(!body.contains("tokencount") && !body.contains("usage"), "{body}");
        let none =
            post(model, "invoke-with-response-stream", &native(model)).header("x-mock-no-usage", "true");
        for document in documents(&framed(&mock, none).await) {
            assert!(!document.to_string().contains("etrics"), "{document}");
        }
    }
}

#[tokio::test]
async fn frames_can_be_split_and_cut() {
    let mock = MockLlm::start().await;
    let whole = send(&mock, post(NOVA, "converse-stream", &hello())).await.body().await.unwrap();
    let split = post(NOVA, "converse-stream", &hello()).header("x-mock-split-bytes", "5");
    assert_eq!(send(&mock, split).await.body().await.unwrap(), whole);

    let cut = post(NOVA, "converse-stream", &hello()).header("x-mock-split-bytes", "5");
    let error = send(&mock, cut.header("x-mock-cut-after", "30")).await.body().await.unwrap_err();
    let ClientError::Cut { received, .. } = error else { panic!("{error}") };
    assert_eq!(received, whole[..150]);
    assert!(frames(&received).is_err());
}

#[tokio::test]
async fn errors_have_their_name_in_a_header() {
    let mock = MockLlm::start().await;
    let cases = [
        (post(NOVA, "converse", &hello()).header("x-mock-status", "429"), 429, "ThrottlingException"),
        (post(NOVA, "converse", &json!({})), 400, "ValidationException"),
        (post(NOVA, "converse", &json!([])), 400, "ValidationException"),
        (post(TITAN, "invoke", &json!({})), 400, "ValidationException"),
        (post(CLAUDE, "invoke-with-response-stream", &json!({})), 400, "ValidationException"),
        (Request::post("/model/a/invoke").body("{"), 400, "ValidationException"),
    ];
    for (request, status, name) in cases {
        let mut response = send(&mock, request).await;
        assert_eq!(response.status(), status);
        assert!(response.header("x-amzn-errortype").unwrap().starts_with(name));
        assert!(response.json().await.unwrap()["message"].is_string());
    }
}

#[tokio::test]
async fn what_a_signature_covers_is_remembered_as_it_came() {
    let mock = MockLlm::start().await;
    let body = "{ \"messages\" : [] , \"odd\":\"\\u00e9\"}";
    let path = format!("/model/{CLAUDE}/converse");
    let request = Request::post(&path).header("authorization", "AWS4-HMAC-SHA256 Credential=x").body(body);
    send(&mock, request).await.body().await.unwrap();

    let seen = &mock.wait_for(1).await[0];
    assert_eq!(seen.uri.path(), path);
    assert_eq!(seen.header("authorization"), Some("AWS4-HMAC-SHA256 Credential=x"));
    assert_eq!(seen.body, body);
}
