//! Every API of the mock, through Envoy: the charge equals the answer's usage, and refusals use the
//! API's own dialect.
//!
//! In: the calls of `calls`. Out: nothing. Not here: payloads of real providers (`golden`), chat
//! completions, which most other tests cover, and official clients (`sdks`).

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use crate::bench::{Bench, Detour, chat, with_detours};
use crate::calls::{Call, QUESTION, converse, last, of_openai, of_others, readable};

/// A small budget over a long window, so that no tokens refill during a test.
const BUDGET: u64 = 10_000;

/// Counts every model as the mock does, so that answers without usage also have exact charges.
const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
counting: { calibrate: false, models: [ { match: '*', scale: 1 } ] }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] } }
";

#[tokio::test]
async fn every_answer_passes_as_it_is_and_is_charged_what_it_tells() {
    let bench = Bench::start(TOKENS).await;
    for call in of_openai().into_iter().chain(of_others()) {
        let mut response = bench.send(call.request()).await;
        assert_eq!(response.status(), 200, "{}", call.path);
        assert!(response.header("ratelimit").is_some(), "{} is a call", call.path);
        let answer = response.body().await.unwrap();
        let direct = client::send(bench.mock.address(), call.request()).await.unwrap().body().await.unwrap();
        assert!(answer == direct, "{}: the client sees other bytes", call.path);
        assert_eq!(bench.left(call.path).await, BUDGET - call.charged(&answer), "{}", call.path);
    }
}

#[tokio::test]
async fn counting_tokens_is_no_call() {
    let bench = Bench::start(TOKENS).await;
    let contents = json!({ "contents": [{ "role": "user", "parts": [{ "text": QUESTION }] }] });
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    for (call, told) in [
        (
            Call::json(
                "/v1/messages/count_tokens",
                &json!({ "model": "claude-sonnet-4-5", "messages": messages }),
                &[],
            ),
            "input_tokens",
        ),
        (Call::json("/v1beta/models/gemini-2.5-flash:countTokens", &contents, &[]), "totalTokens"),
        (
            Call::json(
                "/model/amazon.nova-lite-v1%3A0/count-tokens",
                &json!({ "input": { "converse": converse() } }),
                &[],
            ),
            "inputTokens",
        ),
        (
            Call::json("/v1/responses/input_tokens", &json!({ "model": "gpt-4o", "input": QUESTION }), &[]),
            "input_tokens",
        ),
    ] {
        let mut response = bench.send(call.request()).await;
        assert_eq!((response.status(), response.header("ratelimit")), (200, None), "{}", call.path);
        assert!(last(&readable(&response.body().await.unwrap()), told) > 0);
        assert_eq!(bench.left(call.path).await, BUDGET, "{}", call.path);
    }
}

#[tokio::test]
async fn a_signed_request_arrives_as_it_was_signed_and_its_compressed_answer_is_charged() {
    let bench = Bench::start(TOKENS).await;
    let signed = [
        ("host", "bedrock-runtime.eu-west-1.amazonaws.com"),
        ("accept-encoding", "br, gzip;q=0.5"),
        ("x-amz-date", "20260102T030405Z"),
        ("x-amz-content-sha256", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/bedrock/aws4_request, \
             SignedHeaders=accept-encoding;content-length;content-type;host;x-amz-date, Signature=5d672d79",
        ),
    ];
    for call in of_others().into_iter().filter(|call| call.path.starts_with("/model/")) {
        let request =
            signed.iter().fold(call.request(), |request, (name, value)| request.header(name, value));
        let mut response = bench.send(request.header("x-mock-encoding", "accepted")).await;
        assert_eq!(
            (response.status(), response.header("content-encoding")),
            (200, Some("br")),
            "{}",
            call.path
        );
        response.body().await.unwrap();

        let received = bench.mock.received().pop().unwrap();
        assert_eq!((received.uri.to_string().as_str(), &received.body), (call.path, &call.body));
        let length = call.body.len().to_string();
        for (name, value) in
            signed.iter().chain(&[("content-length", &*length), ("content-type", "application/json")])
        {
            let values: Vec<_> = received.headers.get_all(*name).iter().collect();
            assert_eq!(values, [value], "{name} of {}", call.path);
        }
        let plain = client::send(bench.mock.address(), call.request()).await.unwrap().body().await.unwrap();
        assert_eq!(bench.left(call.path).await, BUDGET - call.charged(&plain), "{}", call.path);
    }
}

