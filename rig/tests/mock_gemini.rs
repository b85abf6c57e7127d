//! The mock implements Gemini's dialect, on the Gemini API's paths and on Vertex AI's.

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

const GEMINI: &str = "/v1beta/models/gemini-2.5-flash";
const VERTEX: &str = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash";

/// "Hello there" is two tokens.
const PROMPT: u64 = 2;

fn hello(more: &Value) -> Value {
    let mut body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hello there" }] }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn post(path: &str, verb: &str, more: &Value) -> Request {
    Request::post(&format!("{path}:{verb}")).json(&hello(more)).header("x-mock-output-tokens", "7")
}

async fn answer(mock: &MockLlm, request: Request) -> Value {
    client::send(mock.address(), request).await.unwrap().json().await.unwrap()
}

fn text(chunks: &[Value]) -> String {
    let parts = chunks.iter().flat_map(|chunk| chunk["candidates"][0]["content"]["parts"].as_array());
    let said = parts.flatten().filter(|part| part["thought"] != true);
    said.filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test]
async fn a_whole_answer_has_the_usage_of_what_was_sent() {
    let mock = MockLlm::start().await;
    for path in [GEMINI, VERTEX, "/any/prefix/v1beta/models/gemini-2.5-flash"] {
        let config = json!({ "generationConfig": { "candidateCount": 2 } });
        let body = answer(&mock, post(path, "generateContent", &config)).await;

        assert_eq!(body["candidates"].as_array().unwrap().len(), 2);
        assert_eq!(body["candidates"][1]["finishReason"], "STOP");
        assert_eq!(body["modelVersion"], "gemini-2.5-flash");
        let usage = &body["usageMetadata"];
        assert_eq!(usage["promptTokenCount"], PROMPT);
        assert_eq!(usage["candidatesTokenCount"], 14);
        assert_eq!(usage["totalTokenCount"], PROMPT + 14);
        assert_eq!(usage.get("thoughtsTokenCount"), None);
    }
}

#[tokio::test]
async fn thoughts_and_cached_content_have_their_own_counts() {
    let mock = MockLlm::start().await;
    let more = json!({
        "cachedContent": "cachedContents/a",
        "generationConfig": { "thinkingConfig": { "thinkingBudget": 5, "includeThoughts": true } },
    });
    let body = answer(&mock, post(GEMINI, "generateContent", &more)).await;

    let usage = &body["usageMetadata"];
    assert_eq!(usage["thoughtsTokenCount"], 5);
    assert_eq!(usage["cachedContentTokenCount"], 1_000);
    assert_eq!(usage["promptTokenCount"], 1_000 + PROMPT);
    assert_eq!(usage["totalTokenCount"], 1_000 + PROMPT + 5 + 7);
    assert_eq!(body["candidates"][0]["content"]["parts"][0]["thought"], true);
}

#[tokio::test]
async fn the_output_bound_holds_for_thoughts_and_answer_together_in_either_spelling() {
    let mock = MockLlm::start().await;
    for more in [
        json!({ "generationConfig": { "maxOutputTokens": 6, "thinkingConfig": { "thinkingBudget": 4 } } }),
        json!({ "generation_config": { "max_output_tokens": 6, "thinking_config": { "thinking_budget": 4 } } }),
    ] {
        let body = answer(&mock, post(GEMINI, "generateContent", &more)).await;
        assert_eq!(body["candidates"][0]["finishReason"], "MAX_TOKENS", "{more}");
        assert_eq!(body["usageMetadata"]["thoughtsTokenCount"], 4, "{more}");
        assert_eq!(body["usageMetadata"]["candidatesTokenCount"], 2, "{more}");
    }
}

#[tokio::test]
async fn everything_that_the_model_reads_is_counted() {
    let mock = MockLlm::start().await;
    let plain = answer(&mock, post(GEMINI, "countTokens", &json!({}))).await["totalTokens"].as_u64().unwrap();
    assert_eq!(plain, PROMPT);
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": "iVBORw0KGgo=" } });
    let cases = [
        (json!({ "systemInstruction": { "parts": [{ "text": "Hello there" }] } }), 2),
        (json!({ "system_instruction": { "parts": [{ "text": "Hello there" }] } }), 2),
        (json!({ "contents": [{ "parts": [{ "text": "Hello there" }, image] }] }), 258),
    ];
    for (more, expected) in cases {
        let body = answer(&mock, post(GEMINI, "countTokens", &more)).await;
        assert_eq!(body["totalTokens"], plain + expected, "{more}");
    }
    for more in [
        json!({ "tools": [{ "functionDeclarations": [{ "name": "look" }] }] }),
        json!({ "contents": [{ "parts": [
            { "text": "Hello there" },
            { "functionResponse": { "name": "look", "response": {} } },
        ] }] }),
    ] {
        let body = answer(&mock, post(GEMINI, "countTokens", &more)).await;
        assert!(body["totalTokens"].as_u64().unwrap() > plain, "{more}");
    }
}

