//! Every API that the mock speaks, through Envoy: what is charged is what the answer tells, and refusals are in the API's own dialect.
//!
//! In: calls as clients of each API make them. Out: nothing. Not here: payloads of real providers (`golden`), chat completions, which most
//! other tests are about, and official clients (`sdks`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::Filter;
use tollgate_rig::mock_llm::eventstream;
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use crate::bench::{Bench, Detour, chat, with_detours};

const BUDGET: u64 = 1_000_000;

/// Every model is counted as the mock counts it, so that also what is not told can be said to the token.
const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
counting: { calibrate: false, models: [ { match: '*', scale: 1 } ] }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1_000_000, window: 30d } ] } }
";

/// A call of one API.
struct Call {
    path: &'static str,
    body: Bytes,
    content_type: &'static str,
    /// The numbers of the answer that are charged, by their names, and what one of each is in tokens.
    told: &'static [(&'static str, u64)],
    /// Charged without being told.
    untold: u64,
}

impl Call {
    fn json(path: &'static str, body: &Value, told: &'static [(&'static str, u64)]) -> Self {
        Self { path, body: body.to_string().into(), content_type: "application/json", told, untold: 0 }
    }

    fn request(&self) -> Request {
        self.request_by("")
    }

    /// By way of a [`Detour`], with a tenant of its own.
    fn request_by(&self, detour: &str) -> Request {
        let path = format!("{detour}{}", self.path);
        let request = if self.body.is_empty() { Request::get(&path) } else { Request::post(&path) };
        let request = request.header("x-tenant-id", self.path).header("content-type", self.content_type);
        request.body(self.body.clone())
    }

    /// What an answer with this body is charged.
    fn charged(&self, answer: &[u8]) -> u64 {
        let answer = readable(answer);
        let told = self.told.iter().map(|(name, worth)| worth * last(&answer, name));
        told.sum::<u64>() + self.untold
    }
}

/// An answer as text, with what is in binary frames, and in base64 inside of these.
fn readable(answer: &[u8]) -> String {
    let Ok(frames) = eventstream::frames(answer) else { return String::from_utf8_lossy(answer).into_owned() };
    let payloads = frames.iter().map(|frame| match frame.json()["bytes"].as_str() {
        Some(native) => STANDARD.decode(native).unwrap(),
        None => frame.payload.clone(),
    });
    payloads.map(|payload| String::from_utf8(payload).unwrap()).collect()
}

/// The number that a member of this name has where it comes for the last time: streams tell totals.
fn last(answer: &str, name: &str) -> u64 {
    let (_, value) = answer.rsplit_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {answer}"));
    let digits: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|error| panic!("{error}: {name} in {answer}"))
}

const OPENAI: &[(&str, u64)] = &[("prompt_tokens", 1), ("completion_tokens", 1)];
const IN_AND_OUT: &[(&str, u64)] = &[("input_tokens", 1), ("output_tokens", 1)];
const ANTHROPIC: &[(&str, u64)] = &[
    ("input_tokens", 1),
    ("cache_creation_input_tokens", 1),
    ("cache_read_input_tokens", 1),
    ("output_tokens", 1),
];
const GEMINI: &[(&str, u64)] =
    &[("promptTokenCount", 1), ("candidatesTokenCount", 1), ("thoughtsTokenCount", 1)];
const BEDROCK: &[(&str, u64)] = &[("inputTokens", 1), ("outputTokens", 1)];
const OLLAMA: &[(&str, u64)] = &[("prompt_eval_count", 1), ("eval_count", 1)];

const QUESTION: &str = "Where does the water go?";

fn with(mut body: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("{members} has no members") };
    body.as_object_mut().unwrap().extend(members);
    body
}