/// Splits a stream into events or frames.
fn pieces(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let length = match stream.windows(2).position(|end| end == b"\n\n") {
            Some(end) if stream[0] != 0 => end + 2,
            // A frame begins with its length.
            _ => u32::from_be_bytes(stream[..4].try_into().unwrap()) as usize,
        };
        let (piece, rest) = stream.split_at(length);
        pieces.push(piece.to_vec());
        stream = rest;
    }
    pieces
}

/// Returns a tenant's remaining tokens after its client hung up three words into the answer.
async fn left_after_three_words(call: &Call, word: &str) -> (u64, Vec<u8>) {
    let mock = Bench::start(TOKENS).await.mock;
    let mut whole = client::send(mock.address(), call.request()).await.unwrap();
    let content_type = whole.header("content-type").unwrap().to_owned();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    let pieces = pieces(&whole.body().await.unwrap());
    let is_word = |piece: &&Vec<u8>| String::from_utf8_lossy(piece).contains(word);
    let (last, _) = pieces.iter().enumerate().filter(|(_, piece)| is_word(piece)).nth(2).unwrap();
    let script = pieces[..=last].iter().fold(Script::new().read_request().write(head), |script, piece| {
        script.write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
    });
    let upstream = ScriptedUpstream::start([script.read_until_closed()]).await;
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let bench = Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await;

    let sent = pieces[..=last].concat();
    let mut response = bench.send(call.request_of("scripted", "/scripted")).await;
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        seen.extend_from_slice(&response.chunk().await.unwrap().unwrap().data);
    }
    assert!(seen == sent, "the client sees other bytes");
    response.abort();
    bench.wait_for_calls("client_abort", 1).await;
    (bench.left("scripted").await, sent)
}

#[tokio::test]
async fn who_hangs_up_on_anthropic_pays_the_input_it_told_and_what_was_sent() {
    let body = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 50, "stream": true,
        "messages": [{ "role": "user", "content": QUESTION }],
    });
    let (left, sent) = left_after_three_words(&Call::json("/v1/messages", &body, &[]), "text_delta").await;
    let input = last(&readable(&sent), "input_tokens");
    assert_eq!(left, BUDGET - input - 3);
}

#[tokio::test]
async fn who_hangs_up_on_bedrock_pays_the_input_that_was_counted_and_what_was_sent() {
    let call = Call::json("/model/amazon.nova-lite-v1%3A0/converse-stream", &converse(), &[]);
    let (left, sent) = left_after_three_words(&call, "contentBlockDelta").await;
    assert!(!readable(&sent).contains("inputTokens"), "the input is only told at the end");
    // Six tokens for the question, four for its message and role, three to start the answer.
    assert_eq!(left, BUDGET - 13 - 3);
}

#[tokio::test]
async fn a_gemini_stream_that_its_upstream_cuts_is_charged_by_what_it_told_or_else_by_its_text() {
    let bench = Bench::start(TOKENS).await;
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": QUESTION }] }] });
    // The mock reports the six tokens of the question; the filter also counts three for the turn
    // and three to start the answer.
    for (cuts, (path, no_usage, input)) in (1..).zip([
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "false", 6),
        ("/array/v1beta/models/gemini-2.5-flash:streamGenerateContent", "false", 6),
        ("/text/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "true", 12),
        ("/text/array/v1beta/models/gemini-2.5-flash:streamGenerateContent", "true", 12),
    ]) {
        let request = Call::json(path, &body, &[]).request().header("x-mock-no-usage", no_usage);
        let mut response = bench.send(request.header("x-mock-cut-after", "5")).await;
        assert!(response.body().await.is_err(), "{path} is cut");
        bench.wait_for_calls("upstream_reset", cuts).await;
        assert_eq!(bench.left(path).await, BUDGET - input - 5, "{path}");
    }
}

