//! The mock implements OpenAI's other APIs: completions, responses, embeddings, audio, images,
//! moderations, and chat in the variants of Azure and vLLM.

mod responses;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

/// 3 for the message, 1 for the role, 2 for the words, 3 for the reply.
const INPUT_TOKENS: u64 = 9;

async fn json_of(address: SocketAddr, request: Request) -> Value {
    client::send(address, request).await.unwrap().json().await.unwrap()
}

async fn bytes_of(address: SocketAddr, request: Request) -> Vec<u8> {
    client::send(address, request).await.unwrap().body().await.unwrap().to_vec()
}

/// Returns the events of a stream, after checking their framing.
async fn events_of(address: SocketAddr, request: Request, named: bool) -> Vec<Value> {
    let body = String::from_utf8(bytes_of(address, request).await).unwrap();
    let blocks: Vec<_> = body.split_terminator("\n\n").collect();
    assert!(body.ends_with("\n\n"));
    for block in blocks.iter().filter(|block| **block != "data: [DONE]") {
        let lines: Vec<_> = block.lines().collect();
        let data = lines.last().unwrap().strip_prefix("data: ").unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        let name = format!("event: {}", event["type"].as_str().unwrap_or_default());
        assert_eq!(lines[..lines.len() - 1], if named { vec![name.as_str()] } else { vec![] });
    }
    Transcript::parse(body.as_bytes()).json().collect()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn joined<'a>(events: impl IntoIterator<Item = &'a Value>) -> String {
    events.into_iter().filter_map(|event| event["delta"].as_str()).collect()
}

#[tokio::test]
async fn completions_count_each_prompt_and_all_that_was_made() {
    let mock = MockLlm::start().await;
    let request = Request::post("/v1/completions").json(&json!({
        "model": "gpt-3.5-turbo-instruct",
        "prompt": ["Hello there", "Hello"],
        "n": 2,
        "best_of": 3,
        "max_tokens": 5,
    }));

    let body = json_of(mock.address(), request).await;

    assert_eq!(body["object"], "text_completion");
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    assert!(choices.iter().all(|choice| choice["finish_reason"] == "length"));
    assert_eq!(body["usage"]["prompt_tokens"], 3);
    assert_eq!(body["usage"]["completion_tokens"], 2 * 3 * 5);
}

#[tokio::test]
async fn completions_of_token_ids_count_the_ids() {
    let mock = MockLlm::start().await;
    for (prompt, expected) in [(json!([1, 2, 3]), 3), (json!([[1, 2, 3], [4]]), 4)] {
        let request =
            Request::post("/v1/completions").json(&json!({ "model": "davinci-002", "prompt": prompt }));
        let body = json_of(mock.address(), request).await;
        assert_eq!(body["usage"]["prompt_tokens"], expected);
    }
}

#[tokio::test]
async fn streamed_completions_say_the_same_as_whole_ones() {
    let mock = MockLlm::start().await;
    let mut body = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "Say", "echo": true });
    let whole = json_of(mock.address(), Request::post("/v1/completions").json(&body)).await;
    body["stream"] = true.into();
    let silent = events_of(mock.address(), Request::post("/v1/completions").json(&body), false).await;
    body["stream_options"] = json!({ "include_usage": true });
    let told = events_of(mock.address(), Request::post("/v1/completions").json(&body), false).await;

    for events in [&silent, &told] {
        let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        assert_eq!(text, whole["choices"][0]["text"]);
        assert!(text.starts_with("SayThe"));
    }
    assert!(silent.iter().all(|event| event.get("usage").is_none()));
    let (last, others) = told.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert!(others.iter().all(|event| event.get("usage") == Some(&Value::Null)));
}

#[tokio::test]
async fn embeddings_come_in_the_form_that_is_asked_for() {
    let mock = MockLlm::start().await;
    let mut request = json!({
        "model": "text-embedding-3-small", "input": ["Hello there", "Hello"], "dimensions": 2,
    });
    let floats = json_of(mock.address(), Request::post("/v1/embeddings").json(&request)).await;
    assert_eq!(floats["data"][1]["embedding"], json!([1.0, 0.0]));
    assert_eq!(floats["usage"], json!({ "prompt_tokens": 3, "total_tokens": 3 }));

    request["encoding_format"] = "base64".into();
    let base64 = json_of(mock.address(), Request::post("/v1/embeddings").json(&request)).await;
    assert_eq!(base64["data"][1]["embedding"], "AACAPwAAAAA=");
}

