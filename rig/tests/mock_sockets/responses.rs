//! Responses over a WebSocket.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

use super::{create, joined, responses, types};

/// 3 for the message, 1 for the role, 2 for the words, 3 for the reply.
const INPUT_TOKENS: u64 = 9;

#[tokio::test]
async fn a_response_has_the_events_and_the_usage_of_its_form_over_http() {
    let mock = MockLlm::start().await;
    let mut body = create(&json!({ "stream": true }));
    body.as_object_mut().unwrap().remove("type");
    let request = Request::post("/v1/responses").json(&body);
    let over_http = client::send(mock.address(), request).await.unwrap().transcript().await.unwrap();
    let over_http: Vec<_> = over_http.json().collect();

    let mut socket = responses(&mock, &[]).await;
    assert!(socket.send(&create(&json!({}))).await);
    let events = socket.until_type("response.completed").await;

    assert_eq!(types(&events), types(&over_http));
    let usage = |events: &[Value]| events.last().unwrap()["response"]["usage"].clone();
    assert_eq!(usage(&events), usage(&over_http));
    assert_eq!(usage(&events)["input_tokens"], INPUT_TOKENS);
    assert_eq!(
        joined(&events, "response.output_text.delta"),
        joined(&over_http, "response.output_text.delta")
    );
}

#[tokio::test]
async fn an_earlier_response_is_part_of_the_input() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[("x-mock-output-tokens", "7")]).await;
    assert!(socket.send(&create(&json!({}))).await);
    let first = socket.until_type("response.completed").await.pop().unwrap();
    let id = &first["response"]["id"];

    assert!(socket.send(&create(&json!({ "previous_response_id": id }))).await);
    let second = socket.until_type("response.completed").await.pop().unwrap();

    assert_eq!(second["response"]["usage"]["input_tokens"], INPUT_TOKENS + 7 + INPUT_TOKENS);
    assert_ne!(second["response"]["id"], *id);
}

#[tokio::test]
async fn lanes_run_at_the_same_time_and_each_in_order() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[("x-mock-chunk-delay-ms", "1")]).await;
    for (lane, tokens) in [("a", 30), ("a", 2), ("b", 3)] {
        let lane = json!({ "stream_id": lane, "max_output_tokens": tokens });
        assert!(socket.send(&create(&lane)).await);
    }

    let mut ended = 0;
    let mut events = Vec::new();
    while ended < 3 {
        let event = socket.event().await.unwrap();
        ended += usize::from(!event["response"]["usage"].is_null());
        events.push(event);
    }

    let of =
        |lane: &str| events.iter().filter(|event| event["stream_id"] == lane).cloned().collect::<Vec<_>>();
    assert_eq!(of("a").len() + of("b").len(), events.len());
    let ends = |events: &[Value]| {
        let ends = events.iter().filter(|event| !event["response"]["usage"].is_null());
        ends.map(|event| event["response"]["usage"]["output_tokens"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // The text has 20 tokens.
    assert_eq!((ends(&of("a")), ends(&of("b"))), (vec![20, 2], vec![3]));
    assert_eq!(ends(&events)[0], 3, "the short response of the other lane ends first");
}

#[tokio::test]
async fn errors_are_events_of_their_lane_and_the_socket_stays_open() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[]).await;
    let cases = [
        (create(&json!({ "previous_response_id": "resp_68a1" })), 400, "previous_response_not_found"),
        (create(&json!({ "metadata": { "x-mock-status": "429" } })), 429, "rate_limit_exceeded"),
        (create(&json!({ "metadata": { "x-mock-status": "401" } })), 401, "invalid_api_key"),
    ];
    for (mut event, status, code) in cases {
        event["stream_id"] = "a".into();
        assert!(socket.send(&event).await);
        let answer = socket.event().await.unwrap();
        assert_eq!((&answer["type"], &answer["stream_id"]), (&json!("error"), &json!("a")));
        assert_eq!((&answer["status"], &answer["error"]["code"]), (&json!(status), &json!(code)));
    }
    for wrong in [json!({ "type": "response.steer" }), json!({ "type": "response.create" }), json!(7)] {
        assert!(socket.send(&wrong).await);
        let answer = socket.event().await.unwrap();
        assert_eq!((&answer["status"], answer.get("stream_id")), (&json!(400), None), "{wrong}");
    }
    assert!(socket.send(&create(&json!({}))).await);
    socket.until_type("response.completed").await;
}

#[tokio::test]
async fn a_message_may_come_in_fragments() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[]).await;
    assert!(socket.fragments(&create(&json!({})).to_string(), 5).await);
    socket.until_type("response.completed").await;
    assert_eq!(mock.sockets()[0].events(), [create(&json!({}))]);
}

#[tokio::test]
async fn a_lane_has_a_name_and_a_socket_has_32_named_lanes() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[("x-mock-output-tokens", "1")]).await;
    for wrong in [json!(""), json!("a b"), json!(7), json!("a".repeat(257))] {
        assert!(socket.send(&create(&json!({ "stream_id": wrong }))).await);
        let error = socket.event().await.unwrap();
        assert_eq!((&error["error"]["code"], error.get("stream_id")), (&json!("invalid_stream_id"), None));
    }
    for lane in 0..32 {
        assert!(socket.send(&create(&json!({ "stream_id": format!("lane-{lane}") }))).await);
        socket.until_type("response.completed").await;
    }
    assert!(socket.send(&create(&json!({ "stream_id": "one-more" }))).await);
    let error = socket.event().await.unwrap();
    assert_eq!(error["error"]["code"], "websocket_stream_limit_reached");
    assert_eq!(error["stream_id"], "one-more");
    // The lane without a name does not count.
    assert!(socket.send(&create(&json!({}))).await);
    socket.until_type("response.completed").await;
}
