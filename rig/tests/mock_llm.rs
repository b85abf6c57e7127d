//! The mock LLM server answers as documented, and misbehaves on request.

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tollgate_rig::client::raw::RawConnection;
use tollgate_rig::client::{self, Client, ClientError, Request};
use tollgate_rig::mock_llm::{Ending, MockLlm};

fn chat(more: &Value) -> Request {
    let mut body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hello there" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::chat(&body)
}

/// 3 for the message, 1 for the role, 2 for the words, 3 for the reply.
const PROMPT_TOKENS: u64 = 9;

#[tokio::test]
async fn a_whole_answer_has_the_usage_of_what_was_sent() {
    let mock = MockLlm::start().await;

    let request = chat(&json!({ "n": 2 })).header("x-mock-output-tokens", "7");
    let mut response = client::send(mock.address(), request).await.unwrap();

    assert_eq!(response.header("content-type"), Some("application/json"));
    let body = response.json().await.unwrap();
    assert_eq!(body["choices"].as_array().unwrap().len(), 2);
    assert_eq!(body["choices"][1]["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], PROMPT_TOKENS);
    assert_eq!(body["usage"]["completion_tokens"], 14);
    assert_eq!(body["usage"]["total_tokens"], PROMPT_TOKENS + 14);
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back_if_it_is_told_to() {
    let mock = MockLlm::start().await;
    let refused = || chat(&json!({})).header("x-mock-status", "429");
    for (request, told) in [(refused(), None), (refused().header("x-mock-retry-after", "20"), Some("20"))] {
        let response = client::send(mock.address(), request).await.unwrap();
        assert_eq!((response.status(), response.header("retry-after")), (429, told));
    }
}

#[tokio::test]
async fn the_request_limits_the_length() {
    let mock = MockLlm::start().await;

    for limit in ["max_tokens", "max_completion_tokens"] {
        let request = chat(&json!({ limit: 3 })).header("x-mock-output-tokens", "7");
        let body = client::send(mock.address(), request).await.unwrap().json().await.unwrap();

        assert_eq!(body["usage"]["completion_tokens"], 3, "{limit}");
        assert_eq!(body["choices"][0]["finish_reason"], "length", "{limit}");
    }
}

#[tokio::test]
async fn a_stream_brings_usage_only_if_asked_and_says_the_same_as_the_whole() {
    let mock = MockLlm::start().await;
    let mut client = Client::http2(mock.address()).await.unwrap();
    let whole = client.send(chat(&json!({}))).await.unwrap().json().await.unwrap();

    let silent = client.send(chat(&json!({ "stream": true }))).await.unwrap().transcript().await.unwrap();
    let ask = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let told = client.send(chat(&ask)).await.unwrap().transcript().await.unwrap();

    for transcript in [&silent, &told] {
        assert_eq!(transcript.text(0), whole["choices"][0]["message"]["content"]);
        assert_eq!(transcript.finish_reason(0).as_deref(), Some("stop"));
        assert!(transcript.is_done());
    }
    assert!(silent.json().all(|event| event.get("usage").is_none()));
    assert_eq!(told.usage().as_ref(), Some(&whole["usage"]));
    let with_usage = told.json().filter(|event| event.get("usage") == Some(&Value::Null));
    assert_eq!(with_usage.count(), told.json().count() - 1, "all others carry \"usage\":null");
}

#[tokio::test]
async fn streamed_chunks_are_written_one_by_one() {
    let mock = MockLlm::start().await;
    let request = chat(&json!({ "stream": true }));
    let request = request.header("x-mock-output-tokens", "3").header("x-mock-chunk-delay-ms", "15");

    let mut response = client::send(mock.address(), request).await.unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        chunks.push(chunk);
    }

    // The role, three words, the end, and [DONE].
    assert_eq!(chunks.len(), 6);
    assert!(chunks.iter().all(|chunk| chunk.data.starts_with(b"data: ") && chunk.data.ends_with(b"\n\n")));
    assert!(chunks[5].at - chunks[0].at >= Duration::from_millis(4 * 15));
}

#[tokio::test]
async fn split_writes_fall_anywhere_and_lose_nothing() {
    let mock = MockLlm::start().await;
    let stream = || chat(&json!({ "stream": true }));
    let plain = client::send(mock.address(), stream()).await.unwrap().body().await.unwrap();

    let request = stream().header("x-mock-split-bytes", "7");
    let mut response = client::send(mock.address(), request).await.unwrap();
    let mut split = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        // TCP may join writes, but does not split them here.
        assert!(chunk.data.len() % 7 == 0 || split.len() + chunk.data.len() == plain.len());
        split.extend_from_slice(&chunk.data);
    }
    assert_eq!(split, plain);
}

#[tokio::test]
async fn a_compressed_stream_can_be_read_to_the_same_text() {
    let mock = MockLlm::start().await;
    let stream = || chat(&json!({ "stream": true }));
    let plain = client::send(mock.address(), stream()).await.unwrap().body().await.unwrap();

    let always = stream().header("x-mock-encoding", "gzip");
    let mut response = client::send(mock.address(), always).await.unwrap();
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let mut text = Vec::new();
    GzDecoder::new(&response.body().await.unwrap()[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain);

    let slow = stream().header("x-mock-encoding", "gzip").header("x-mock-chunk-delay-ms", "20");
    let first = client::send(mock.address(), slow).await.unwrap().chunk().await.unwrap().unwrap();
    let mut start = [0; 6];
    GzDecoder::new(&first.data[..]).read_exact(&mut start).unwrap();
    assert_eq!(&start, b"data: ", "each chunk can be read when it comes");

    let unasked = stream().header("x-mock-encoding", "accepted");
    let response = client::send(mock.address(), unasked).await.unwrap();
    assert_eq!(response.header("content-encoding"), None);
}

#[tokio::test]
async fn a_cut_stream_ends_in_an_error_after_what_was_written() {
    let mock = MockLlm::start().await;
    for http2 in [false, true] {
        let mut client =
            if http2 { Client::http2(mock.address()).await } else { Client::http1(mock.address()).await }
                .unwrap();

        let request = chat(&json!({ "stream": true })).header("x-mock-cut-after", "2");
        let error = client.send(request).await.unwrap().body().await.unwrap_err();

        let ClientError::Cut { received, .. } = error else { panic!("{error}") };
        assert_eq!(received.windows(6).filter(|window| window == b"data: ").count(), 2, "HTTP/2: {http2}");
        let seen = mock.received();
        assert_eq!(seen.last().unwrap().ended().await, Ending::Cut);
    }
}

#[tokio::test]
async fn usage_can_be_overridden_or_left_out() {
    let mock = MockLlm::start().await;

    let odd = chat(&json!({})).header("x-mock-usage", r#"{"prompt_tokens":"many"}"#);
    let body = client::send(mock.address(), odd).await.unwrap().json().await.unwrap();
    assert_eq!(body["usage"]["prompt_tokens"], "many");

    let ask = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let without = chat(&ask).header("x-mock-no-usage", "true");
    let transcript = client::send(mock.address(), without).await.unwrap().transcript().await.unwrap();
    assert_eq!(transcript.usage(), None);
    assert!(transcript.is_done());
}

#[tokio::test]
async fn errors_have_openai_bodies() {
    let mock = MockLlm::start().await;
    let cases = [
        (chat(&json!({})).header("x-mock-status", "503"), 503, "server_error"),
        (chat(&json!({})).header("x-mock-staus", "503"), 400, "invalid_request_error"),
        (Request::post("/v1/chat/completions").body("{"), 400, "invalid_request_error"),
        (Request::get("/v1/nothing"), 404, "invalid_request_error"),
    ];
    for (request, status, kind) in cases {
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.json().await.unwrap()["error"]["type"], kind, "{status}");
    }
}

#[tokio::test]
async fn models_are_listed() {
    let mock = MockLlm::start().await;
    let mut response = client::send(mock.address(), Request::get("/v1/models")).await.unwrap();
    assert_eq!(response.json().await.unwrap()["object"], "list");
}

#[tokio::test]
async fn requests_are_remembered_with_bytes_trailers_and_endings() {
    let mock = MockLlm::start().await;
    let mut client = Client::http2(mock.address()).await.unwrap();
    let (request, mut body) =
        Request::post("/v1/chat/completions").header("x-odd", b"\xff\xfe").body_in_parts();
    let sending = async {
        assert!(body.send(r#"{"model":"gpt-4o","#).await);
        assert!(body.send(r#""messages":[]}"#).await);
        assert!(body.finish_with_trailers(&[("x-end", "yes")]).await);
    };
    let (response, ()) = tokio::join!(client.send(request), sending);
    response.unwrap().body().await.unwrap();

    let seen = &mock.wait_for(1).await[0];
    assert_eq!(seen.headers["x-odd"].as_bytes(), b"\xff\xfe");
    assert_eq!(seen.body, r#"{"model":"gpt-4o","messages":[]}"#);
    assert_eq!(seen.trailers.as_ref().unwrap()["x-end"], "yes");
    assert_eq!(seen.ended().await, Ending::Finished);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_seen_to_abort() {
    let mock = MockLlm::start().await;
    for http2 in [false, true] {
        let mut client =
            if http2 { Client::http2(mock.address()).await } else { Client::http1(mock.address()).await }
                .unwrap();
        let request = chat(&json!({ "stream": true }));
        let request = request.header("x-mock-output-tokens", "1000").header("x-mock-chunk-delay-ms", "10");
        let mut response = client.send(request).await.unwrap();
        response.chunk().await.unwrap();

        response.abort();

        assert_eq!(mock.received().last().unwrap().ended().await, Ending::Aborted, "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn a_request_that_is_broken_off_is_seen_as_incomplete() {
    let mock = MockLlm::start().await;
    let mut connection = RawConnection::open(mock.address()).await.unwrap();

    let part = b"POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\ncontent-length: 10\r\n\r\n{";
    connection.write(part).await.unwrap();
    drop(connection);

    let seen = &mock.wait_for(1).await[0];
    assert_eq!(seen.body, "{");
    assert_eq!(seen.ended().await, Ending::RequestIncomplete);
}
