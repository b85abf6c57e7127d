//! OpenAI's Realtime API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::Socket;
use tollgate_rig::mock_llm::MockLlm;

use super::{joined, types};

/// Opens a session whose answers have two words, and applies `session` to it.
async fn open(mock: &MockLlm, session: &Value) -> Socket {
    let request = Request::get("/v1/realtime?model=gpt-realtime").header("x-mock-output-tokens", "2");
    let mut socket = Socket::http1(mock.address(), request).await.unwrap();
    let created = socket.event().await.unwrap();
    assert_eq!(
        (&created["type"], &created["session"]["model"]),
        (&json!("session.created"), &json!("gpt-realtime"))
    );
    assert!(socket.send(&json!({ "type": "session.update", "session": session })).await);
    assert_eq!(socket.event().await.unwrap()["type"], "session.updated");
    socket
}

fn silent() -> Value {
    json!({ "type": "realtime", "output_modalities": ["text"], "audio": { "input": { "turn_detection": null } } })
}

fn say(text: &str) -> Value {
    let content = [json!({ "type": "input_text", "text": text })];
    json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user", "content": content } })
}

/// Returns an event with so much sound of 24 kHz.
fn append(milliseconds: usize) -> Value {
    json!({ "type": "input_audio_buffer.append", "audio": STANDARD.encode(vec![0; milliseconds * 48]) })
}

fn usage(event: &Value) -> (u64, u64, u64, u64) {
    let usage = &event["response"]["usage"];
    let number = |value: &Value| value.as_u64().unwrap();
    let input = &usage["input_token_details"];
    assert_eq!(
        number(&usage["total_tokens"]),
        number(&usage["input_tokens"]) + number(&usage["output_tokens"])
    );
    (
        number(&input["text_tokens"]),
        number(&input["audio_tokens"]),
        number(&input["cached_tokens"]),
        number(&usage["output_tokens"]),
    )
}

#[tokio::test]
async fn a_text_response_has_the_events_of_the_api_in_order() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, &silent()).await;
    assert!(socket.send(&say("Hello there")).await);
    assert_eq!(
        types(&socket.until_type("conversation.item.done").await),
        ["conversation.item.added", "conversation.item.done"]
    );

    assert!(socket.send(&json!({ "type": "response.create" })).await);
    let events = socket.until_type("response.done").await;

    let expected = [
        "response.created",
        "rate_limits.updated",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ];
    assert_eq!(types(&events), expected);
    let done = events.last().unwrap();
    assert_eq!(done["response"]["status"], "completed");
    let text = joined(&events, "response.output_text.delta");
    assert_eq!(done["response"]["output"][0]["content"][0], json!({ "type": "output_text", "text": text }));
    assert_eq!(usage(done), (2, 0, 0, 2));
}

#[tokio::test]
async fn the_conversation_is_the_input_of_each_response_and_cached_once_read() {
    let mock = MockLlm::start().await;
    let mut session = silent();
    session["instructions"] = "Be brief.".into();
    let mut socket = open(&mock, &session).await;
    let mut turns = Vec::new();
    for _ in 0..3 {
        assert!(socket.send(&say("Hello there")).await);
        assert!(socket.send(&json!({ "type": "response.create" })).await);
        turns.push(usage(&socket.until_type("response.done").await.pop().unwrap()));
    }
    // Instructions of 3 tokens, then a message and an answer of 2 each.
    assert_eq!(turns, [(5, 0, 0, 2), (9, 0, 5, 2), (13, 0, 9, 2)]);
}

#[tokio::test]
async fn sound_counts_by_its_length_in_and_out() {
    let mock = MockLlm::start().await;
    let mut session = silent();
    session["output_modalities"] = json!(["audio"]);
    let mut socket = open(&mock, &session).await;
    assert!(socket.send(&append(950)).await);
    assert!(socket.send(&append(50)).await);
    assert!(socket.send(&json!({ "type": "input_audio_buffer.commit" })).await);
    let events = socket.until_type("conversation.item.done").await;
    assert_eq!(types(&events)[0], "input_audio_buffer.committed");

    assert!(socket.send(&json!({ "type": "response.create" })).await);
    let events = socket.until_type("response.done").await;

    let sound: usize = events
        .iter()
        .filter(|event| event["type"] == "response.output_audio.delta")
        .map(|event| STANDARD.decode(event["delta"].as_str().unwrap()).unwrap().len())
        .sum();
    assert_eq!(sound, 2 * 100 * 48, "two words of 100 ms");
    assert_eq!(joined(&events, "response.output_audio_transcript.delta"), "The answer");
    let details = &events.last().unwrap()["response"]["usage"]["output_token_details"];
    assert_eq!(*details, json!({ "text_tokens": 2, "audio_tokens": 4 }));
    assert_eq!(usage(events.last().unwrap()), (0, 10, 0, 6));
}

