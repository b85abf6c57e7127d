//! Sockets through a real Envoy without the filter.

use serde_json::json;
use tollgate_rig::client::socket::{End, Socket};
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::{Bootstrap, Envoy};
use tollgate_rig::mock_llm::{Ending, MockLlm};

use super::create;

fn with_sockets(bootstrap: Bootstrap) -> Bootstrap {
    bootstrap.upgrade("websocket").connection_manager("http2_protocol_options: { allow_connect: true }")
}

#[tokio::test]
async fn sockets_pass_over_both_versions_of_http() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(with_sockets(Bootstrap::to(mock.address()))).await;
    for http2 in [false, true] {
        let request = Request::get("/v1/responses").header("x-call", "7");
        let mut socket = if http2 {
            Socket::http2(envoy.address(), request).await.unwrap()
        } else {
            Socket::http1(envoy.address(), request).await.unwrap()
        };
        assert!(socket.fragments(&create(&json!({})).to_string(), 20).await);
        socket.until_type("response.completed").await;
        assert_eq!(socket.close(1000, "done").await, End::Closed(Some((1000, "done".to_owned()))));

        let seen = mock.sockets().pop().unwrap();
        assert_eq!(seen.handshake.header("x-call"), Some("7"));
        assert_eq!(seen.handshake.version, hyper::Version::HTTP_11);
        assert_eq!(seen.events(), [create(&json!({}))]);
        assert_eq!(seen.ended().await, Ending::Finished, "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn refusals_resets_and_cuts_pass_too() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(with_sockets(Bootstrap::to(mock.address()))).await;
    let refused = || Request::get("/v1/responses").header("x-mock-status", "401");
    for error in [
        Socket::http1(envoy.address(), refused()).await.unwrap_err(),
        Socket::http2(envoy.address(), refused()).await.unwrap_err(),
    ] {
        let mut response = error.refusal();
        assert_eq!(response.status(), 401);
        assert_eq!(response.json().await.unwrap()["error"]["code"], "invalid_api_key");
    }

    let mut client = Client::http2(envoy.address()).await.unwrap();
    for cut in ["drop", "reset"] {
        let request = Request::get("/v1/responses").header("x-mock-cut-after", "3");
        let request = request.header("x-mock-socket-cut", cut);
        let mut socket = Socket::beside(&mut client, request).await.unwrap();
        assert!(socket.send(&create(&json!({}))).await);
        while socket.event().await.is_some() {}
        assert_eq!(socket.end(), Some(&End::Dropped));
        assert_eq!(mock.sockets().pop().unwrap().ended().await, Ending::Cut);
    }

    Socket::http1(envoy.address(), Request::get("/v1/responses")).await.unwrap().reset();
    assert_eq!(mock.sockets().pop().unwrap().ended().await, Ending::Aborted);
    Socket::beside(&mut client, Request::get("/v1/responses")).await.unwrap().reset();
    assert_eq!(mock.sockets().pop().unwrap().ended().await, Ending::Aborted);
}
