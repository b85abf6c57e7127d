//! Each way in which a socket ends settles its responses once.

use tollgate_rig::client::socket::End;

use super::*;

const PATH: &str = "/v1/responses";

/// Opens a socket whose response never ends by itself, and reads its first text.
async fn talking(bench: &Bench, http: Http, tenant: &str, cut: &str) -> Socket {
    let request = request(PATH, tenant)
        .header("x-mock-output-tokens", "1000")
        .header("x-mock-tokens-per-chunk", "10")
        .header("x-mock-cut-after", "12")
        .header("x-mock-socket-cut", cut);
    let mut socket = bench.socket(http, request).await;
    assert!(socket.send(&create(2000)).await);
    socket.until_type("response.output_text.delta").await;
    socket
}

async fn spent(bench: &Bench, tenant: &str) -> u64 {
    100_000 - bench.left(tenant).await
}

#[tokio::test]
async fn an_open_response_is_settled_by_what_was_seen_however_the_socket_ends() {
    let bench = start(&tokens(100_000, "")).await;
    for http in BOTH {
        let of = |what: &str| format!("{http:?}-{what}");
        // The client closes.
        let socket = talking(&bench, http, &of("close"), "stall").await;
        socket.close(1000, "").await;
        // The client resets.
        let socket = talking(&bench, http, &of("reset"), "stall").await;
        socket.reset();
        // The server drops the connection, resets it, or closes.
        for cut in ["drop", "reset", "1011"] {
            let socket = talking(&bench, http, &of(cut), cut).await;
            let end = socket.drained().await;
            assert!(cut != "1011" || matches!(end, End::Closed(Some((1011, _)))), "{end:?}");
        }
    }
    bench.wait_for_sockets("client_close", 2).await;
    bench.wait_for_sockets("server_close", 2).await;
    let metrics = bench.envoy.metrics().await;
    let sum = |kind: &str| metrics.sum("tollgate_sockets_total", &[("kind", kind)]);
    assert_eq!(sum("client_abort") + sum("upstream_reset"), 6.0);
    for http in BOTH {
        for what in ["close", "reset", "drop", "1011"] {
            let spent = spent(&bench, &format!("{http:?}-{what}")).await;
            assert!((10..250).contains(&spent), "{http:?} {what}: {spent}");
        }
    }
}

#[tokio::test]
async fn what_no_server_accepts_ends_the_socket_and_costs_nothing() {
    let bench = start(&tokens(100_000, "")).await;
    let long = [&[0x81, 0xff][..], &[0xff; 8], &[0; 4], b"{}"].concat();
    for (what, bytes) in [
        ("unmasked", b"\x81\x02{}".to_vec()),
        ("reserved", b"\xc1\x80\0\0\0\0".to_vec()),
        ("opcode", b"\x83\x80\0\0\0\0".to_vec()),
        ("length", long),
        ("continuation", b"\x80\x80\0\0\0\0".to_vec()),
        ("ping", b"\x09\x80\0\0\0\0".to_vec()),
    ] {
        for http in BOTH {
            let mut socket = bench.socket(http, request(PATH, what)).await;
            assert!(socket.raw(&bytes).await);
            let end = socket.drained().await;
            assert!(matches!(end, End::Closed(Some((1002, _)))), "{what} {http:?}: {end:?}");
        }
        assert_eq!(spent(&bench, what).await, 0, "{what}");
    }
    bench.wait_for_sockets("invalid", 12).await;
}

#[tokio::test]
async fn what_the_api_would_refuse_passes_to_it() {
    let bench = start(&tokens(100_000, "")).await;
    let mut socket = bench.socket(Http::One, request(PATH, "ada")).await;
    for text in ["not JSON", "{}", "[]", r#"{"type":"no.such.event"}"#] {
        assert!(socket.message(tollgate_rig::client::socket::Message::text(text)).await);
        assert_eq!(socket.event().await.unwrap()["type"], "error", "{text}");
    }
    assert!(socket.send(&create(50)).await);
    socket.until_type("response.completed").await;
}

#[tokio::test]
async fn a_refused_handshake_costs_nothing() {
    let bench = start(&tokens(100_000, "")).await;
    for status in ["401", "404", "503"] {
        let refused =
            Socket::http1(bench.envoy.address(), request(PATH, "ada").header("x-mock-status", status)).await;
        let Err(error) = refused else { panic!("{status}") };
        assert_eq!(error.refusal().status().to_string(), status);
    }
    bench.wait_for_sockets("not_upgraded", 3).await;
    assert_eq!(spent(&bench, "ada").await, 0);
}