#[tokio::test]
async fn speech_is_bytes_without_usage_or_events_with_it() {
    let mock = MockLlm::start().await;
    let mut request = json!({ "model": "gpt-4o-mini-tts", "input": "Hello there", "voice": "alloy" });
    let speak =
        |body: &Value| Request::post("/v1/audio/speech").json(body).header("x-mock-output-tokens", "3");
    let mut response = client::send(mock.address(), speak(&request)).await.unwrap();
    assert_eq!(response.header("content-type"), Some("audio/mpeg"));
    let sound = response.body().await.unwrap();
    assert!(core::str::from_utf8(&sound).is_err());

    request["stream_format"] = "sse".into();
    let events = events_of(mock.address(), speak(&request), false).await;
    assert_eq!(types(&events), [["speech.audio.delta"; 3].as_slice(), &["speech.audio.done"]].concat());
    let usage = json!({ "input_tokens": 2, "output_tokens": 3, "total_tokens": 5 });
    assert_eq!(events[3]["usage"], usage);
}

fn upload(model: &str, more: &str) -> Request {
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n{}\r\n\
         --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n{more}--x--\r\n",
        "\0".repeat(40_000)
    );
    Request::post("/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(form)
}

#[tokio::test]
async fn transcriptions_are_used_in_tokens_or_in_seconds() {
    let mock = MockLlm::start().await;
    let tokens = json_of(mock.address(), upload("gpt-4o-transcribe", "")).await;
    let expected = json!({
        "type": "tokens",
        "input_tokens": 20,
        "input_token_details": { "text_tokens": 0, "audio_tokens": 20 },
        "output_tokens": 20,
        "total_tokens": 40,
    });
    assert_eq!(tokens["usage"], expected);

    let seconds = json_of(mock.address(), upload("whisper-1", "")).await;
    assert_eq!(seconds["usage"], json!({ "type": "duration", "seconds": 2 }));

    let streamed = "--x\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n";
    let events = events_of(mock.address(), upload("gpt-4o-transcribe", streamed), false).await;
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["usage"]), (&json!("transcript.text.done"), &expected));
    assert_eq!(joined(&events), tokens["text"]);
}