/// Returns the head of a form with the model, and a file in `count` pieces of 64 KiB. Each part
/// ends with an empty line, so that a script can read them one by one.
fn upload(count: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let start = "--line\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-transcribe\r\n\
                 --line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let mut pieces = vec![[&[0xfe_u8; 64 * 1024][..], b"\r\n\r\n"].concat(); count];
    pieces.push(b"\r\n--line--\r\n\r\n".to_vec());
    (start.as_bytes().to_vec(), pieces)
}

/// Sends an upload that continues only when its beginning has arrived. Returns its cost in dollars
/// and tokens.
async fn cost_of_upload(pieces: usize) -> (Value, u64) {
    let (start, pieces) = upload(pieces);
    let arrived = Signal::new();
    let usage = json!({
        "type": "tokens", "input_tokens": 2000, "output_tokens": 100, "total_tokens": 2100,
        "input_token_details": { "text_tokens": 500, "audio_tokens": 1500 },
    });
    let answer = json!({ "text": "The answer", "usage": usage }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    // The headers of the request, of the form's first part, and of its second.
    let script = Script::new().read_headers().read_headers().read_headers().tell(&arrived);
    let script = pieces.iter().fold(script, |script, _| script.read_headers());
    let script = script.write(format!("{head}content-length: {}\r\n\r\n{answer}", answer.len()));
    let upstream = ScriptedUpstream::start([script]).await;
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let prices = "
prices:
- { match: gpt-4o-transcribe, input: 2.5, audio_input: 6, output: 10 }
- { match: '*', input: 100, output: 100 }
";
    let filter = Filter::yaml(&format!("{TOKENS}{prices}"));
    let bench = Bench::with(filter, |bootstrap| with_detours(bootstrap, &[detour])).await;

    let sent = [start.clone(), pieces.concat()].concat();
    let request = Request::post("/scripted/v1/audio/transcriptions")
        .header("x-tenant-id", "ada")
        .header("content-type", "multipart/form-data; boundary=line")
        .header("content-length", sent.len().to_string());
    let (request, mut body) = request.body_in_parts();
    let feeding = tokio::spawn(async move {
        assert!(body.send(start).await);
        arrived.wait().await;
        for piece in pieces {
            assert!(body.send(piece).await);
        }
    });
    let (response, answered) = bench.json(request).await;
    feeding.await.unwrap();
    assert_eq!((response.status(), &answered["text"]), (200, &json!("The answer")));
    let heard = upstream.heard()[0].requests[1..].concat();
    assert!(heard == sent, "{} bytes of {} arrived, or others", heard.len(), sent.len());
    let cost = bench.envoy.wait_for_access_log(1).await[0]["tollgate.cost_usd"].clone();
    (cost, BUDGET - bench.left("ada").await)
}

#[tokio::test]
async fn an_upload_passes_as_it_comes_and_is_priced_by_the_model_in_its_form() {
    // 500 at 2.5, 1500 at 6 and 100 at 10 US dollars per million.
    let cost = (json!("0.01125"), 2100);
    assert_eq!(cost_of_upload(1).await, cost, "of a size that is held where bodies are read");
    assert_eq!(cost_of_upload(64).await, cost, "of several MiB");
}

#[tokio::test]
async fn every_api_refuses_in_its_own_words() {
    const X_RATELIMIT: &str = "x-ratelimit-remaining-tokens";
    const ANTHROPIC_RATELIMIT: &str = "anthropic-ratelimit-tokens-remaining";
    let bench = Bench::start(TOKENS).await;
    let usage = json!({ "prompt_tokens": 0, "completion_tokens": 2 * BUDGET });
    let (paid, body) = bench.json(chat("ada").header("x-mock-usage", usage.to_string())).await;
    assert_eq!(paid.status(), 200, "{body}");
    // The first entry whose path fragment matches applies: pointers to the error's message and
    // kind, and the remaining members.
    let dialects = [
        (
            "/publishers/anthropic/",
            "/error/message",
            ("/error/type", "rate_limit_error"),
            ANTHROPIC_RATELIMIT,
        ),
        ("/messages", "/error/message", ("/error/type", "rate_limit_error"), ANTHROPIC_RATELIMIT),
        ("/v1beta/", "/error/message", ("/error/status", "RESOURCE_EXHAUSTED"), X_RATELIMIT),
        ("/model/", "/message", ("x-amzn-errortype", "ThrottlingException"), X_RATELIMIT),
        ("/v2/", "/message", ("content-type", "application/json"), X_RATELIMIT),
        ("/api/", "/error", ("content-type", "application/json"), X_RATELIMIT),
        ("/", "/error/message", ("/error/code", "rate_limit_exceeded"), X_RATELIMIT),
    ];
    for call in of_openai().iter().chain(&of_others()).filter(|call| !call.is_free()) {
        let (response, body) = bench.json(call.request_of("ada", "")).await;
        assert_eq!(response.status(), 429, "{}: {body}", call.path);
        let mut dialects = dialects.iter();
        let (_, message, (place, kind), left) = dialects.find(|row| call.path.contains(row.0)).unwrap();
        let said = body.pointer(message).and_then(Value::as_str);
        assert!(said.is_some_and(|said| said.contains("(limit `tpm`)")), "{}: {body}", call.path);
        let in_body = body.pointer(place).and_then(Value::as_str);
        assert_eq!(in_body.or_else(|| response.header(place)), Some(*kind), "{}: {body}", call.path);
        let shown = [X_RATELIMIT, ANTHROPIC_RATELIMIT].map(|name| response.header(name));
        let expected = [X_RATELIMIT, ANTHROPIC_RATELIMIT].map(|name| Some("0").filter(|_| name == *left));
        assert_eq!(shown, expected, "{}", call.path);
        assert!(response.header("retry-after").is_some(), "{}", call.path);
    }
    assert_eq!(bench.mock.received().len(), 1, "none of them reaches the upstream");
}

#[tokio::test]
async fn the_configuration_says_what_is_spoken_below_a_path() {
    let apis = "
apis:
- { path_prefix: /claude/open, format: none }
- { path_prefix: /claude, format: anthropic_messages }
";
    let detour = Detour { name: "claude", to: None, route: ", prefix_rewrite: /v1/messages" };
    let filter = Filter::yaml(&format!("{TOKENS}{apis}"));
    let open = Detour { name: "claude/open", route: ", prefix_rewrite: /v1/messages", to: None };
    let bench = Bench::with(filter, |bootstrap| with_detours(bootstrap, &[open, detour])).await;
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let body = json!({ "model": "claude-sonnet-4-5", "max_tokens": 50, "messages": messages });

    let call = Call::json("/claude", &body, &[("input_tokens", 1), ("output_tokens", 1)]);
    let mut response = bench.send(call.request()).await;
    assert!(response.header("anthropic-ratelimit-tokens-limit").is_some(), "{:?}", response.headers());
    let answer = response.body().await.unwrap();
    assert!(call.charged(&answer) > 0);
    assert_eq!(bench.left("/claude").await, BUDGET - call.charged(&answer));

    let call = Call::json("/claude/open", &body, &[]);
    let response = bench.send(call.request()).await;
    assert_eq!((response.status(), response.header("ratelimit")), (200, None));
    assert_eq!(bench.left("/claude/open").await, BUDGET);
}

#[tokio::test]
async fn a_deployment_of_azure_is_limited_by_its_name() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: mine, count: requests, per: tenant, max: 1, window: 30d, models: ['my-deploy*'] }
",
    )
    .await;
    // Azure ignores the model in the body.
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": QUESTION }] });
    let status = async |deployment: &str| {
        let path = format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21");
        let (response, body) =
            bench.json(Request::post(&path).header("x-tenant-id", "ada").json(&body)).await;
        (
            response.status(),
            body["error"]["message"].as_str().map(|message| message.contains("(limit `mine`)")),
        )
    };
    assert_eq!(status("my-deploy-eu").await, (200, None));
    assert_eq!(status("my-deploy-us").await, (429, Some(true)), "one budget for all that the pattern fits");
    for _ in 0..2 {
        assert_eq!(status("other").await, (200, None));
    }
}