fn of_openai() -> Vec<Call> {
    let responses = json!({ "model": "gpt-4o", "input": QUESTION });
    let completions = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": [QUESTION, "Why?"], "n": 2 });
    let asking = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let speech = |model: &str| json!({ "model": model, "voice": "alloy", "input": "Hello there" });
    let image = json!({ "model": "gpt-image-1", "prompt": "A hill", "quality": "low" });
    vec![
        Call::json("/v1/responses", &responses, IN_AND_OUT),
        Call::json("/stream/v1/responses", &with(responses.clone(), json!({ "stream": true })), IN_AND_OUT),
        Call::json("/v1/completions", &completions, OPENAI),
        Call::json("/stream/v1/completions", &with(completions, asking), OPENAI),
        Call::json(
            "/v1/embeddings",
            &json!({ "model": "text-embedding-3-small", "input": [QUESTION, "Why?"] }),
            &[("prompt_tokens", 1)],
        ),
        Call::json(
            "/openai/deployments/embed/embeddings?api-version=2024-10-21",
            &json!({ "input": [[1, 2, 3], [4]] }),
            &[("prompt_tokens", 1)],
        ),
        // Sound tells nothing: two tokens of text, and eleven letters at 1,250 tokens for 900.
        Call { untold: 2 + 16, ..Call::json("/v1/audio/speech", &speech("gpt-4o-mini-tts"), &[]) },
        Call::json(
            "/stream/v1/audio/speech",
            &with(speech("gpt-4o-mini-tts"), json!({ "stream_format": "sse" })),
            IN_AND_OUT,
        ),
        transcription("/v1/audio/transcriptions", "gpt-4o-transcribe", "", IN_AND_OUT),
        transcription("/whisper/v1/audio/transcriptions", "whisper-1", "", &[("seconds", 10)]),
        transcription("/stream/v1/audio/transcriptions", "gpt-4o-transcribe", "true", IN_AND_OUT),
        Call::json("/v1/images/generations", &image, IN_AND_OUT),
        Call::json("/stream/v1/images/generations", &with(image, json!({ "stream": true })), IN_AND_OUT),
        Call::json("/v1/moderations", &json!({ "input": QUESTION }), &[]),
        Call { body: Bytes::new(), ..Call::json("/v1/models", &json!({}), &[]) },
    ]
}

/// The upload of a second or two of sound.
fn transcription(
    path: &'static str,
    model: &str,
    stream: &str,
    told: &'static [(&'static str, u64)],
) -> Call {
    let field = |name: &str, value: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let fields = field("model", model) + &field("prompt", "Hello there") + &field("stream", stream);
    let body = [fields.as_bytes(), file.as_bytes(), &[0xfe; 50_000], b"\r\n--line--\r\n"].concat();
    let content_type = "multipart/form-data; boundary=line";
    Call { content_type, body: body.into(), ..Call::json(path, &json!({}), told) }
}

fn of_others() -> Vec<Call> {
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let stream = |body: Value| with(body, json!({ "stream": true }));
    let claude = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 50, "messages": messages,
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }],
    });
    let thinking = with(claude.clone(), json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }));
    let contents = json!([{ "role": "user", "parts": [{ "text": QUESTION }] }]);
    let gemini = json!({ "contents": contents, "generationConfig": { "thinkingConfig": {} } });
    let embedded = json!({ "content": { "parts": [{ "text": QUESTION }] } });
    let native = json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": messages });
    let llama = json!({ "prompt": QUESTION });
    let prompt_and_generation: &[_] = &[("prompt_token_count", 1), ("generation_token_count", 1)];
    let cohere = json!({ "model": "command-r", "messages": messages });
    let ollama = json!({ "model": "llama3.2", "messages": messages });
    vec![
        Call::json("/v1/messages", &claude, ANTHROPIC),
        Call::json("/stream/v1/messages", &stream(claude.clone()), ANTHROPIC),
        Call::json("/thinking/v1/messages", &stream(thinking), ANTHROPIC),
        Call::json("/v1/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict", &native, ANTHROPIC),
        Call::json("/v1beta/models/gemini-2.5-flash:generateContent", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-2.5-flash:streamGenerateContent", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-embedding-001:embedContent", &embedded, &[("promptTokenCount", 1)]),
        Call::json("/model/amazon.nova-lite-v1%3A0/converse", &converse(), BEDROCK),
        Call::json("/model/amazon.nova-lite-v1%3A0/converse-stream", &converse(), BEDROCK),
        Call::json("/model/anthropic.claude-sonnet-4/invoke", &native, ANTHROPIC),
        Call::json("/model/anthropic.claude-sonnet-4/invoke-with-response-stream", &native, ANTHROPIC),
        Call::json("/model/meta.llama3-8b-instruct-v1%3A0/invoke", &llama, prompt_and_generation),
        Call::json("/model/meta.llama3/invoke-with-response-stream", &llama, prompt_and_generation),
        // The last that it tells are the model's tokens, those that are billed come before.
        Call::json("/v2/chat", &cohere, IN_AND_OUT),
        Call::json("/stream/v2/chat", &stream(cohere.clone()), IN_AND_OUT),
        Call::json("/api/chat", &ollama, OLLAMA),
        Call::json("/whole/api/chat", &with(ollama, json!({ "stream": false })), OLLAMA),
        Call::json("/api/generate", &json!({ "model": "llama3.2", "prompt": QUESTION }), OLLAMA),
        Call::json("/api/embed", &json!({ "model": "llama3.2", "input": QUESTION }), &[("prompt_eval_count", 1)]),
    ]
}