#[tokio::test]
async fn images_are_used_in_tokens_by_gpt_image_only() {
    let mock = MockLlm::start().await;
    let draw = |more: &Value| {
        let mut body = json!({ "prompt": "Hello there", "n": 2, "quality": "low", "size": "1024x1536" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Request::post("/v1/images/generations").json(&body)
    };
    let image = json_of(mock.address(), draw(&json!({ "model": "gpt-image-1" }))).await;
    assert!(image["data"][1]["b64_json"].is_string());
    assert_eq!(image["usage"]["input_tokens"], 2);
    assert_eq!(image["usage"]["output_tokens"], 2 * 408);

    let older = json_of(mock.address(), draw(&json!({ "model": "dall-e-3" }))).await;
    assert!(older["data"][0]["url"].is_string());
    assert_eq!(older.get("usage"), None);

    let stream = json!({ "model": "gpt-image-1", "stream": true, "n": 1, "partial_images": 1 });
    let events = events_of(mock.address(), draw(&stream), true).await;
    assert_eq!(types(&events), ["image_generation.partial_image", "image_generation.completed"]);
    assert_eq!(events[1]["usage"]["output_tokens"], 408);
}

#[tokio::test]
async fn moderations_have_a_result_for_each_text() {
    let mock = MockLlm::start().await;
    let cases = [
        (json!("Hello"), 1),
        (json!(["Hello", "there"]), 2),
        (json!([{ "type": "text", "text": "Hello" }, { "type": "text", "text": "there" }]), 1),
    ];
    for (input, results) in cases {
        let body =
            json_of(mock.address(), Request::post("/v1/moderations").json(&json!({ "input": input }))).await;
        assert_eq!(body["results"].as_array().unwrap().len(), results);
        assert_eq!(body["results"][0]["flagged"], false);
    }
}

#[tokio::test]
async fn azure_names_the_model_in_the_path_and_opens_with_what_its_filter_found() {
    let mock = MockLlm::start().await;
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    let mut body = json!({ "messages": [{ "role": "user", "content": "Hello there" }] });
    let whole = json_of(mock.address(), Request::post(path).json(&body)).await;
    assert_eq!(whole["model"], "gpt-4o");
    assert!(whole["prompt_filter_results"].is_array());
    assert_eq!(whole["usage"]["prompt_tokens"], INPUT_TOKENS);

    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    let events = events_of(mock.address(), Request::post(path).json(&body), false).await;
    assert_eq!((&events[0]["choices"], events[0].get("usage")), (&json!([]), None));
    assert_eq!(events[1]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);

    let error = json_of(mock.address(), Request::post(path).json(&body).header("x-mock-status", "429")).await;
    assert_eq!(error["error"]["code"], "429");
}

#[tokio::test]
async fn vllm_says_in_each_chunk_what_was_used_so_far() {
    let mock = MockLlm::start().await;
    let request = Request::chat(&json!({
        "model": "gpt-4o",
        "messages": [{ "role": "user", "content": "Hello there" }],
        "stream": true,
        "stream_options": { "include_usage": true, "continuous_usage_stats": true },
    }));
    let events = events_of(mock.address(), request.header("x-mock-output-tokens", "3"), false).await;

    let used: Vec<_> = events.iter().map(|event| event["usage"]["completion_tokens"].clone()).collect();
    // The role, three words, the end, and the chunk without choices.
    assert_eq!(used, [0, 1, 2, 3, 3, 3]);
    assert!(events.iter().all(|event| event["usage"]["prompt_tokens"] == INPUT_TOKENS));
}

/// Returns a request for each API whose answer has usage.
fn with_usage() -> Vec<(&'static str, Request)> {
    let chat = json!({ "messages": [] });
    let ask = json!({ "model": "gpt-4o", "input": "Hello", "prompt": "Hello" });
    let image = json!({ "model": "gpt-image-1", "prompt": "Hello" });
    let streamed = |body: &Value, (field, value): (&str, Value)| {
        let mut body = body.clone();
        body[field] = value;
        body["stream_options"] = json!({ "include_usage": true });
        body
    };
    let on = ("stream", json!(true));
    vec![
        ("azure", Request::post("/openai/deployments/gpt-4o/chat/completions").json(&chat)),
        ("completions", Request::post("/v1/completions").json(&ask)),
        ("completions, streamed", Request::post("/v1/completions").json(&streamed(&ask, on.clone()))),
        ("responses", Request::post("/v1/responses").json(&ask)),
        ("responses, streamed", Request::post("/v1/responses").json(&streamed(&ask, on.clone()))),
        ("embeddings", Request::post("/v1/embeddings").json(&ask)),
        (
            "speech, streamed",
            Request::post("/v1/audio/speech").json(&streamed(&ask, ("stream_format", json!("sse")))),
        ),
        ("transcriptions", upload("gpt-4o-transcribe", "")),
        ("images", Request::post("/v1/images/generations").json(&image)),
        ("images, streamed", Request::post("/v1/images/generations").json(&streamed(&image, on))),
    ]
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out_in_every_api() {
    let mock = MockLlm::start().await;
    let odd = r#"{"x" :1e3}"#;
    for (api, request) in with_usage() {
        let body = bytes_of(mock.address(), request.header("x-mock-usage", odd)).await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text.matches(&format!("\"usage\":{odd}")).count(), 1, "{api}: {text}");
    }
    for (api, request) in with_usage() {
        let body = bytes_of(mock.address(), request.header("x-mock-no-usage", "true")).await;
        let text = String::from_utf8(body).unwrap();
        assert!(!text.contains("\"usage\":{"), "{api}: {text}");
    }
}

#[tokio::test]
async fn streams_of_every_api_can_be_split_anywhere() {
    let mock = MockLlm::start().await;
    for ((api, plain), (_, split)) in with_usage().into_iter().zip(with_usage()) {
        let plain = bytes_of(mock.address(), plain).await;
        let split = bytes_of(mock.address(), split.header("x-mock-split-bytes", "7")).await;
        assert_eq!(plain, split, "{api}");
    }
}

#[tokio::test]
async fn bad_requests_get_openais_errors() {
    let mock = MockLlm::start().await;
    for path in
        ["completions", "responses", "embeddings", "audio/speech", "images/generations", "moderations"]
    {
        let path = format!("/v1/{path}");
        let mut response = client::send(mock.address(), Request::post(&path).body("{")).await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        assert_eq!(response.json().await.unwrap()["error"]["type"], "invalid_request_error", "{path}");
    }
}