#[tokio::test]
async fn a_stream_of_events_has_running_totals_in_every_chunk() {
    let mock = MockLlm::start().await;
    let request = post(GEMINI, "streamGenerateContent?key=k&alt=sse", &json!({}));
    let request = request.header("x-mock-tokens-per-chunk", "3");
    let mut response = client::send(mock.address(), request).await.unwrap();

    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let body = response.body().await.unwrap();
    assert!(body.starts_with(b"data: {") && body.ends_with(b"}\r\n\r\n"));
    let chunks: Vec<_> = Transcript::parse(&body).json().collect();
    let totals: Vec<_> = chunks.iter().map(|chunk| &chunk["usageMetadata"]["candidatesTokenCount"]).collect();
    assert_eq!(totals, [3, 6, 7]);
    let reasons: Vec<_> = chunks.iter().map(|chunk| chunk["candidates"][0].get("finishReason")).collect();
    assert_eq!(reasons, [None, None, Some(&json!("STOP"))]);
    let whole = answer(&mock, post(GEMINI, "generateContent", &json!({}))).await;
    assert_eq!(text(&chunks), text(core::slice::from_ref(&whole)));
    assert_eq!(chunks[2]["usageMetadata"], whole["usageMetadata"]);
}

#[tokio::test]
async fn a_stream_without_alt_sse_is_an_array_in_pieces() {
    let mock = MockLlm::start().await;
    let request = post(VERTEX, "streamGenerateContent", &json!({}));
    let request = request.header("x-mock-tokens-per-chunk", "3").header("x-mock-chunk-delay-ms", "10");
    let mut response = client::send(mock.address(), request).await.unwrap();

    assert_eq!(response.header("content-type"), Some("application/json; charset=UTF-8"));
    let mut pieces = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        pieces.push(String::from_utf8(chunk.data.to_vec()).unwrap());
    }
    assert_eq!(pieces.len(), 4);
    assert!(pieces[0].starts_with("[{") && pieces[0].ends_with("}\n"), "{pieces:?}");
    assert!(pieces[1].starts_with(",\r\n{") && pieces[3] == "]", "{pieces:?}");
    let chunks: Vec<Value> = serde_json::from_str(&pieces.concat()).unwrap();
    assert_eq!(chunks[2]["usageMetadata"]["totalTokenCount"], PROMPT + 7);
}

#[tokio::test]
async fn a_candidate_that_only_thought_has_no_parts() {
    let mock = MockLlm::start().await;
    let more = json!({ "generationConfig": { "maxOutputTokens": 3, "thinkingConfig": {} } });
    for verb in ["generateContent", "streamGenerateContent"] {
        let body = answer(&mock, post(GEMINI, verb, &more)).await;
        let chunk = if body.is_array() { &body[0] } else { &body };
        assert_eq!(chunk["candidates"][0]["content"], json!({ "role": "model" }), "{verb}");
        assert_eq!(chunk["usageMetadata"]["thoughtsTokenCount"], 3, "{verb}");
    }
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;
    for verb in ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"] {
        let odd = post(GEMINI, verb, &json!({})).header("x-mock-usage", r#"{"promptTokenCount": -1e0}"#);
        let body = client::send(mock.address(), odd).await.unwrap().body().await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains(r#"{"promptTokenCount": -1e0}"#), "{verb}");

        let none = post(GEMINI, verb, &json!({})).header("x-mock-no-usage", "true");
        let body = client::send(mock.address(), none).await.unwrap().body().await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("usageMetadata"), "{verb}");
    }
}

#[tokio::test]
async fn embeddings_count_their_prompts() {
    let mock = MockLlm::start().await;
    let one = json!({ "content": { "parts": [{ "text": "Hello there" }] } });
    let request =
        |verb, body: &Value| Request::post(&format!("/v1beta/models/gemini-embedding-001:{verb}")).json(body);
    let single = answer(&mock, request("embedContent", &one)).await;
    assert!(single["embedding"]["values"][0].is_f64());
    assert_eq!(single["usageMetadata"]["promptTokenCount"], 2);

    let batch = answer(&mock, request("batchEmbedContents", &json!({ "requests": [one, one] }))).await;
    assert_eq!(batch["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(batch["usageMetadata"]["promptTokenCount"], 4);
}

#[tokio::test]
async fn errors_have_googles_bodies() {
    let mock = MockLlm::start().await;
    let cases = [
        (
            post(GEMINI, "generateContent", &json!({})).header("x-mock-status", "429"),
            429,
            "RESOURCE_EXHAUSTED",
        ),
        (post(GEMINI, "generateContent", &json!({ "contents": 1 })), 400, "INVALID_ARGUMENT"),
        (Request::post(&format!("{GEMINI}:generateContent")).body("{"), 400, "INVALID_ARGUMENT"),
        (Request::post(&format!("{GEMINI}:generateContent")).body("[]"), 400, "INVALID_ARGUMENT"),
    ];
    for (request, code, status) in cases {
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), code);
        let error = response.json().await.unwrap()["error"].take();
        assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)));
    }
}
