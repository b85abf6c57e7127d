//! Streams pass as the upstream sends them, except for the usage chunk that only the filter
//! requested.

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{self, Client, Request};
use tollgate_rig::envoy::{Bootstrap, Filter};
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use crate::bench::{Bench, Detour, chat_by, chat_with, with_detours};
use crate::probe::{INPUT, STREAM_END, STREAM_HEAD, answer, chunk, event};

const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] } }
";

async fn start_before(upstream: &ScriptedUpstream) -> Bench {
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await
}

/// Returns the body of a call sent directly to the mock.
async fn direct(bench: &Bench, request: Request) -> Vec<u8> {
    client::send(bench.mock.address(), request).await.unwrap().body().await.unwrap().to_vec()
}

fn asking() -> Value {
    json!({ "stream": true, "stream_options": { "include_usage": true } })
}

fn not_asking() -> Value {
    json!({ "stream": true })
}

/// Returns a stream without the event that carries only usage.
fn without_usage(stream: &[u8]) -> Vec<u8> {
    let text = core::str::from_utf8(stream).unwrap();
    let events = text.split_inclusive("\n\n");
    let kept: String = events.filter(|event| !event.contains("\"choices\":[],")).collect();
    assert!(kept.len() < text.len(), "no usage in {text}");
    kept.into_bytes()
}

