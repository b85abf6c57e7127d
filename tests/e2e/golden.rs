//! Every golden call on a real Envoy: the upstream answers with the golden bytes, and the call is charged what it is charged natively.
//!
//! In: the cases that `tests/payloads` reads natively. Out: nothing. Not here: how a case is read.

#[path = "../payloads/cases.rs"]
mod cases;

use cases::Case;
use serde_json::Value;
use tollgate::api::{Body, FORMATS};
use tollgate_rig::client::Request;
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, with_detours};

const TOKENS: &str = "
tiers: { all: { limits: [ { name: tokens, count: tokens, max: 1_000_000_000, window: 1d } ] } }
";

/// The sums of what a case is charged natively: what the model read, and what it wrote.
fn charged(case: &Case) -> (u64, u64) {
    let charged = case.json("expected.json").unwrap()["charged"].clone();
    let sum = |classes: &[&str]| classes.iter().filter_map(|class| charged[class].as_u64()).sum();
    let input = sum(&["input", "cached_input", "cache_write", "cache_write_1h", "audio_input"]);
    (input, sum(&["output", "reasoning", "audio_output"]))
}

/// The request of a case, by way of the detour to the scripted upstream.
fn request(case: &Case) -> Request {
    let of = |name: &str| case.head.0.iter().find(|(header, _)| header == name).unwrap().1.as_str();
    let request = Request::new(of(":method"), &format!("/golden{}", of(":path")));
    let headers = case.head.0.iter().filter(|(name, _)| !name.starts_with(':') && name != "content-length");
    let request = headers.fold(request, |request, (name, value)| request.header(name, value));
    if case.request.is_empty() { request } else { request.body(case.request.clone()) }
}

/// The answer of a case as it goes over the wire, in this coding.
fn answer(case: &Case, coding: Option<(&str, &[u8])>) -> Vec<u8> {
    let body = coding.map_or(&*case.answer, |(_, body)| body);
    let mut head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in case.answer_head.0.iter().filter(|(name, _)| name != "content-length") {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some((coding, _)) = coding {
        head += &format!("content-encoding: {coding}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

#[tokio::test]
async fn every_golden_call_passes_unchanged_and_is_charged_as_it_is_natively() {
    let cases: Vec<Case> = FORMATS.into_iter().flat_map(cases::of).collect();
    let script = |case: &Case| Script::new().read_request().write(answer(case, None));
    let upstream = ScriptedUpstream::start(cases.iter().map(script)).await;
    let detour = Detour { name: "golden", to: Some(upstream.address()), route: ", prefix_rewrite: /" };
    let bench = Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await;
    for (number, case) in cases.iter().enumerate() {
        let mut response = bench.send(request(case)).await;
        assert_eq!(response.status(), 200, "{}", case.name());
        let body = response.body().await.unwrap();
        let expected = case.json("expected.json").unwrap();
        let heard = upstream.heard()[number].requests[0].clone();
        if expected["usage_must_be_asked_for"] == true {
            assert!(case.answer.len() >= body.len(), "{}", case.name());
        } else {
            assert!(case.answer == body, "{}: the client sees other bytes", case.name());
            assert!(heard.ends_with(&case.request), "{}: the upstream sees other bytes", case.name());
        }
        let log = bench.envoy.wait_for_access_log(number + 1).await;
        let fact = |name: &str| log[number][name].as_str().map(|fact| fact.parse::<u64>().unwrap());
        let used = fact("tollgate.input_tokens.used").zip(fact("tollgate.output_tokens.used"));
        assert_eq!(used, Some(charged(case)), "{}", case.name());
        if case.format.body != Body::Free {
            let counted: u64 =
                expected["counted"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
            assert_eq!(fact("tollgate.input_tokens.counted"), Some(counted), "{}", case.name());
        }
    }
}
