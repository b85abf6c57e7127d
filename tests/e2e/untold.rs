//! Answers without the usual usage: llama.cpp's own counts, and answers for which the filter
//! charges only the text.
//!
//! In: calls of llama.cpp's completions, to the mock and to a scripted upstream. Out: nothing. Not
//! here: the text fields of each format (the golden payloads), and broken answers (`bad_answers`).

use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, with_detours};
use crate::calls::QUESTION;

/// A small budget over a long window, so that no tokens refill during a test.
const BUDGET: u64 = 10_000;

/// Counts every model as the mock does.
const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
counting: { calibrate: false, models: [ { match: '*', scale: 1 } ] }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] } }
";

/// Returns a call of llama.cpp's own API.
fn native(path: &str, tenant: &str, members: &Value) -> Request {
    let mut body = json!({ "prompt": QUESTION });
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    Request::post(path).header("x-tenant-id", tenant).json(&body)
}

#[tokio::test]
async fn llama_cpp_is_charged_what_its_server_says_and_otherwise_its_text() {
    let bench = Bench::start(TOKENS).await;
    // The question is six tokens long; settings that an answer repeats do not count as output.
    for path in ["/completion", "/completions", "/llama/completions"] {
        for (stream, tokens) in [(false, 7), (true, 7), (false, 120), (true, 120)] {
            for no_usage in ["false", "true"] {
                let tenant = format!("{path} {stream} {tokens} {no_usage}");
                let members = json!({ "n_predict": tokens, "stream": stream });
                let request = native(path, &tenant, &members).header("x-mock-output-tokens", "200");
                let mut response = bench.send(request.header("x-mock-no-usage", no_usage)).await;
                assert_eq!(response.status(), 200, "{tenant}");
                response.body().await.unwrap();
                assert_eq!(bench.left(&tenant).await, BUDGET - 6 - tokens, "{tenant}");
            }
        }
    }
}

#[tokio::test]
async fn each_prompt_of_llama_cpp_is_charged_and_no_choice_of_members_hides_the_counts() {
    let bench = Bench::start(TOKENS).await;
    for stream in [false, true] {
        let tenant = format!("several {stream}");
        let members = json!({ "prompt": [QUESTION, "Why?"], "n_predict": 5, "stream": stream });
        bench.send(native("/completion", &tenant, &members)).await.body().await.unwrap();
        assert_eq!(bench.left(&tenant).await, BUDGET - (6 + 2) - 2 * 5, "{tenant}");
    }
    let members = json!({ "n_predict": 5, "response_fields": ["stop_type"] });
    let (response, body) = bench.json(native("/completion", "hidden", &members)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(body, json!({ "tokens_evaluated": 6, "tokens_predicted": 5, "stop_type": "limit" }));
    assert_eq!(bench.left("hidden").await, BUDGET - 6 - 5);
}

#[tokio::test]
async fn an_answer_in_no_known_shape_is_charged_by_its_text_or_else_the_reservation() {
    let ids = format!(r#"{{"ids":[{}]}}"#, ["123456"; 5_000].join(","));
    let answers =
        [(r#"{"result":{"response":"The answer to your question"},"success":true}"#, 5), (&*ids, 50)];
    let scripts = answers.map(|(body, _)| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        Script::new().read_request().write(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    });
    let upstream = ScriptedUpstream::start(scripts).await;
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let bench = Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await;
    for (number, (body, charged)) in answers.into_iter().enumerate() {
        let tenant = number.to_string();
        let request = native("/scripted/completion", &tenant, &json!({ "n_predict": 50 }));
        assert_eq!(bench.send(request).await.body().await.unwrap(), body.as_bytes());
        assert_eq!(bench.left(&tenant).await, BUDGET - 6 - charged, "{body:.40}");
    }
    let metrics = bench.envoy.metrics().await;
    let missing = |kind| metrics.sum("tollgate_usage_missing_total", &[("kind", kind)]);
    assert_eq!((missing("absent"), missing("unrecognised")), (1.0, 1.0));
}