fn converse() -> Value {
    json!({ "messages": [{ "role": "user", "content": [{ "text": QUESTION }] }] })
}

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
            Call::json("/v1/messages/count_tokens", &json!({ "model": "claude-sonnet-4-5", "messages": messages }), &[]),
            "input_tokens",
        ),
        (Call::json("/v1beta/models/gemini-2.5-flash:countTokens", &contents, &[]), "totalTokens"),
        (Call::json("/model/amazon.nova-lite-v1%3A0/count-tokens", &json!({ "input": { "converse": converse() } }), &[]), "inputTokens"),
        (Call::json("/v1/responses/input_tokens", &json!({ "model": "gpt-4o", "input": QUESTION }), &[]), "input_tokens"),
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
        let request = signed.iter().fold(call.request(), |request, (name, value)| request.header(name, value));
        let mut response = bench.send(request.header("x-mock-encoding", "accepted")).await;
        assert_eq!((response.status(), response.header("content-encoding")), (200, Some("br")), "{}", call.path);
        response.body().await.unwrap();

        let received = bench.mock.received().pop().unwrap();
        assert_eq!((received.uri.to_string().as_str(), &received.body), (call.path, &call.body));
        let length = call.body.len().to_string();
        for (name, value) in signed.iter().chain(&[("content-length", &*length), ("content-type", "application/json")]) {
            let values: Vec<_> = received.headers.get_all(*name).iter().collect();
            assert_eq!(values, [value], "{name} of {}", call.path);
        }
        let plain = client::send(bench.mock.address(), call.request()).await.unwrap().body().await.unwrap();
        assert_eq!(bench.left(call.path).await, BUDGET - call.charged(&plain), "{}", call.path);
    }
}

/// The pieces of a stream of events or frames.
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

/// What a tenant has left whose client has hung up after three words of the answer to its call.
async fn left_after_three_words(call: &Call, word: &str) -> (u64, Vec<u8>) {
    let mock = Bench::start(TOKENS).await.mock;
    let mut whole = client::send(mock.address(), call.request()).await.unwrap();
    let content_type = whole.header("content-type").unwrap().to_owned();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
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
    let mut response = bench.send(call.request_by("/scripted")).await;
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        seen.extend_from_slice(&response.chunk().await.unwrap().unwrap().data);
    }
    assert!(seen == sent, "the client sees other bytes");
    response.abort();
    bench.wait_for_calls("client_abort", 1).await;
    (bench.left(call.path).await, sent)
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
    let call = Call::json("/model/amazon.nova-lite-v1%3A0/converse-stream", &converse(), BEDROCK);
    let (left, sent) = left_after_three_words(&call, "contentBlockDelta").await;
    assert!(!readable(&sent).contains("inputTokens"), "the input is only told at the end");
    assert_eq!(left, BUDGET - 13 - 3);
}

#[tokio::test]
async fn a_gemini_stream_that_its_upstream_cuts_is_charged_by_what_it_told_or_else_by_its_text() {
    let bench = Bench::start(TOKENS).await;
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": QUESTION }] }] });
    for (cuts, (path, no_usage, input)) in (1..).zip([
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "false", 6),
        ("/array/v1beta/models/gemini-2.5-flash:streamGenerateContent", "false", 6),
        ("/text/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "true", 6),
        ("/text/array/v1beta/models/gemini-2.5-flash:streamGenerateContent", "true", 6),
    ]) {
        let request = Call::json(path, &body, &[]).request().header("x-mock-no-usage", no_usage);
        let mut response = bench.send(request.header("x-mock-cut-after", "5")).await;
        assert!(response.body().await.is_err(), "{path} is cut");
        bench.wait_for_calls("upstream_reset", cuts).await;
        assert_eq!(bench.left(path).await, BUDGET - input - 5, "{path}");
    }
}
