//! OpenAI's Realtime API.

use super::*;

const PATH: &str = "/v1/realtime?model=gpt-realtime";

/// Returns an event with so much sound of 24 kHz.
fn append(milliseconds: usize) -> Value {
    json!({ "type": "input_audio_buffer.append", "audio": "A".repeat(milliseconds * 64) })
}

async fn open(bench: &Bench, http: Http, tenant: &str, session: Value) -> Socket {
    let request = request(PATH, tenant).header("x-mock-output-tokens", "20");
    let mut socket = bench.socket(http, request).await;
    assert_eq!(socket.event().await.unwrap()["type"], "session.created");
    assert!(socket.send(&json!({ "type": "session.update", "session": session })).await);
    assert_eq!(socket.event().await.unwrap()["type"], "session.updated");
    socket
}

fn text_only() -> Value {
    json!({ "type": "realtime", "output_modalities": ["text"], "audio": { "input": { "turn_detection": null } } })
}

#[tokio::test]
async fn speech_is_charged_by_its_classes_and_by_the_second() {
    let bench = start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 100_000, window: 30d }
    - { name: sound, count: audio_seconds, per: tenant, max: 3600, window: 1h }
",
    )
    .await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let session = json!({ "type": "realtime", "output_modalities": ["audio"] });
        let mut socket = open(&bench, http, &tenant, session).await;
        let mut spent = 0;
        for _ in 0..2 {
            assert!(socket.send(&append(1000)).await);
            let events = socket.until_type("response.done").await;
            let (input, output) = usage(events.last().unwrap());
            spent += input + output;
            assert_eq!(bench.left(&tenant).await, 100_000 - spent, "{http:?}");
        }
        socket.close(1000, "").await;
    }
    let metrics = bench.envoy.metrics().await;
    for class in ["audio_input", "cached_audio_input", "audio_output"] {
        assert!(metrics.sum("tollgate_tokens_total", &[("kind", class)]) > 0.0, "{class}");
    }
    // Two seconds heard on each socket, and what was said.
    assert!(metrics.sum("tollgate_audio_milliseconds_total", &[]) > 4_000.0);
}

#[tokio::test]
async fn a_response_that_speech_begins_is_cancelled_when_nothing_is_left() {
    let bench = start(&tokens(60, "")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let session = json!({ "type": "realtime", "output_modalities": ["audio"] });
        let mut socket = open(&bench, http, &tenant, session).await;
        let mut refused = None;
        for _ in 0..6 {
            assert!(socket.send(&append(1000)).await);
            let events = socket.until_type("response.done").await;
            if let Some(error) = events.iter().find(|event| event["type"] == "error") {
                refused = Some((error.clone(), events.last().unwrap().clone()));
                break;
            }
        }
        let (error, done) = refused.expect("none was refused");
        assert_eq!(error["error"]["code"], "rate_limit_exceeded", "{error}");
        let last = bench.mock.sockets().last().unwrap().events();
        let is_cancel = |event: &Value| event["type"] == "response.cancel";
        assert!(last.iter().any(is_cancel) || done["response"]["status"] == "completed", "{last:?}");
        socket.close(1000, "").await;
    }
}

#[tokio::test]
async fn a_refusal_is_an_event_and_the_session_goes_on() {
    let bench = start(&tokens(200, "")).await;
    let mut socket = open(&bench, Http::One, "ada", text_only()).await;
    let ask = |id: &str, most: u64| json!({ "type": "response.create", "event_id": id, "response": { "max_output_tokens": most } });
    assert!(socket.send(&ask("first", 100)).await);
    socket.until_type("response.done").await;
    let mut at = 0;
    let error = loop {
        at += 1;
        assert!(socket.send(&ask(&format!("e{at}"), 100)).await);
        let events = socket.until(|event| event["type"] == "response.done" || event["type"] == "error").await;
        if events.last().unwrap()["type"] == "error" {
            break events.last().unwrap().clone();
        }
    };
    assert_eq!(error["error"]["event_id"], format!("e{at}"));
    assert!(socket.send(&json!({ "type": "session.update", "session": { "instructions": "Go on." } })).await);
    assert_eq!(socket.event().await.unwrap()["type"], "session.updated");
}

#[tokio::test]
async fn a_response_is_stopped_in_the_middle_at_the_end_of_its_budget() {
    let bench = start(&tokens(400, "streams: { stop_at_limit: true }\n")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let request = request(PATH, &tenant)
            .header("x-mock-output-tokens", "5000")
            .header("x-mock-chunk-delay-ms", "1");
        let mut socket = bench.socket(http, request).await;
        assert!(socket.send(&json!({ "type": "session.update", "session": text_only() })).await);
        socket.until_type("session.updated").await;
        assert!(socket.send(&json!({ "type": "response.create" })).await);
        let events = socket.until_type("response.done").await;
        assert_eq!(events.last().unwrap()["response"]["status"], "incomplete");
        let texts = events.iter().filter(|event| event["type"] == "response.output_text.delta").count();
        assert!(texts < 600, "{texts} deltas of a budget of 400 tokens");
        // The session goes on; the server is told at the next message at the latest.
        assert!(socket.send(&json!({ "type": "session.update", "session": text_only() })).await);
        socket.until_type("session.updated").await;
        let events = bench.mock.sockets().last().unwrap().events();
        assert!(events.iter().any(|event| event["type"] == "response.cancel"), "{events:?}");
    }
    bench.wait_for_calls("stopped", 2).await;
}