#[tokio::test]
async fn voice_detection_commits_each_half_second_and_answers_it() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, &json!({ "output_modalities": ["text"] })).await;
    for _ in 0..5 {
        assert!(socket.send(&append(100)).await);
    }

    let events = socket.until_type("response.done").await;

    let first = [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ];
    assert_eq!(types(&events)[..3], first);
    assert_eq!(usage(events.last().unwrap()), (0, 5, 0, 2));
}

#[tokio::test]
async fn somebody_who_speaks_interrupts_the_response() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, &json!({ "output_modalities": ["text"] })).await;
    let stall = json!({ "metadata": { "x-mock-cut-after": "6", "x-mock-socket-cut": "stall" } });
    assert!(socket.send(&json!({ "type": "response.create", "response": stall })).await);
    socket.until_type("response.output_text.delta").await;

    assert!(socket.send(&append(10)).await);

    let done = socket.until_type("response.done").await.pop().unwrap();
    assert_eq!(done["response"]["status_details"], json!({ "type": "cancelled", "reason": "turn_detected" }));
    assert_eq!(usage(&done).3, 1, "one word was sent");
}

#[tokio::test]
async fn a_response_can_be_cancelled_and_there_is_only_one_at_a_time() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, &silent()).await;
    let slow = json!({ "metadata": { "x-mock-output-tokens": "100", "x-mock-chunk-delay-ms": "20" } });
    assert!(socket.send(&json!({ "type": "response.create", "response": slow })).await);
    socket.until_type("response.output_text.delta").await;

    assert!(socket.send(&json!({ "type": "response.create", "event_id": "mine" })).await);
    let error = socket.until_type("error").await.pop().unwrap();
    assert_eq!(error["error"]["code"], "conversation_already_has_active_response");
    assert_eq!(error["error"]["event_id"], "mine");

    assert!(socket.send(&json!({ "type": "response.cancel" })).await);
    let done = socket.until_type("response.done").await.pop().unwrap();
    assert_eq!(done["response"]["status"], "cancelled");
    assert!((1..100).contains(&usage(&done).3));

    assert!(socket.send(&json!({ "type": "response.cancel" })).await);
    let error = socket.event().await.unwrap();
    assert_eq!(error["error"]["code"], "response_cancel_not_active");
}

#[tokio::test]
async fn a_transcript_has_its_own_usage_in_tokens_or_seconds() {
    let mock = MockLlm::start().await;
    for (model, expected) in [
        ("whisper-1", json!({ "type": "duration", "seconds": 0.2 })),
        (
            "gpt-4o-transcribe",
            json!({
                "type": "tokens",
                "total_tokens": 7,
                "input_tokens": 2,
                "input_token_details": { "text_tokens": 0, "audio_tokens": 2 },
                "output_tokens": 5,
            }),
        ),
    ] {
        let mut session = silent();
        session["audio"]["input"]["transcription"] = json!({ "model": model });
        let mut socket = open(&mock, &session).await;
        assert!(socket.send(&append(200)).await);
        assert!(socket.send(&json!({ "type": "input_audio_buffer.commit" })).await);
        let kind = "conversation.item.input_audio_transcription.completed";
        assert_eq!(socket.until_type(kind).await.pop().unwrap()["usage"], expected);
    }
}

#[tokio::test]
async fn a_response_fails_on_request_and_one_beside_the_conversation_stays_out_of_it() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, &silent()).await;
    let fail = json!({ "metadata": { "x-mock-status": "429" } });
    assert!(socket.send(&json!({ "type": "response.create", "response": fail })).await);
    let done = socket.until_type("response.done").await.pop().unwrap();
    assert_eq!(done["response"]["status_details"]["error"]["code"], "rate_limit_exceeded");

    let beside = json!({ "conversation": "none", "input": [say("Hello there")["item"]] });
    for _ in 0..2 {
        assert!(socket.send(&json!({ "type": "response.create", "response": beside })).await);
        let done = socket.until_type("response.done").await.pop().unwrap();
        assert_eq!(done["response"]["conversation_id"], Value::Null);
        assert_eq!(usage(&done).0, 2);
    }
}

#[tokio::test]
async fn azure_names_a_deployment() {
    let mock = MockLlm::start().await;
    for path in [
        "/openai/realtime?api-version=2025-04-01-preview&deployment=my%20voice",
        "/openai/v1/realtime?model=my%20voice",
    ] {
        let request =
            Request::get(path).header("sec-websocket-protocol", "realtime, openai-insecure-api-key.k");
        let mut socket = Socket::http1(mock.address(), request).await.unwrap();
        assert_eq!(socket.headers()["sec-websocket-protocol"], "realtime");
        assert_eq!(socket.event().await.unwrap()["session"]["model"], "my voice");
    }
}
