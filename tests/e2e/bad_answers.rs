//! Malformed answers: the filter charges the declared fallback, counts them, and passes them on
//! byte for byte, in bounded memory.
//!
//! In: broken answers of a scripted upstream. Out: nothing. Not here: the charge of each malformed
//! answer, which native tests cover (`exchange`). These tests cover the host's part: how it cuts,
//! ends and slices answers, and the memory of a worker.

use core::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::envoy::{Bootstrap, Filter};
use tollgate_rig::mock_llm::coding::Coding;
use tollgate_rig::mock_llm::eventstream;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, with_detours};

/// Disables learning, so that each fallback is a fixed number.
const TOKENS: &str = "
counting: { calibrate: false, output_reserve: { start: 1000, learn: false } }
tiers: { all: { limits: [ { name: tokens, count: tokens, max: 1_000_000_000_000, window: 1d } ] } }
";

const EVENTS: &str = "text/event-stream";
const FRAMES: &str = "application/vnd.amazon.eventstream";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// An API, its request, and an event of its stream with the text `Hello é`.
struct Api {
    path: &'static str,
    request: fn() -> Value,
    content_type: &'static str,
    part: fn() -> Vec<u8>,
}

const CHAT: Api = Api {
    path: "/v1/chat/completions",
    request: || json!({ "model": "gpt-4o", "stream": true, "stream_options": { "include_usage": true }, "messages": messages() }),
    content_type: EVENTS,
    part: || event(r#"{"choices":[{"delta":{"content":"Hello é"}}]}"#),
};

const APIS: [Api; 5] = [
    CHAT,
    Api {
        path: "/v1/messages",
        request: || json!({ "model": "gpt-4o", "stream": true, "max_tokens": 1000, "messages": messages() }),
        content_type: EVENTS,
        part: || {
            event(
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello é"}}"#,
            )
        },
    },
    Api {
        path: "/v1beta/models/gpt-4o:streamGenerateContent?alt=sse",
        request: || json!({ "contents": [{ "role": "user", "parts": [{ "text": "Hi" }] }] }),
        content_type: EVENTS,
        part: || event(r#"{"candidates":[{"content":{"parts":[{"text":"Hello é"}]}}]}"#),
    },
    Api {
        path: "/model/gpt-4o/converse-stream",
        request: || json!({ "messages": [{ "role": "user", "content": [{ "text": "Hi" }] }] }),
        content_type: FRAMES,
        part: || {
            eventstream::event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hello é"}}"#)
        },
    },
    Api {
        path: "/api/chat",
        request: || json!({ "model": "gpt-4o", "messages": messages() }),
        content_type: LINES,
        part: || "{\"message\":{\"content\":\"Hello é\"},\"done\":false}\n".into(),
    },
];

fn messages() -> Value {
    json!([{ "role": "user", "content": "Hi" }])
}

fn event(json: &str) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

impl Api {
    fn call(&self) -> Request {
        Request::post(&format!("/bad{}", self.path)).json(&(self.request)())
    }
}

/// Returns an answer that ends when the upstream closes the connection.
fn until_closed(content_type: &str, coding: &str, body: &[u8]) -> Script {
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{coding}connection: close\r\n\r\n");
    Script::new().read_request().write([head.as_bytes(), body].concat())
}

/// Returns an answer whose upstream closes the connection one byte before the end.
fn cut_off(content_type: &str, body: &[u8]) -> Script {
    let length = body.len() + 1;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
    Script::new().read_request().write([head.as_bytes(), body].concat())
}

fn coded(coding: Coding) -> String {
    format!("content-encoding: {}\r\n", coding.name())
}

/// An Envoy in front of an upstream that answers with these scripts in order.
struct Bad {
    bench: Bench,
    _upstream: ScriptedUpstream,
    calls: usize,
}

impl Bad {
    async fn answers(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::with(scripts, |bootstrap| bootstrap).await
    }

    /// Does the same as [`Bad::answers`] in a process of its own, to measure memory and CPU time.
    async fn measured(scripts: impl IntoIterator<Item = Script>) -> Self {
        Self::with(scripts, Bootstrap::own_process).await
    }

    async fn with(
        scripts: impl IntoIterator<Item = Script>,
        change: impl FnOnce(Bootstrap) -> Bootstrap,
    ) -> Self {
        let upstream = ScriptedUpstream::start(scripts).await;
        let detour = Detour { name: "bad", to: Some(upstream.address()), route: ", prefix_rewrite: /" };
        let bench =
            Bench::with(Filter::yaml(TOKENS), |bootstrap| change(with_detours(bootstrap, &[detour]))).await;
        Self { bench, _upstream: upstream, calls: 0 }
    }

    /// Returns the bytes that the client received, and whether the answer was complete.
    async fn call(&mut self, request: Request) -> (Vec<u8>, bool) {
        self.calls += 1;
        let mut response = self.bench.send(request).await;
        assert_eq!(response.status(), 200);
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk.data),
                Ok(None) => return (body, true),
                Err(_) => return (body, false),
            }
        }
    }

    /// Returns the input and output tokens charged for the previous call.
    async fn charged(&self) -> (u64, u64) {
        let log = self.bench.envoy.wait_for_access_log(self.calls).await;
        let fact = |name: &str| log[self.calls - 1][name].as_str().unwrap().parse::<u64>().unwrap();
        (fact("tollgate.input_tokens.used"), fact("tollgate.output_tokens.used"))
    }

    async fn missing(&self, kind: &str) -> f64 {
        let metrics = self.bench.envoy.metrics().await;
        // The worker that read the worst answer did not restart.
        assert_eq!(metrics.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
        metrics.sum("tollgate_usage_missing_total", &[("kind", kind)])
    }
}