#[tokio::test]
async fn usage_is_asked_for_and_its_chunk_taken_out_again() {
    let bench = Bench::start(TOKENS).await;
    let mut response = bench.send(chat_with("ada", not_asking())).await;
    let body = response.body().await.unwrap();

    let expected = direct(&bench, chat_with("ada", asking())).await;
    assert_eq!(body, without_usage(&expected), "all other bytes are the upstream's");
    assert!(Transcript::parse(&body).usage().is_none());
    assert_eq!(bench.mock.received()[0].json()["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn a_client_that_asks_for_usage_gets_every_byte() {
    let bench = Bench::start(TOKENS).await;
    let body = bench.send(chat_with("ada", asking())).await.body().await.unwrap();
    let expected = direct(&bench, chat_with("ada", asking())).await;
    assert_eq!(body, expected);
    assert!(Transcript::parse(&body).usage().is_some());
    let received = bench.mock.received();
    assert_eq!(received[0].body, received[1].body, "the request passes unchanged");
}

#[tokio::test]
async fn nothing_of_a_request_changes_but_the_option_that_asks_for_usage() {
    let bench = Bench::start(TOKENS).await;
    let rest = r#""messages" : [{"role":"user","content":"a\u0062 \n é"}] ,"model":"gpt-4o", "seed":1e2,"stream" :true"#;
    let set = r#""stream_options":{"include_usage":true}"#;
    for (sent, expected) in [
        (format!("{{{rest}}}"), format!("{{{set},{rest}}}")),
        (format!("{{{rest}, \"stream_options\":null}}"), format!("{{{rest}, {set}}}")),
        (format!("{{{rest}, \"stream_options\":{{}}}}"), format!("{{{rest}, {set}}}")),
        (format!("{{{rest},\"stream_options\":{{\"include_usage\":false}}}}"), format!("{{{rest},{set}}}")),
        (
            format!("{{{rest},\"stream_options\":{{\"include_obfuscation\":false}}}}"),
            format!("{{{rest},\"stream_options\":{{\"include_usage\":true,\"include_obfuscation\":false}}}}"),
        ),
        (format!("{{{rest},{set}}}"), format!("{{{rest},{set}}}")),
        (format!("{{{}}}", rest.replace("true", "false")), format!("{{{}}}", rest.replace("true", "false"))),
    ] {
        let request = Request::post("/v1/chat/completions").header("x-tenant-id", "ada").body(sent.clone());
        let mut response = bench.send(request).await;
        assert_eq!(response.status(), 200, "{sent}");
        response.body().await.unwrap();
        let received = bench.mock.received().pop().unwrap();
        assert_eq!(String::from_utf8_lossy(&received.body), expected, "of {sent}");
        assert_eq!(received.header("content-length"), Some(expected.len().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_client_cannot_opt_out_of_being_counted() {
    let bench = Bench::start(TOKENS).await;
    let options = json!({ "stream": true, "stream_options": { "include_usage": false } });
    let request = chat_with("ada", options).header("x-mock-output-tokens", "30");
    let transcript = bench.send(request).await.transcript().await.unwrap();
    assert!(transcript.is_done());
    assert!(transcript.usage().is_none(), "it did not want to see it");
    assert_eq!(bench.left("ada").await, 10_000 - INPUT - 30);
    bench.wait_for_count("tollgate_usage_missing_total", &[], 0).await;
}

#[tokio::test]
async fn a_stream_may_be_split_anywhere() {
    let bench = Bench::start(TOKENS).await;
    let expected = without_usage(&direct(&bench, chat_with("ada", asking())).await);
    for (calls, size) in (1..).zip([1, 2, 3, 7, 64, 333, 100_000]) {
        let request = chat_with("ada", not_asking()).header("x-mock-split-bytes", size.to_string());
        let body = bench.send(request).await.body().await.unwrap();
        assert_eq!(body, expected, "in pieces of {size}");
        assert_eq!(bench.left("ada").await, 10_000 - calls * (INPUT + 20), "in pieces of {size}");
    }
}

#[tokio::test]
async fn every_chunk_arrives_by_itself_before_the_next_is_sent() {
    let signals: Vec<_> = (0..20).map(|_| Signal::new()).collect();
    let events: Vec<_> = (0..20).map(|number| event(&format!("word {number}"))).collect();
    let mut script = Script::new().read_request().write(STREAM_HEAD);
    for (event, signal) in events.iter().zip(&signals) {
        script = script.write(chunk(event)).wait(signal);
    }
    let upstream = ScriptedUpstream::start([script.write(STREAM_END)]).await;
    let bench = start_before(&upstream).await;

    for http2 in [false, true] {
        if http2 {
            // The second time the upstream does not wait, but the stream must still pass complete
            // and in order.
            assert!(signals.iter().all(Signal::is_fired));
        }
        let address = bench.envoy.address();
        let client = if http2 { Client::http2(address).await } else { Client::http1(address).await };
        let mut response = client.unwrap().send(chat_by("scripted", "ada", not_asking())).await.unwrap();
        if http2 {
            assert_eq!(response.body().await.unwrap(), events.concat());
            continue;
        }
        for (event, signal) in events.iter().zip(&signals) {
            assert_eq!(response.chunk().await.unwrap().unwrap().data, event);
            signal.fire();
        }
        assert!(response.chunk().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn streams_pass_over_http2_on_both_sides() {
    let bench = Bench::with(Filter::yaml(TOKENS), Bootstrap::upstream_http2).await;
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let request = chat_with("ada", not_asking()).header("x-mock-output-tokens", "30");
    let transcript = client.send(request).await.unwrap().transcript().await.unwrap();
    assert!(transcript.is_done());
    assert!(transcript.usage().is_none());
    assert_eq!(bench.left("ada").await, 10_000 - INPUT - 30);
}

#[tokio::test]
async fn a_stream_that_is_shortened_is_not_sent_with_the_length_it_had() {
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    let stream = format!("{}{usage}\n\ndata: [DONE]\n\n", event("Hello"));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        stream.len()
    );
    let upstream =
        ScriptedUpstream::start([Script::new().read_request().write(format!("{head}{stream}"))]).await;
    let bench = start_before(&upstream).await;
    let mut response = bench.send(chat_by("scripted", "ada", not_asking())).await;
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.body().await.unwrap(), format!("{}data: [DONE]\n\n", event("Hello")));
    assert_eq!(bench.left("ada").await, 10_000 - INPUT - 5);
}

#[tokio::test]
async fn the_upstream_is_asked_not_to_compress() {
    let bench = Bench::start(TOKENS).await;
    let request = chat_with("ada", not_asking())
        .header("accept-encoding", "gzip, br")
        .header("accept-encoding", "zstd")
        .header("x-mock-encoding", "accepted");
    let mut response = bench.send(request).await;
    assert_eq!(response.header("content-encoding"), None);
    assert!(response.transcript().await.unwrap().is_done());
    let received = &bench.mock.received()[0];
    let accepted: Vec<_> = received.headers.get_all("accept-encoding").iter().collect();
    assert_eq!(accepted, ["identity"]);
}

#[tokio::test]
async fn edited_requests_keep_their_place_on_the_connection_to_the_upstream() {
    let answer = answer(INPUT, 5);
    let script = (0..3).fold(Script::new(), |script, _| script.read_request().write(answer.clone()));
    let upstream = ScriptedUpstream::start([script.read_until_closed()]).await;
    let bench = start_before(&upstream).await;
    // One client connection stays on one worker, and so on one connection to the upstream.
    let mut client = Client::http1(bench.envoy.address()).await.unwrap();
    for _ in 0..3 {
        let mut response = client.send(chat_by("scripted", "ada", not_asking())).await.unwrap();
        assert_eq!(response.status(), 200);
        response.body().await.unwrap();
    }
    let Bench { envoy, .. } = bench;
    drop(envoy);
    let heard = upstream.heard();
    assert_eq!(heard.len(), 1, "all on one connection");
    let requests = &heard[0].requests;
    for request in requests.iter().take(3) {
        let text = String::from_utf8_lossy(request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /scripted/v1/chat/completions HTTP/1.1"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
    assert_eq!(requests[3..].concat(), b"", "nothing is left over");
}
