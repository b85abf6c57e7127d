//! Each way in which a socket ends settles its responses once.

use std::time::Duration;

use tollgate_rig::client::socket::End;

use super::*;
use crate::bench::trap_module;

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

#[tokio::test]
async fn a_silent_socket_ends_by_envoys_idle_timeout_and_is_settled() {
    let fields = "http2_protocol_options: { allow_connect: true }\nstream_idle_timeout: 1s";
    let idle = |bootstrap: Bootstrap| bootstrap.upgrade("websocket").connection_manager(fields);
    let bench = Bench::with(Filter::yaml(&tokens(100_000, "")), idle).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let socket = talking(&bench, http, &tenant, "stall").await;
        assert!(!matches!(socket.drained().await, End::Broken(_)));
        bench.wait_for_calls("upstream_reset", if matches!(http, Http::One) { 1 } else { 2 }).await;
        let spent = spent(&bench, &tenant).await;
        assert!((10..250).contains(&spent), "{http:?}: {spent}");
    }
}

#[tokio::test]
async fn sockets_of_a_vm_that_traps_end_and_the_next_ones_are_metered_as_ever() {
    let filter = Filter::yaml(&tokens(100_000, "")).module(&trap_module());
    let bench = Bench::with(filter, |bootstrap| with_sockets(bootstrap).concurrency(1)).await;
    let socket = talking(&bench, Http::One, "ada", "stall").await;
    let trapping = request(PATH, "eve").header("x-tollgate-trap", "response");
    assert!(Socket::http1(bench.envoy.address(), trapping).await.is_err());
    drop(socket);
    // The host starts the VM again a little later.
    let mut socket = loop {
        match Socket::http2(bench.envoy.address(), request(PATH, "bob")).await {
            Ok(socket) => break socket,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    assert!(socket.send(&create(50)).await);
    let events = socket.until_type("response.completed").await;
    let (input, output) = usage(events.last().unwrap());
    assert_eq!(spent(&bench, "bob").await, input + output);
}

#[tokio::test]
async fn storms_of_pings_and_events_of_no_api_pass_and_cost_nothing() {
    let bench = start(&tokens(100_000, "")).await;
    for noise in ["unknown", "text", "binary"] {
        let request =
            request(PATH, noise).header("x-mock-socket-noise", noise).header("x-mock-socket-pings", "200");
        let mut socket = bench.socket(Http::One, request).await;
        assert!(socket.send(&create(50)).await);
        let mut spent_by_usage = 0;
        while let Some(message) = socket.next().await {
            let Ok(event) = serde_json::from_slice::<Value>(&message.into_data()) else { continue };
            if event["type"] == "response.completed" {
                let (input, output) = usage(&event);
                spent_by_usage = input + output;
                break;
            }
        }
        assert_eq!(spent(&bench, noise).await, spent_by_usage, "{noise}");
        assert!(socket.pings() >= 200);
    }
}
