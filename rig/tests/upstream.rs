//! The scripted upstream plays its script when the test signals.

use tollgate_rig::client::{self, ClientError, Request, raw};
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_body_is_reset_in_its_middle_when_the_test_says_so() {
    let seen = Signal::new();
    let script = Script::new().read_request().write(format!("{HEAD}2\r\nab\r\n")).wait(&seen).reset();
    let upstream = ScriptedUpstream::start([script]).await;

    let request = Request::post("/x").body("question");
    let mut response = client::send(upstream.address(), request).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap().data, "ab");
    seen.fire();

    assert!(matches!(response.chunk().await, Err(ClientError::Exchange(_))));
    let request = String::from_utf8_lossy(&upstream.heard()[0].requests[0]).into_owned();
    assert!(
        request.starts_with("POST /x HTTP/1.1\r\n") && request.ends_with("\r\n\r\nquestion"),
        "{request}"
    );
}

#[tokio::test]
async fn slow_bytes_and_trailers_make_a_whole_response() {
    let script =
        Script::new().read_request().write_slowly(format!("{HEAD}2\r\nab\r\n0\r\nx-end: yes\r\n\r\n"));
    let upstream = ScriptedUpstream::start([script]).await;

    let mut response = client::send(upstream.address(), Request::get("/")).await.unwrap();

    assert_eq!(response.body().await.unwrap(), "ab");
    assert_eq!(response.trailers().unwrap()["x-end"], "yes");
}

#[tokio::test]
async fn connections_play_their_scripts_in_turn_and_chunked_requests_are_read_whole() {
    let told = Signal::new();
    let one = Script::new().read_request().write("one");
    let other = Script::new().read_headers().tell(&told).write("other");
    let upstream = ScriptedUpstream::start([one, other]).await;

    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(raw::exchange(upstream.address(), chunked).await.unwrap(), b"one");
    assert!(!told.is_fired());
    for _ in 0..2 {
        assert_eq!(raw::exchange(upstream.address(), b"GET / HTTP/1.1\r\n\r\n").await.unwrap(), b"other");
    }
    told.wait().await;
    assert_eq!(upstream.heard()[0].requests[0], &chunked[..]);
}

#[tokio::test]
async fn a_script_that_the_peer_breaks_says_so() {
    let upstream = ScriptedUpstream::start([Script::new().read_request()]).await;
    let mut connection = raw::RawConnection::open(upstream.address()).await.unwrap();
    connection.write(b"GET / HT").await.unwrap();
    connection.reset().unwrap();

    let broke = async {
        while upstream.heard().first().is_none_or(|heard| heard.broke.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(client::PATIENCE, broke).await.expect("the script is broken off");
}