#[tokio::test]
async fn a_stream_cut_in_an_event_a_character_or_a_frame_pays_for_what_had_come() {
    let mut cuts = Vec::new();
    for api in &APIS {
        let part = (api.part)();
        let in_character = part.iter().position(|byte| *byte == 0xc3).unwrap() + 1;
        cuts.extend([(api, 3), (api, in_character), (api, part.len() - 3)].map(|(api, cut)| {
            let stream = [part.clone(), part[..cut].to_vec()].concat();
            (api, stream)
        }));
    }
    let scripts = cuts.iter().map(|(api, stream)| cut_off(api.content_type, stream));
    let ends = cuts.iter().map(|(api, stream)| until_closed(api.content_type, "", stream));
    let mut bad = Bad::answers(scripts.chain(ends)).await;
    for (api, stream) in &cuts {
        let (body, ended) = bad.call(api.call()).await;
        assert_eq!((body.as_slice(), ended), (stream.as_slice(), false), "{}", api.path);
        let (input, output) = bad.charged().await;
        assert!(input > 0 && output == 2, "{}: {input} {output}", api.path);
    }
    bad.bench.wait_for_calls("upstream_reset", 15).await;
    for (api, stream) in &cuts {
        assert_eq!(bad.call(api.call()).await, (stream.clone(), true), "{}", api.path);
        let (input, output) = bad.charged().await;
        // At the cut, an object may be complete except for its last bytes.
        assert!(input > 0 && (2..=4).contains(&output), "{}: {input} {output}", api.path);
    }
    assert_eq!(bad.missing("absent").await, 15.0);
}

#[tokio::test]
async fn a_content_type_that_lies_changes_neither_charge_nor_bytes() {
    let mut lies = Vec::new();
    for api in &APIS {
        for content_type in [JSON, EVENTS, LINES, "application/octet-stream", "text/html"] {
            lies.push((api, content_type, [(api.part)(), (api.part)()].concat()));
        }
    }
    let scripts = lies.iter().map(|(_, content_type, stream)| until_closed(content_type, "", stream));
    let mut bad = Bad::answers(scripts).await;
    for (api, content_type, stream) in &lies {
        assert_eq!(bad.call(api.call()).await, (stream.clone(), true), "{} as {content_type}", api.path);
        assert_eq!(bad.charged().await.1, 4, "{} as {content_type}", api.path);
    }
    assert_eq!(bad.missing("absent").await, lies.len() as f64);
}

