//! The mock compresses and decompresses with HTTP's content codings.

use std::io::Read;

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::coding::{Coding, DECODED_MAX};

fn body(more: &Value) -> Value {
    let mut body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Hello there" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn stream() -> Request {
    Request::chat(&body(&json!({ "stream": true })))
}

#[tokio::test]
async fn every_coding_is_written_and_can_be_read_to_the_same_text() {
    let mock = MockLlm::start().await;
    let plain = client::send(mock.address(), stream()).await.unwrap().body().await.unwrap();
    for coding in Coding::ALL {
        let request = stream().header("x-mock-encoding", coding.name());
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.header("content-encoding"), Some(coding.name()));
        let encoded = response.body().await.unwrap();
        assert_ne!(encoded, plain, "{coding:?}");
        assert_eq!(coding.decode(&encoded).unwrap(), plain, "{coding:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_says_its_compressed_length() {
    let mock = MockLlm::start().await;
    for coding in Coding::ALL {
        let request = Request::chat(&body(&json!({}))).header("x-mock-encoding", coding.name());
        let mut response = client::send(mock.address(), request).await.unwrap();
        let length = response.header("content-length").unwrap().parse::<usize>().unwrap();
        let encoded = response.body().await.unwrap();
        assert_eq!(encoded.len(), length, "{coding:?}");
        let answer: Value = serde_json::from_slice(&coding.decode(&encoded).unwrap()).unwrap();
        assert_eq!(answer["usage"]["completion_tokens"], 20, "{coding:?}");
    }
}

#[tokio::test]
async fn each_chunk_can_be_read_when_it_comes() {
    let mock = MockLlm::start().await;
    for coding in Coding::ALL {
        let request = stream().header("x-mock-encoding", coding.name()).header("x-mock-chunk-delay-ms", "20");
        let mut response = client::send(mock.address(), request).await.unwrap();
        let first = response.chunk().await.unwrap().unwrap().data;
        response.abort();

        let mut decoder: Box<dyn Read> = match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(&first[..])),
            Coding::Deflate => Box::new(flate2::read::ZlibDecoder::new(&first[..])),
            Coding::Br => Box::new(brotli::Decompressor::new(&first[..], 64)),
            Coding::Zstd => Box::new(zstd::Decoder::new(&first[..]).unwrap()),
        };
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\n\n") {
            decoder.read_exact(&mut byte).unwrap();
            text.push(byte[0]);
        }
        assert!(text.starts_with(b"data: {"), "{coding:?}");
    }
}

#[tokio::test]
async fn the_first_accepted_coding_is_used_where_it_shall_be() {
    let mock = MockLlm::start().await;
    for (accepted, expected) in
        [("br, gzip", Some("br")), ("zstd;q=0, gzip", Some("gzip")), ("identity", None)]
    {
        let request = stream().header("accept-encoding", accepted).header("x-mock-encoding", "accepted");
        let response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.header("content-encoding"), expected, "{accepted}");
    }
}

#[tokio::test]
async fn a_compressed_request_is_answered_and_remembered_as_it_came() {
    let mock = MockLlm::start().await;
    let plain = body(&json!({})).to_string();
    for (index, coding) in Coding::ALL.into_iter().enumerate() {
        let encoded = coding.encode(&[plain.clone().into()]).concat();
        let request = Request::post("/v1/chat/completions").header("content-encoding", coding.name());
        let request = request.body(encoded.clone());
        let answer = client::send(mock.address(), request).await.unwrap().json().await.unwrap();

        assert_eq!(answer["usage"]["prompt_tokens"], 9, "{coding:?}");
        let seen = &mock.wait_for(index + 1).await[index];
        assert_eq!(seen.header("content-encoding"), Some(coding.name()));
        assert_eq!(seen.body, encoded, "{coding:?}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_decompressed_is_refused() {
    let mock = MockLlm::start().await;
    let bomb = Coding::Gzip.encode(&[vec![b' '; DECODED_MAX + 1].into()]).concat();
    for (coding, body) in
        [("gzip", b"{}".to_vec()), ("rot13", b"{}".to_vec()), ("gzip", bomb), ("zstd", Vec::new())]
    {
        let request = Request::post("/v1/chat/completions").header("content-encoding", coding).body(body);
        let mut response = client::send(mock.address(), request).await.unwrap();
        assert_eq!(response.status(), 400, "{coding}");
        assert_eq!(response.json().await.unwrap()["error"]["type"], "invalid_request_error");
    }
}
