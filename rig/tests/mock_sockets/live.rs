//! Google's Gemini Live.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::{End, Socket};
use tollgate_rig::mock_llm::MockLlm;

const GEMINI: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const VERTEX: &str = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent";

/// Opens a session whose answers have two words.
async fn open(mock: &MockLlm, request: Request, setup: &Value) -> Socket {
    let request = request.header("x-mock-output-tokens", "2");
    let mut socket = Socket::http1(mock.address(), request).await.unwrap();
    assert!(socket.send(&json!({ "setup": setup })).await);
    assert_eq!(socket.event().await.unwrap(), json!({ "setupComplete": {} }));
    socket
}

fn text() -> Value {
    json!({ "model": "models/gemini-live", "generationConfig": { "responseModalities": ["TEXT"] } })
}

fn say(text: &str) -> Value {
    let turn = json!({ "role": "user", "parts": [{ "text": text }] });
    json!({ "clientContent": { "turns": [turn], "turnComplete": true } })
}

/// Returns an input of so much sound of 16 kHz.
fn sound(milliseconds: usize) -> Value {
    let data = STANDARD.encode(vec![0; milliseconds * 32]);
    json!({ "realtimeInput": { "audio": { "mimeType": "audio/pcm;rate=16000", "data": data } } })
}

async fn turn(socket: &mut Socket) -> Vec<Value> {
    socket.until(|event| event["serverContent"]["turnComplete"] == true).await
}

/// Returns the counts of the prompt, the response and both.
fn usage(events: &[Value]) -> (u64, u64, u64) {
    let usage = &events.last().unwrap()["usageMetadata"];
    let count = |name: &str| usage[name].as_u64().unwrap();
    (count("promptTokenCount"), count("responseTokenCount"), count("totalTokenCount"))
}

#[tokio::test]
async fn a_turn_comes_in_pieces_and_ends_with_its_usage_in_binary_frames() {
    let mock = MockLlm::start().await;
    for path in [GEMINI, VERTEX] {
        let mut socket = open(&mock, Request::get(path), &text()).await;
        assert!(socket.send(&say("Hello there")).await);
        let mut events = Vec::new();
        for _ in 0..4 {
            let message = socket.next().await.unwrap();
            assert!(message.is_binary(), "{path}");
            events.push(serde_json::from_slice::<Value>(&message.into_data()).unwrap());
        }
        let piece = |text| json!({ "serverContent": { "modelTurn": { "role": "model", "parts": [{ "text": text }] } } });
        assert_eq!(events[..2], [piece("The"), piece(" answer")]);
        assert_eq!(events[2], json!({ "serverContent": { "generationComplete": true } }));
        let expected = json!({
            "promptTokenCount": 2,
            "responseTokenCount": 2,
            "totalTokenCount": 4,
            "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": 2 }],
            "responseTokensDetails": [{ "modality": "TEXT", "tokenCount": 2 }],
        });
        assert_eq!(
            events[3],
            json!({ "serverContent": { "turnComplete": true }, "usageMetadata": expected })
        );
    }
}

#[tokio::test]
async fn the_session_so_far_is_the_prompt_and_usage_is_of_the_turn_or_adds_up() {
    let mock = MockLlm::start().await;
    for (usages, expected) in
        [("turn", [(5, 2, 7), (9, 2, 11), (13, 2, 15)]), ("total", [(5, 2, 7), (14, 4, 18), (27, 6, 33)])]
    {
        let mut setup = text();
        setup["systemInstruction"] = json!({ "parts": [{ "text": "Be brief." }] });
        let request = Request::get(GEMINI).header("x-mock-socket-usage", usages);
        let mut socket = open(&mock, request, &setup).await;
        for expected in expected {
            assert!(socket.send(&say("Hello there")).await);
            assert_eq!(usage(&turn(&mut socket).await), expected, "{usages}");
        }
    }
}

#[tokio::test]
async fn sound_counts_by_its_length_and_is_a_turn_by_detection_or_by_the_client() {
    let mock = MockLlm::start().await;
    let mut setup = json!({ "model": "models/gemini-live", "outputAudioTranscription": {} });
    let mut socket = open(&mock, Request::get(GEMINI), &setup).await;
    for _ in 0..5 {
        assert!(socket.send(&sound(100)).await);
    }
    let events = turn(&mut socket).await;
    assert_eq!(usage(&events), (13, 4, 17), "500 ms in, two words of 80 ms out");
    assert_eq!(events[0]["serverContent"]["outputTranscription"]["text"], "The");
    let data = events[1]["serverContent"]["modelTurn"]["parts"][0]["inlineData"]["data"].as_str().unwrap();
    assert_eq!(STANDARD.decode(data).unwrap().len(), 80 * 48);

    setup["realtimeInputConfig"] = json!({ "automaticActivityDetection": { "disabled": true } });
    let mut socket = open(&mock, Request::get(GEMINI), &setup).await;
    for message in [
        json!({ "realtime_input": { "activity_start": {} } }),
        sound(1_000),
        json!({ "realtimeInput": { "activityEnd": {} } }),
    ] {
        assert!(socket.send(&message).await);
    }
    assert_eq!(usage(&turn(&mut socket).await), (25, 4, 29));

    assert!(socket.send(&json!({ "realtimeInput": { "text": "Hello there" } })).await);
    assert_eq!(usage(&turn(&mut socket).await), (25 + 4 + 2, 4, 35));
}

#[tokio::test]
async fn a_new_turn_interrupts_and_what_was_sent_counts() {
    let mock = MockLlm::start().await;
    let mut socket = open(&mock, Request::get(GEMINI), &text()).await;
    let mut stalled = say("Hello there");
    stalled["clientContent"]["metadata"] = json!({ "x-mock-cut-after": 1, "x-mock-socket-cut": "stall" });
    assert!(socket.send(&stalled).await);
    assert!(socket.event().await.unwrap()["serverContent"]["modelTurn"].is_object());

    assert!(socket.send(&say("Hello there")).await);

    let interrupted = turn(&mut socket).await;
    assert_eq!(interrupted[0], json!({ "serverContent": { "interrupted": true } }));
    assert_eq!(usage(&interrupted), (2, 1, 3));
    assert_eq!(usage(&turn(&mut socket).await), (5, 2, 7));
}

#[tokio::test]
async fn wrong_messages_and_failures_close_the_socket() {
    let mock = MockLlm::start().await;
    let mut socket = Socket::http1(mock.address(), Request::get(GEMINI)).await.unwrap();
    assert!(socket.send(&say("Hello there")).await);
    let End::Closed(Some((1007, reason))) = socket.drained().await else { panic!("another end") };
    assert!(reason.contains("setup"), "{reason}");

    let mut socket = open(&mock, Request::get(GEMINI), &text()).await;
    let mut failing = say("Hello there");
    failing["clientContent"]["metadata"] = json!({ "x-mock-status": "429" });
    assert!(socket.send(&failing).await);
    let end = socket.drained().await;
    assert!(matches!(&end, End::Closed(Some((1011, _)))), "{end:?}");

    let refused = Request::get(GEMINI).header("x-mock-status", "429");
    let mut response = Socket::http1(mock.address(), refused).await.unwrap_err().refusal();
    assert_eq!(response.json().await.unwrap()["error"]["status"], "RESOURCE_EXHAUSTED");
}