#[tokio::test]
async fn answers_that_cannot_be_decoded_or_framed_are_charged_the_reservation() {
    let api = &APIS[3];
    let mut lie = (api.part)();
    lie[1] = 0x7f;
    let mut scripts = vec![until_closed(FRAMES, "", &lie)];
    let mut bodies = vec![lie];
    for coding in Coding::ALL {
        let whole = coding.encode(&[Bytes::from((api.part)())]).concat();
        let truncated = whole[..whole.len() - 1].to_vec();
        scripts.push(until_closed(FRAMES, &coded(coding), &truncated));
        scripts.push(until_closed(FRAMES, &coded(coding), b"not compressed at all"));
        bodies.extend([truncated, b"not compressed at all".to_vec()]);
    }
    let mut bad = Bad::answers(scripts).await;
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(bad.call(api.call()).await, (body.clone(), true), "{number}");
        assert_eq!(bad.charged().await.1, 1000, "{number}");
    }
    assert_eq!(bad.missing("encoded").await, bodies.len() as f64);
}

/// Returns an event of this many megabytes.
fn long_event(megabytes: usize) -> Vec<u8> {
    event(&format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(megabytes << 20)))
}

#[tokio::test]
async fn a_long_event_passes_in_memory_that_does_not_grow_and_in_time_by_its_length() {
    let usage = event(r#"{"choices":[],"usage":{"prompt_tokens":70,"completion_tokens":90}}"#);
    let long = [long_event(20), usage.clone()].concat();
    let short = [long_event(1), usage].concat();
    let answer = |stream: &[u8]| until_closed(EVENTS, "", stream);
    let mut scripts: Vec<_> = (0..20).map(|_| answer(&short)).collect();
    scripts.extend((0..9).map(|_| answer(&long)));
    let mut bad = Bad::measured(scripts).await;
    let cpu = |bad: &Bad| bad.bench.envoy.resources().cpu;

    let start = cpu(&bad);
    for _ in 0..20 {
        assert!(bad.call(CHAT.call()).await == (short.clone(), true));
    }
    let of_short = cpu(&bad) - start;
    let start = cpu(&bad);
    assert!(bad.call(CHAT.call()).await == (long.clone(), true), "the client sees other bytes");
    let of_long = cpu(&bad) - start;
    assert_eq!(bad.charged().await, (70, 90));
    // The same bytes come in one event and in twenty. Quadratic work would take twenty times as
    // long.
    assert!(of_long < of_short * 4, "{of_long:?} for one event, {of_short:?} for twenty");

    // Gives each worker its first such call.
    for _ in 0..4 {
        bad.call(CHAT.call()).await;
    }
    let before = bad.bench.envoy.resources().resident;
    for _ in 0..4 {
        bad.call(CHAT.call()).await;
    }
    let grown = bad.bench.envoy.resources().resident.saturating_sub(before);
    assert!(grown < 30 << 20, "{grown} bytes for 80 MiB of events");
    assert_eq!(bad.missing("absent").await, 0.0);
}

#[tokio::test]
async fn a_bomb_as_an_answer_takes_bounded_memory_and_time_and_passes_as_it_is() {
    let bombs = Coding::ALL.map(|coding| {
        // The second body is the slowest to parse as JSON.
        let of = |byte| coding.encode(&vec![Bytes::from(vec![byte; 1 << 20]); 256]).concat();
        (coding, [of(0), of(b'{')])
    });
    let scripts = bombs.iter().flat_map(|(coding, bombs)| {
        bombs.iter().cycle().take(16).map(|body| until_closed(JSON, &coded(*coding), body))
    });
    let mut bad = Bad::measured(scripts.collect::<Vec<_>>()).await;
    let mut encoded = 0.0;
    for (coding, bombs) in &bombs {
        let before = bad.bench.envoy.resources();
        for body in bombs.iter().cycle().take(16) {
            assert!(bad.call(CHAT.call()).await == (body.clone(), true), "{coding:?}: other bytes");
            assert_eq!(bad.charged().await.1, 1000, "{coding:?}");
        }
        let after = bad.bench.envoy.resources();
        let grown = after.resident.saturating_sub(before.resident);
        assert!(grown < 64 << 20, "{grown} bytes for {coding:?}");
        // Each answer keeps its worker busy only briefly. Decoding up to the bound would take most
        // of a second.
        assert!(
            after.cpu - before.cpu < Duration::from_secs(3),
            "{:?} for {coding:?}",
            after.cpu - before.cpu
        );
        encoded += 16.0;
        assert_eq!(bad.missing("encoded").await, encoded, "{coding:?}");
    }
}
