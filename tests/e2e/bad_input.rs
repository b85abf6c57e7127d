//! Malformed requests: the filter counts the declared fallback and passes them on unchanged, or
//! refuses them with a clear 4xx.

use bytes::Bytes;
use serde_json::json;
use tollgate_rig::client::{Client, Request, Response};
use tollgate_rig::envoy::{Bootstrap, Filter};
use tollgate_rig::mock_llm::coding::Coding;

use crate::bench::Bench;

/// A budget that shows the charge of a call, and a fixed reservation for its output.
const TIERS: &str = "
identity: { tenant: { header: x-tenant-id } }
counting: { output_reserve: { start: 1000, learn: false } }
tiers:
  free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 2_000_000, window: 30d } ] }
";

fn post(tenant: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::post("/v1/chat/completions").header("x-tenant-id", tenant).body(body.into())
}

fn used(response: &Response) -> u64 {
    let remaining: u64 = response.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    2_000_000 - remaining
}

fn chat_of(members: &str) -> Vec<u8> {
    format!(r#"{{"messages":[{{"role":"user","content":"Say something."}}]{members}}}"#).into_bytes()
}

/// Makes the mock answer without usage, whatever the body is. The mock itself accepts only JSON.
const ANY_BODY: (&str, &str) = ("x-mock-status", "500");

#[tokio::test]
async fn what_cannot_be_read_is_counted_as_text_and_passed_on_byte_for_byte() {
    let bench = Bench::start(TIERS).await;
    let deep = |open: &str, close: &str| {
        format!("{{\"messages\":{}{}}}", open.repeat(600_000 / open.len()), close.repeat(300_000))
    };
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("not JSON", b"hello there, this is not JSON at all".to_vec()),
        ("cut off", br#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}"#.to_vec()),
        ("not an object", br#"["model","gpt-4o"]"#.to_vec()),
        ("messages of a wrong type", br#"{"model":"gpt-4o","messages":"tell me something long"}"#.to_vec()),
        (
            "a message of a wrong type",
            br#"{"model":"gpt-4o","messages":["tell me something long"]}"#.to_vec(),
        ),
        ("a role of a wrong type", br#"{"model":"gpt-4o","messages":[{"role":7,"content":"Hi"}]}"#.to_vec()),
        (
            "content of a wrong type",
            br#"{"model":"gpt-4o","messages":[{"role":"user","content":{"a":1}}]}"#.to_vec(),
        ),
        ("no messages", br#"{"model":"gpt-4o","prompt":"tell me something long"}"#.to_vec()),
        ("a model of a wrong type", chat_of(r#","model":["gpt-4o"]"#)),
        ("NaN", chat_of(r#","model":"gpt-4o","max_tokens":NaN"#)),
        ("Infinity", chat_of(r#","model":"gpt-4o","max_tokens":-Infinity"#)),
        ("a comment", chat_of(r#","model":"gpt-4o"/* */"#)),
        ("a byte order mark", [b"\xef\xbb\xbf".to_vec(), chat_of(r#","model":"gpt-4o""#)].concat()),
        (
            "bytes that are not text",
            chat_of(",\"model\":\"gpt-4o\",\"user\":\"\"").into_iter().chain(*b"\xff\xfe").collect(),
        ),
        ("zero bytes", vec![0; 64]),
        ("nested lists, open", deep("[", "").into_bytes()),
        ("nested lists", deep("[[", "]").into_bytes()),
        ("nested objects", deep(r#"{"content":"#, "").into_bytes()),
    ];
    let mut count = 0.0;
    for (what, body) in bodies {
        let (name, value) = ANY_BODY;
        let mut response = bench.send(post(what, body.clone()).header(name, value)).await;
        assert_eq!(response.status(), 500, "{what}");
        let reserved = used(&response);
        // The reservation covers the text at the densest known encoding, and the output.
        assert!(reserved > 1000 + body.len() as u64 / 10, "{what}: {reserved}");
        response.body().await.unwrap();
        assert_eq!(bench.mock.received().pop().unwrap().body, body, "{what}");
        count += 1.0;
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_unread_bodies_total", &[("kind", "malformed")]), count);
    assert_alive(&bench).await;
}

#[tokio::test]
async fn text_with_half_of_a_surrogate_pair_counts_as_it_is_written() {
    let bench = Bench::start(TIERS).await;
    let half = r"\ud800 ".repeat(40);
    for text in [&half[..6], &half] {
        let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let (name, value) = ANY_BODY;
        let tenant = text.len().to_string();
        let mut response = bench.send(post(&tenant, body.clone()).header(name, value)).await;
        assert!(used(&response) > 1000 + text.len() as u64 / 3);
        response.body().await.unwrap();
        assert_eq!(bench.mock.received().pop().unwrap().body, body);
    }
    assert_eq!(bench.envoy.metrics().await.sum("tollgate_unread_bodies_total", &[]), 0.0);
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_read_as_most_servers_read_them_and_pass_unchanged() {
    let bench = Bench::start(TIERS).await;
    let body =
        b"{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\xff\xc0\xafb\"}]}".to_vec();
    let (name, value) = ANY_BODY;
    let mut response = bench.send(post("not UTF-8", body.clone()).header(name, value)).await;
    assert_eq!(response.status(), 500);
    response.body().await.unwrap();
    // The filter does not even add the request for the stream's usage.
    assert_eq!(bench.mock.received().pop().unwrap().body, body);
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_unread_bodies_total", &[]), 0.0);
    assert_eq!(metrics.sum("tollgate_edits_skipped_total", &[("kind", "usage")]), 1.0);
    assert_alive(&bench).await;
}

#[tokio::test]
async fn nonsense_within_a_readable_call_is_counted_and_passed_on_byte_for_byte() {
    let bench = Bench::start(TIERS).await;
    // The prompt is 10 tokens; the filter holds 1000 for output unless a valid bound is lower.
    let cases: Vec<(&str, Vec<u8>, u64)> = vec![
        ("no model", chat_of(""), 1010),
        ("an unknown model", chat_of(r#","model":"no-such-model-9""#), 1010),
        ("an empty model", chat_of(r#","model":"""#), 1010),
        ("max_tokens null", chat_of(r#","max_tokens":null"#), 1010),
        ("max_tokens zero", chat_of(r#","max_tokens":0"#), 10),
        ("max_tokens negative", chat_of(r#","max_tokens":-5"#), 1010),
        ("max_tokens text", chat_of(r#","max_tokens":"lots""#), 1010),
        ("max_tokens beyond all integers", chat_of(r#","max_tokens":99999999999999999999999999"#), 1010),
        ("max_tokens 1e400", chat_of(r#","max_tokens":1e400"#), 1010),
        ("max_tokens a list", chat_of(r#","max_tokens":[1]"#), 1010),
        ("n absurd", chat_of(r#","n":18446744073709551615,"max_tokens":18446744073709551615"#), 1010),
        ("unknown members twice", chat_of(r#","user":"a","user":"b""#), 1010),
        (
            "deep nesting where nobody looks",
            chat_of(&format!(r#","x":{}{}"#, "[".repeat(400_000), "]".repeat(400_000))),
            1010,
        ),
    ];
    for (what, body, expected) in cases {
        let (name, value) = ANY_BODY;
        let mut response = bench.send(post(what, body.clone()).header(name, value)).await;
        assert_eq!((response.status(), used(&response)), (500, expected), "{what}");
        response.body().await.unwrap();
        assert_eq!(bench.mock.received().pop().unwrap().body, body, "{what}");
    }
    // The model reads token ids, so each counts as one token; as text they would be several.
    let ids = r#"{"model":"gpt-4o","messages":[{"role":"user","content":[9906, 1917, 220, 100257]}]}"#;
    let response = bench.send(post("ids", ids).header("x-mock-status", "500")).await;
    assert!(used(&response) >= 1000 + 4 + 6, "{}", used(&response));
    assert_alive(&bench).await;
}

#[tokio::test]
async fn a_call_without_a_body_is_charged_and_passed_on() {
    let bench = Bench::start(TIERS).await;
    for http2 in [false, true] {
        let request =
            || Request::post("/v1/chat/completions").header("x-tenant-id", format!("empty-{http2}"));
        let response = if http2 { bench.send_http2(request()).await } else { bench.send(request()).await };
        // The mock rejects this body; the filter leaves that to the upstream.
        assert_eq!(response.status(), 400);
        assert!(used(&response) >= 1000);
        assert_eq!(bench.mock.received().pop().unwrap().body, "");
    }
}

#[tokio::test]
async fn members_that_decide_the_cost_are_refused_when_they_are_named_twice() {
    let bench = Bench::start(TIERS).await;
    for (member, members) in [
        ("model", r#","model":"gpt-4o","model":"gpt-4o-mini""#),
        ("model", r#","model":"gpt-4o","m\u006fdel":"gpt-4o-mini""#),
        ("max_tokens", r#","max_tokens":1,"max_tokens":100000"#),
        ("stream", r#","stream":true,"stream":false"#),
        ("messages", r#","messages":[]"#),
    ] {
        let (response, body) = bench.json(post("twice", chat_of(members))).await;
        assert_eq!(response.status(), 400, "{members}");
        let message = format!("The body names `{member}` more than once, so what it asks for is ambiguous.");
        assert_eq!(
            body,
            json!({ "error": { "message": message, "type": "invalid_request_error", "param": member, "code": "duplicate_member" } })
        );
    }
    assert_eq!(bench.mock.received().len(), 0);
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "bad_request")]), 5.0);
    // A refused call has no cost.
    assert_eq!(used(&bench.send(post("twice", chat_of(r#","max_tokens":0"#))).await), 10);
}

#[tokio::test]
async fn a_compressed_request_is_counted_by_its_length_and_not_touched() {
    let bench = Bench::start(TIERS).await;
    let body = vec![0x1f; 5_000];
    for encoding in ["gzip", "identity, gzip", "BR", "zstd"] {
        let request =
            post(encoding, body.clone()).header("content-encoding", encoding).header("x-mock-status", "500");
        let response = bench.send(request).await;
        assert_eq!(used(&response), 5_000 + 1_000, "{encoding}");
        assert_eq!(bench.mock.received().pop().unwrap().body, body);
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_unread_bodies_total", &[("kind", "encoded")]), 4.0);
    let request =
        post("identity", chat_of("")).header("content-encoding", "identity").header("x-mock-status", "500");
    assert_eq!(used(&bench.send(request).await), 1010);
}

#[tokio::test]
async fn neither_the_content_type_nor_the_spelling_of_the_path_is_a_way_around() {
    let bench = Bench::start(TIERS).await;
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\u{fe}"]
    {
        let response = bench.send(post(content_type, chat_of("")).header("content-type", content_type)).await;
        assert_eq!(used(&response), 1010, "{content_type}");
    }
    for path in [
        "/v1/chat/completions/",
        "/v1/chat/comp%6Cetions",
        "/v1/chat%2Fcompletions",
        "/v1/chat//completions",
        "/V1/Chat/Completions",
        "/v1/chat/completions?x=%ff",
        "/v1/chat/completions#x",
        "/prefix/%ff/chat/completions",
    ] {
        let mut client = Client::http1(bench.envoy.address()).await.unwrap();
        let request = Request::post(path).header("x-tenant-id", path).body(chat_of(""));
        let response = client.send(request).await.unwrap();
        assert_eq!(used(&response), 1010, "{path}");
    }
}

#[tokio::test]
async fn a_bomb_as_a_request_takes_bounded_memory_and_passes_as_it_is() {
    let bench = Bench::with(Filter::yaml(TIERS), Bootstrap::own_process).await;
    let bombs: Vec<_> = Coding::ALL
        .into_iter()
        .flat_map(|coding| {
            let of = move |byte: u8| vec![Bytes::from(vec![byte; 1 << 20]); 40];
            [0, b'['].map(|byte| (coding, Bytes::from(coding.encode(&of(byte)).concat())))
        })
        .collect();
    let mut after_first = 0;
    let mut calls = 0.0;
    for round in 0..3 {
        for (coding, bomb) in &bombs {
            // The smallest body that decodes to the bound of 8 MiB. A budget that it fills shows
            // the count.
            let request = post("bomber", bomb.clone())
                .header("content-encoding", coding.name())
                .header("x-mock-status", "500");
            let response = bench.send(request).await;
            assert_eq!((response.status(), used(&response)), (500, 2_000_000), "{coding:?}");
            assert_eq!(bench.mock.received().pop().unwrap().body, bomb, "{coding:?}");
            calls += 1.0;
        }
        if round == 0 {
            after_first = bench.envoy.resources().resident;
        }
    }
    // Each of the four workers may get its first such call later: 8 MiB, and the slack of a growing
    // buffer.
    let grown = bench.envoy.resources().resident.saturating_sub(after_first);
    assert!(grown < 4 * (24 << 20), "{grown} bytes");
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_unread_bodies_total", &[("kind", "oversize")]), calls);
    assert_alive(&bench).await;
}

#[tokio::test]
async fn members_nested_thousands_deep_are_survived_in_every_format() {
    let bench = Bench::start(TIERS).await;
    let paths = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/audio/speech",
        "/v1/images/generations",
        "/v1/messages",
        "/model/amazon.nova-lite-v1%3A0/converse",
        "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke",
        "/v1beta/models/gemini-2.5-flash:generateContent",
        "/v1beta/models/gemini-embedding-001:embedContent",
        "/v2/chat",
        "/v2/embed",
        "/api/chat",
        "/api/generate",
        "/api/embed",
    ];
    let members = [
        "messages",
        "contents",
        "content",
        "input",
        "prompt",
        "system",
        "tools",
        "texts",
        "images",
        "max_tokens",
    ];
    let mut calls = 0.0;
    for path in paths {
        for (member, open, close) in members.iter().flat_map(|member| {
            [("[", "]"), (r#"{"content":"#, "}"), (r#"[{"parameters":"#, "}]")]
                .map(|(open, close)| (member, open, close))
        }) {
            let deep = format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
            let body = format!(r#"{{"model":"gpt-4o","{member}":{deep}}}"#);
            let request = Request::post(path).header("x-tenant-id", format!("{path} {member} {calls}"));
            let response = bench.send(request.body(body.clone()).header("x-mock-status", "500")).await;
            assert_eq!(response.status(), 500, "{path} {member}");
            assert_eq!(bench.mock.received().pop().unwrap().body, body, "{path} {member}");
            calls += 1.0;
        }
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "error")]), calls);
    assert_alive(&bench).await;
}

/// Asserts that no VM restarted.
async fn assert_alive(bench: &Bench) {
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
    assert!(!bench.envoy.log().contains("[critical]"));
}
