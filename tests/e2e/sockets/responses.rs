//! OpenAI's Responses over a WebSocket.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;

const PATH: &str = "/v1/responses";

#[tokio::test]
async fn each_response_is_charged_by_its_usage_over_both_versions_of_http() {
    let bench = start(&tokens(100_000, "")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let mut socket = bench.socket(http, request(PATH, &tenant)).await;
        let mut spent = 0;
        for _ in 0..2 {
            assert!(socket.send(&create(50)).await);
            let events = socket.until_type("response.completed").await;
            assert_eq!(events[0]["type"], "response.created");
            let (input, output) = usage(events.last().unwrap());
            spent += input + output;
            assert_eq!(bench.left(&tenant).await, 100_000 - spent, "{http:?}");
        }
        socket.close(1000, "").await;
    }
    bench.wait_for_sockets("client_close", 2).await;
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "ok")]), 4.0);
    // The line of the connection has the sums of its responses.
    let log = bench.envoy.wait_for_access_log(6).await;
    let lines: Vec<_> = log.iter().filter(|line| line["path"] == PATH).collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let output: u64 = line["tollgate.output_tokens.used"].as_str().unwrap().parse().unwrap();
        let ones = metrics.sum("tollgate_tokens_total", &[("kind", "output")]) / 2.0;
        assert_eq!(output as f64, ones, "{line}");
    }
}

#[tokio::test]
async fn a_refused_response_never_reaches_the_server_and_its_client_gets_an_error_at_once() {
    let bench = start(&tokens(320, "")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let mut socket =
            bench.socket(http, request(PATH, &tenant).header("x-mock-output-tokens", "280")).await;
        assert!(socket.send(&create(290)).await);
        socket.until_type("response.completed").await;
        let asked = Instant::now();
        assert!(socket.send(&create(290)).await);
        let error = socket.event().await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(429)), "{error}");
        assert_eq!(error["error"]["code"], "rate_limit_exceeded");
        assert!(error["headers"]["retry-after-ms"].is_string(), "{error}");
        assert_eq!(socket.pongs().len(), 0, "the pong is Tollgate's own");
        // A smaller one goes through.
        assert!(socket.send(&create(1)).await);
        socket.until_type("response.incomplete").await;
        socket.close(1000, "").await;
    }
    for socket in bench.mock.sockets() {
        assert_eq!(socket.events().len(), 2, "the refused one is not among them");
        assert!(socket.handshake.header("sec-websocket-extensions").is_none());
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "refused")]), 2.0);
}

#[tokio::test]
async fn many_sockets_on_one_budget_admit_no_more_than_it_has() {
    let bench = start(&tokens(2_000, "")).await;
    let address = bench.envoy.address();
    let run = move |http| async move {
        let mut socket =
            open(address, http, request(PATH, "ada").header("x-mock-output-tokens", "100")).await;
        let mut spent = 0;
        for _ in 0..3 {
            assert!(socket.send(&create(100)).await);
            let events =
                socket.until(|event| event["type"] == "response.completed" || event["type"] == "error").await;
            let last = events.last().unwrap();
            if last["type"] == "response.completed" {
                let (input, output) = usage(last);
                spent += input + output;
            }
        }
        socket.close(1000, "").await;
        spent
    };
    let sockets: JoinSet<_> = (0..64).map(|index| run(BOTH[index % 2])).collect();
    let spent: u64 = sockets.join_all().await.into_iter().sum();
    assert!(spent <= 2_000, "{spent} of 2000 tokens were admitted");
    assert!(spent > 1_800, "only {spent} of 2000 tokens were admitted");
    assert_eq!(bench.left("ada").await, 2_000 - spent);
}

#[tokio::test]
async fn a_response_waits_for_its_budget_and_what_is_behind_it_waits_too() {
    let limits = "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits: [ { name: tpm, count: tokens, per: tenant, max: 200, window: 4s, algorithm: token_bucket } ]
    wait: { max_wait: 10s }
";
    let bench = start(limits).await;
    for http in BOTH {
        let request = request(PATH, &format!("{http:?}")).header("x-mock-output-tokens", "150");
        let mut socket = bench.socket(http, request).await;
        assert!(socket.send(&create(150)).await);
        socket.until_type("response.completed").await;
        let began = Instant::now();
        for _ in 0..2 {
            assert!(socket.send(&create(150)).await);
        }
        for _ in 0..2 {
            socket.until_type("response.completed").await;
        }
        // At 50 tokens a second.
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1) && took < Duration::from_secs(9), "{took:?}");
        socket.close(1000, "").await;
    }
    let metrics = bench.envoy.metrics().await;
    assert!(metrics.sum("tollgate_waits_total", &[("kind", "passed")]) >= 2.0);
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "ok")]), 6.0);
}

#[tokio::test]
async fn lanes_of_one_socket_run_at_the_same_time() {
    let bench = start(&tokens(100_000, "")).await;
    let mut socket = bench.socket(Http::One, request(PATH, "ada")).await;
    for lane in ["a", "b", "c"] {
        let mut event = create(20);
        event["stream_id"] = lane.into();
        assert!(socket.send(&event).await);
    }
    let mut spent = 0;
    for _ in 0..3 {
        let events = socket.until_type("response.completed").await;
        let (input, output) = usage(events.last().unwrap());
        spent += input + output;
    }
    assert_eq!(bench.left("ada").await, 100_000 - spent);
}

#[tokio::test]
async fn frames_in_any_pieces_are_read() {
    let bench = start(&tokens(100_000, "")).await;
    for http in BOTH {
        let tenant = format!("{http:?}");
        let request = request(PATH, &tenant)
            .header("x-mock-socket-frame-bytes", "7")
            .header("x-mock-socket-pings", "1")
            .header("x-mock-split-bytes", "5");
        let mut socket = bench.socket(http, request).await;
        assert!(socket.fragments(&create(30).to_string(), 9).await);
        let events = socket.until_type("response.completed").await;
        let (input, output) = usage(events.last().unwrap());
        assert!(socket.pings() > 10, "pings between the fragments pass");
        assert_eq!(bench.left(&tenant).await, 100_000 - input - output);
    }
}

#[tokio::test]
async fn a_socket_takes_one_place_among_the_calls_in_flight() {
    let limits = "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: sockets, count: concurrent_requests, per: tenant, max: 1 } ] } }
";
    let bench = start(limits).await;
    let mut socket = bench.socket(Http::One, request(PATH, "ada")).await;
    assert!(socket.send(&create(50)).await);
    socket.until_type("response.completed").await;
    let refused = Socket::http1(bench.envoy.address(), request(PATH, "ada")).await;
    let Err(error) = refused else { panic!("a second socket opened") };
    assert_eq!(error.refusal().status(), 429);
    socket.close(1000, "").await;
    bench.wait_for_sockets("client_close", 1).await;
    bench.socket(Http::Two, request(PATH, "ada")).await;
}
