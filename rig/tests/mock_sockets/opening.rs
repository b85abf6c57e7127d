//! Handshakes, over HTTP/1.1 and HTTP/2, accepted and refused.

use tollgate_rig::client::socket::{End, Socket};
use tollgate_rig::client::{Client, Request};
use tollgate_rig::mock_llm::{Ending, MockLlm};

use super::{create, json};

#[tokio::test]
async fn a_socket_opens_over_both_versions_of_http_and_closes_with_close_frames() {
    let mock = MockLlm::start().await;
    for http2 in [false, true] {
        let request = Request::get("/v1/responses").header("x-call", "7");
        let mut socket = if http2 {
            Socket::http2(mock.address(), request).await.unwrap()
        } else {
            Socket::http1(mock.address(), request).await.unwrap()
        };
        assert!(socket.send(&create(&json!({}))).await);
        socket.until_type("response.completed").await;
        assert_eq!(socket.close(1000, "done").await, End::Closed(Some((1000, "done".to_owned()))));

        let seen = mock.sockets().pop().unwrap();
        assert_eq!(seen.handshake.header("x-call"), Some("7"));
        assert_eq!(seen.events(), [create(&json!({}))]);
        assert_eq!(seen.ended().await, Ending::Finished);
        assert_eq!(seen.close(), Some(Some((1000, "done".to_owned()))), "HTTP/2: {http2}");
    }
    assert_eq!(mock.received().len(), 2, "handshakes are requests too");
}

#[tokio::test]
async fn an_http2_connection_carries_sockets_and_calls_at_a_time() {
    let mock = MockLlm::start().await;
    let mut client = Client::http2(mock.address()).await.unwrap();
    assert_eq!(client.send(Request::get("/v1/models")).await.unwrap().status(), 200);
    let mut one = Socket::beside(&mut client, Request::get("/v1/responses")).await.unwrap();
    let mut other = Socket::beside(&mut client, Request::get("/v1/responses")).await.unwrap();
    for socket in [&mut one, &mut other] {
        assert!(socket.send(&create(&json!({}))).await);
        socket.until_type("response.completed").await;
    }
    assert_eq!(client.send(Request::get("/v1/models")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_refused_handshake_is_an_http_response_with_the_apis_error() {
    let mock = MockLlm::start().await;
    let get = |path: &str| Request::get(path);
    let cases = [
        (get("/v1/responses").header("x-mock-status", "404"), 404, "invalid_request_error"),
        (get("/v1/responses").header("x-mock-status", "401"), 401, "authentication_error"),
        (get("/v1/responses").header("x-mock-socket-cat", "1"), 400, "invalid_request_error"),
        (get("/v1/responses").header("sec-websocket-version", "8"), 426, "invalid_request_error"),
        (get("/v1/realtime"), 400, "invalid_request_error"),
        (get("/v1/nothing"), 404, "invalid_request_error"),
    ];
    for (request, status, kind) in cases {
        let mut response = Socket::http1(mock.address(), request).await.unwrap_err().refusal();
        assert_eq!(response.status(), status);
        assert_eq!(response.json().await.unwrap()["error"]["type"], kind, "{status}");
    }
    let request = get("/v1/responses").header("x-mock-status", "429").header("x-mock-retry-after", "3");
    let response = Socket::http2(mock.address(), request).await.unwrap_err().refusal();
    assert_eq!((response.status(), response.header("retry-after")), (429, Some("3")));
    assert!(mock.sockets().is_empty());
}

#[tokio::test]
async fn sockets_end_with_the_mock() {
    let mock = MockLlm::start().await;
    let socket = Socket::http1(mock.address(), Request::get("/v1/responses")).await.unwrap();
    mock.wait_for_sockets(1).await;
    drop(mock);
    assert_eq!(socket.drained().await, End::Dropped);
}
