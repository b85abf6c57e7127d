//! Every golden call on a real Envoy: the upstream answers with the golden bytes, and the charge
//! equals that of the native tests.
//!
//! In: the cases of `tests/payloads`. Out: nothing. Not here: reading a case.

#[path = "../payloads/cases.rs"]
mod cases;

use bytes::Bytes;
use cases::Case;
use serde_json::Value;
use tollgate::api::{Body, Dialect};
use tollgate_rig::client::Request;
use tollgate_rig::envoy::Filter;
use tollgate_rig::mock_llm::coding::Coding;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, with_detours};

/// Disables learning, so that each case stands alone.
const TOKENS: &str = "
counting: { calibrate: false }
tiers:
  all:
    limits:
    - { name: tokens, count: tokens, max: 1_000_000_000, window: 1d }
    - { name: tools, count: tool_calls, tools: \"*\", max: 1_000_000_000, window: 1d }
";

/// Returns the native charge of a case: tokens read and written.
fn charged(case: &Case) -> (u64, u64) {
    let charged = case.json("expected.json").unwrap()["charged"].clone();
    let sum = |classes: &[&str]| classes.iter().filter_map(|class| charged[class].as_u64()).sum();
    let input = sum(&["input", "cached_input", "cache_write", "cache_write_1h", "audio_input"]);
    (input, sum(&["output", "reasoning", "audio_output"]))
}

/// Returns the request of a case, sent through the detour to the scripted upstream.
fn request(case: &Case) -> Request {
    let of = |name: &str| case.head.0.iter().find(|(header, _)| header == name).unwrap().1.as_str();
    let request = Request::new(of(":method"), &format!("/golden{}", of(":path")));
    let headers = case.head.0.iter().filter(|(name, _)| !name.starts_with(':') && name != "content-length");
    let request = headers.fold(request, |request, (name, value)| request.header(name, value));
    if case.request.is_empty() { request } else { request.body(case.request.clone()) }
}

/// Returns the answer of a case in wire format.
fn answer(case: &Case, coding: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in case.answer_head.0.iter().filter(|(name, _)| name != "content-length") {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(coding) = coding {
        head += &format!("content-encoding: {coding}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Starts an Envoy in front of an upstream that answers the cases in order, each in a coding.
async fn start(cases: &[Case], coding: Option<Coding>) -> (Bench, ScriptedUpstream, Vec<Vec<u8>>) {
    let bodies: Vec<_> = cases.iter().map(|case| encoded(case, coding)).collect();
    let name = coding.map(Coding::name);
    let scripts = cases.iter().zip(&bodies);
    let scripts = scripts.map(|(case, body)| Script::new().read_request().write(answer(case, name, body)));
    let upstream = ScriptedUpstream::start(scripts).await;
    let detour = Detour { name: "golden", to: Some(upstream.address()), route: ", prefix_rewrite: /" };
    let bench = Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await;
    (bench, upstream, bodies)
}

/// Returns the answer of a case in a coding, flushed every hundred bytes like a stream.
fn encoded(case: &Case, coding: Option<Coding>) -> Vec<u8> {
    let Some(coding) = coding else { return case.answer.clone() };
    let pieces: Vec<Bytes> = case.answer.chunks(100).map(Bytes::copy_from_slice).collect();
    coding.encode(&pieces).concat()
}

/// Returns the tokens read and written from the access log's last line, and those counted before
/// the call.
async fn logged(bench: &Bench, number: usize) -> (Option<(u64, u64)>, Option<u64>) {
    let log = bench.envoy.wait_for_access_log(number + 1).await;
    let fact = |name: &str| log[number][name].as_str().map(|fact| fact.parse::<u64>().unwrap());
    let used = fact("tollgate.input_tokens.used").zip(fact("tollgate.output_tokens.used"));
    (used, fact("tollgate.input_tokens.counted"))
}

/// Returns the tokens counted before the call, if any.
fn counted(case: &Case) -> Option<u64> {
    // No model reads MCP messages.
    if case.format.dialect == Dialect::Mcp {
        return None;
    }
    let counted = case.json("expected.json").unwrap()["counted"].clone();
    Some(counted.as_object()?.values().filter_map(Value::as_u64).sum())
}

fn all_cases() -> Vec<Case> {
    // MCP calls are not LLM calls, and nothing is charged for them here.
    cases::formats().filter(|format| format.name != "mcp").flat_map(cases::of).collect()
}

#[tokio::test]
async fn every_golden_call_passes_unchanged_and_is_charged_as_it_is_natively() {
    let cases = all_cases();
    let (bench, upstream, _) = start(&cases, None).await;
    for (number, case) in cases.iter().enumerate() {
        let mut response = bench.send(request(case)).await;
        assert_eq!(response.status(), 200, "{}", case.name());
        let body = response.body().await.unwrap();
        let heard = upstream.heard()[number].requests[0].clone();
        if case.json("expected.json").unwrap()["usage_must_be_asked_for"] == true {
            assert!(body.len() <= case.answer.len(), "{}", case.name());
        } else {
            assert!(body == case.answer, "{}: the client sees other bytes", case.name());
            assert!(heard.ends_with(&case.request), "{}: the upstream sees other bytes", case.name());
        }
        let (used, before) = logged(&bench, number).await;
        assert_eq!(used, Some(charged(case)), "{}", case.name());
        if case.format.body != Body::Free {
            assert_eq!(before, counted(case), "{}", case.name());
        }
    }
}

async fn every_answer_is_charged_as_it_is_natively_in(coding: Coding) {
    let cases = all_cases();
    let (bench, _upstream, bodies) = start(&cases, Some(coding)).await;
    for (number, (case, body)) in cases.iter().zip(bodies).enumerate() {
        let mut response = bench.send(request(case)).await;
        assert!(response.body().await.unwrap() == body, "{}: the client sees other bytes", case.name());
        assert_eq!(logged(&bench, number).await.0, Some(charged(case)), "{}", case.name());
    }
}

#[tokio::test]
async fn no_usage_is_lost_to_gzip() {
    every_answer_is_charged_as_it_is_natively_in(Coding::Gzip).await;
}

#[tokio::test]
async fn no_usage_is_lost_to_deflate() {
    every_answer_is_charged_as_it_is_natively_in(Coding::Deflate).await;
}

#[tokio::test]
async fn no_usage_is_lost_to_brotli() {
    every_answer_is_charged_as_it_is_natively_in(Coding::Br).await;
}

#[tokio::test]
async fn no_usage_is_lost_to_zstd() {
    every_answer_is_charged_as_it_is_natively_in(Coding::Zstd).await;
}

#[tokio::test]
async fn compressed_requests_are_counted_as_plain_ones_and_pass_as_they_are() {
    let cases: Vec<_> = all_cases().into_iter().filter(|case| case.format.body == Body::Held).collect();
    let (bench, upstream, _) = start(&cases, None).await;
    for (number, case) in cases.iter().enumerate() {
        let coding = Coding::ALL[number % Coding::ALL.len()];
        let body = coding.encode(&[Bytes::copy_from_slice(&case.request)]).concat();
        let request = request(case).header("content-encoding", coding.name()).body(body.clone());
        bench.send(request).await.body().await.unwrap();
        assert!(upstream.heard()[number].requests[0].ends_with(&body), "{}: other bytes", case.name());
        assert_eq!(logged(&bench, number).await.1, counted(case), "{}", case.name());
    }
}
