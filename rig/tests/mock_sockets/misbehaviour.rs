//! Sockets that misbehave on request, and clients that do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::client::socket::{End, Message, Socket};
use tollgate_rig::mock_llm::{Ending, MockLlm};

use super::{create, responses};

/// Starts a response that misbehaves.
async fn start(mock: &MockLlm, switches: &Value) -> Socket {
    let mut socket = responses(mock, &[]).await;
    assert!(socket.send(&create(&json!({ "metadata": switches }))).await);
    socket
}

async fn events(socket: &mut Socket) -> usize {
    let mut count = 0;
    while socket.event().await.is_some() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn a_response_breaks_off_in_each_way() {
    let mock = MockLlm::start().await;
    for (cut, end) in [
        ("drop", End::Dropped),
        ("reset", End::Dropped),
        ("1011", End::Closed(Some((1011, "cut on request".to_owned())))),
    ] {
        let mut socket = start(&mock, &json!({ "x-mock-cut-after": "6", "x-mock-socket-cut": cut })).await;
        assert_eq!(events(&mut socket).await, 6, "{cut}");
        assert_eq!(socket.end(), Some(&end), "{cut}");
        assert_eq!(mock.sockets().pop().unwrap().ended().await, Ending::Cut, "{cut}");
    }
}

#[tokio::test]
async fn a_response_that_stalls_leaves_the_socket_open() {
    let mock = MockLlm::start().await;
    let mut socket = responses(&mock, &[]).await;
    let stall = json!({ "x-mock-cut-after": 1, "x-mock-socket-cut": "stall" });
    assert!(socket.send(&create(&json!({ "stream_id": "a", "metadata": stall }))).await);
    assert!(socket.send(&create(&json!({ "stream_id": "b" }))).await);

    let events = socket.until_type("response.completed").await;
    assert_eq!(events.iter().filter(|event| event["stream_id"] == "a").count(), 1);
    assert_eq!(events.last().unwrap()["stream_id"], "b");
    assert_eq!(socket.close(1000, "").await, End::Closed(Some((1000, String::new()))));
}

#[tokio::test]
async fn fragments_with_pings_between_them_in_any_pieces_lose_nothing() {
    let mock = MockLlm::start().await;
    let mut plain = start(&mock, &json!({})).await;
    let expected = plain.until_type("response.completed").await;
    let switches = json!({
        "x-mock-socket-frame-bytes": "50",
        "x-mock-socket-pings": "2",
        "x-mock-split-bytes": "7",
    });
    let mut socket = start(&mock, &switches).await;

    let events = socket.until_type("response.completed").await;

    assert_eq!(events.len(), expected.len());
    assert_eq!(events.last().unwrap()["response"]["usage"], expected.last().unwrap()["response"]["usage"]);
    assert!(socket.pings() > 2 * events.len(), "{} pings", socket.pings());
}

#[tokio::test]
async fn a_first_event_can_be_huge() {
    let mock = MockLlm::start().await;
    let mut socket = start(&mock, &json!({ "x-mock-socket-padding": "3000000" })).await;
    let events = socket.until_type("response.completed").await;
    let size = |event: &Value| event["padding"].as_str().map(str::len);
    assert_eq!((size(&events[0]), size(&events[1])), (Some(3_000_000), None));
}

#[tokio::test]
async fn noise_that_rfc_6455_allows_comes_between_the_events() {
    let mock = MockLlm::start().await;
    for (noise, expected) in [
        ("unknown", Message::text("")),
        ("text", Message::text("{not JSON")),
        ("binary", Message::binary(&b"\xff\x00\xfe"[..])),
    ] {
        let mut socket = start(&mock, &json!({ "x-mock-socket-noise": noise })).await;
        let first = socket.next().await.unwrap();
        if noise == "unknown" {
            assert!(first.to_text().unwrap().contains(r#""type":"mock.unknown""#));
        } else {
            assert_eq!(first, expected);
        }
        assert!(socket.event().await.unwrap()["response"].is_object());
    }
}

#[tokio::test]
async fn noise_that_breaks_rfc_6455_is_noticed() {
    let mock = MockLlm::start().await;
    for noise in ["utf8", "wire"] {
        let mut socket = start(&mock, &json!({ "x-mock-socket-noise": noise })).await;
        assert_eq!(socket.next().await, None);
        assert!(matches!(socket.end(), Some(End::Broken(_))), "{noise}: {:?}", socket.end());
    }
}

#[tokio::test]
async fn usage_can_be_left_out_or_replaced_and_messages_can_be_binary() {
    let mock = MockLlm::start().await;
    let mut socket = start(&mock, &json!({ "x-mock-no-usage": "true" })).await;
    let done = socket.until_type("response.completed").await.pop().unwrap();
    assert_eq!(done["response"].get("usage"), None);

    assert!(socket.send(&create(&json!({ "metadata": { "x-mock-usage": "\"many\"" } }))).await);
    let done = socket.until_type("response.completed").await.pop().unwrap();
    assert_eq!(done["response"]["usage"], "many");

    let mut socket = responses(&mock, &[("x-mock-socket-binary", "true")]).await;
    assert!(socket.send(&create(&json!({}))).await);
    assert!(socket.next().await.unwrap().is_binary());
}

#[tokio::test]
async fn pings_are_answered_at_once_or_late() {
    let mock = MockLlm::start().await;
    for delay in [0, 100] {
        let delay = Duration::from_millis(delay);
        let mut socket =
            responses(&mock, &[("x-mock-socket-pong-delay-ms", &delay.as_millis().to_string())]).await;
        let started = Instant::now();
        assert!(socket.message(Message::Ping(b"one"[..].into())).await);
        // The events of a response come in the meantime.
        let long = json!({ "x-mock-output-tokens": "20", "x-mock-chunk-delay-ms": "10" });
        assert!(socket.send(&create(&json!({ "metadata": long }))).await);
        while socket.pongs().is_empty() {
            assert!(socket.next().await.is_some());
        }
        assert_eq!(socket.pongs(), [&b"one"[..]]);
        assert!(started.elapsed() >= delay);
    }
}

#[tokio::test]
async fn a_client_that_vanishes_or_breaks_the_rules_is_seen() {
    let mock = MockLlm::start().await;
    for (reset, http2) in [(false, false), (false, true), (true, false), (true, true)] {
        let request = Request::get("/v1/responses");
        let socket = if http2 {
            Socket::http2(mock.address(), request).await.unwrap()
        } else {
            Socket::http1(mock.address(), request).await.unwrap()
        };
        if reset {
            socket.reset();
        } else {
            drop(socket);
        }
        let seen = mock.sockets().pop().unwrap();
        assert_eq!(seen.ended().await, Ending::Aborted, "reset: {reset}, HTTP/2: {http2}");
        assert_eq!(seen.close(), None);
    }

    let mut socket = responses(&mock, &[]).await;
    assert!(socket.raw(b"\x81\x02{}").await, "a frame without a mask");
    assert_eq!(socket.drained().await, End::Dropped);
    let seen = mock.sockets().pop().unwrap();
    assert_eq!(seen.ended().await, Ending::Aborted);
    assert!(seen.fault().unwrap().contains("mask"), "{:?}", seen.fault());
}
