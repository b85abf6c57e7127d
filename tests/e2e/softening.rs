//! Softened requests: a cheaper model and less output, in the bytes that the upstream receives, for
//! every way to send a request.
//!
//! In: requests of known bytes. Out: nothing. Not here: the edits of each API (`src/api`), hidden
//! tools (`tools`), and official clients (`sdks`).

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_rig::client::{Client, Request, Response};
use tollgate_rig::envoy::Filter;
use tollgate_rig::mock_llm::{MockLlm, Received};

use crate::bench::{Bench, Detour, chat_with, with_detours};

/// Budgets that do not refill during a test, except for callers that wait.
const TIERS: &str = r#"
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: soft } }
counting: { output_reserve: { start: 50, learn: false, at_most: 1 } }
tiers:
  soft:
    soften:
    - { at: 0.5, model: { gpt-4o: gpt-4o-mini, gemini-2.5-pro: gemini-2.5-flash, "big*": "small-v1:0" } }
    - { at: 0.8, model: { gpt-4o: gpt-4o-mini, gemini-2.5-pro: gemini-2.5-flash }, max_output_tokens: 20 }
    limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d } ]
  clamped:
    clamp_output: true
    limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d } ]
  patient:
    soften: [ { at: 0.5, model: { gpt-4o: gpt-4o-mini } } ]
    wait: { max_wait: 20s }
    limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 10s } ]
"#;

/// A body with everything that must stay unchanged.
const BODY: &str = "{ \"messages\" : [{\"role\":\"user\",\"content\":\"\\\"model\\\":\\\"gpt-4o\\\" h\\u00e9 é\"}],\r\n\t\"model\" :\"gpt-4o\", \"top_p\":0.50,\"max_tokens\": 100,\"n\":1 }\n";

/// Returns the same body for a cheaper model.
fn cheaper() -> String {
    BODY.replace(" :\"gpt-4o\"", " :\"gpt-4o-mini\"")
}

fn post(path: &str, tenant: &str) -> Request {
    Request::post(path).header("content-type", "application/json").header("x-tenant-id", tenant)
}

fn post_chat(tenant: &str) -> Request {
    post("/v1/chat/completions", tenant)
}

/// A way to send a request.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http1,
    /// Without a `content-length`, in parts.
    Chunked,
    Http2,
    /// The same over HTTP/2.
    Http2InParts,
}

const WAYS: [Way; 4] = [Way::Http1, Way::Chunked, Way::Http2, Way::Http2InParts];

impl Bench {
    /// Spends `tokens` tokens of a tenant in one call.
    pub(crate) async fn spend(&self, tier: &str, tenant: &str, tokens: u64) {
        let usage = json!({ "prompt_tokens": 0, "completion_tokens": tokens }).to_string();
        let request = chat_with(tenant, json!({ "max_tokens": 0 })).header("x-tier", tier);
        let (response, body) = self.json(request.header("x-mock-usage", usage)).await;
        assert_eq!(response.status(), 200, "{body}");
    }

    /// Sends a body, and reads the whole answer as JSON.
    async fn post(&self, way: Way, request: Request, body: &str) -> (Response, Value) {
        let mut response = self.post_by(way, request, body).await;
        let answer = response.json().await.unwrap();
        (response, answer)
    }

    async fn post_by(&self, way: Way, request: Request, body: &str) -> Response {
        let address = self.envoy.address();
        let mut client = match way {
            Way::Http1 | Way::Chunked => Client::http1(address).await.unwrap(),
            Way::Http2 | Way::Http2InParts => Client::http2(address).await.unwrap(),
        };
        match way {
            Way::Http1 | Way::Http2 => client.send(request.body(body.to_owned())).await.unwrap(),
            Way::Chunked | Way::Http2InParts => {
                let (request, mut sender) = request.body_in_parts();
                let (first, rest) = body.as_bytes().split_at(body.len() / 2);
                let parts = [first.to_vec(), rest.to_vec()];
                let sending = async move {
                    for part in parts {
                        sender.send(part).await;
                    }
                };
                tokio::join!(client.send(request), sending).0.unwrap()
            }
        }
    }

    /// Returns the last request that the upstream received.
    fn last_received(&self) -> Received {
        self.mock.received().pop().unwrap()
    }
}

/// Returns the text of a request's body, after checking it against its `content-length`.
fn body_of(received: &Received) -> String {
    if let Some(length) = received.header("content-length") {
        assert_eq!(length, received.body.len().to_string());
    }
    String::from_utf8(received.body.to_vec()).unwrap()
}

#[tokio::test]
async fn the_upstream_gets_a_cheaper_model_and_a_lower_bound_and_all_else_byte_for_byte() {
    let bench = Bench::start(TIERS).await;
    let lower = cheaper().replace(": 100", ": 20");
    for (spent, expected, told) in [
        (499, BODY.to_owned(), None),
        (500, cheaper(), Some("model=\"gpt-4o-mini\"")),
        (800, lower, Some("model=\"gpt-4o-mini\", max_output_tokens=20")),
    ] {
        for way in WAYS {
            let tenant = format!("{way:?}-{spent}");
            bench.spend("soft", &tenant, spent).await;
            let (response, answer) = bench.post(way, post_chat(&tenant), BODY).await;
            assert_eq!(response.status(), 200, "{answer}");
            assert_eq!(response.header("x-tollgate-softened"), told, "{tenant}");
            let received = bench.last_received();
            assert_eq!(body_of(&received), expected, "{tenant}");
            let has_length = matches!(way, Way::Http1 | Way::Http2);
            assert_eq!(received.header("content-length").is_some(), has_length, "{tenant}");
            assert_eq!(answer["model"], received.json()["model"], "{tenant}");
            let used = answer["usage"]["total_tokens"].as_u64().unwrap();
            assert_eq!(bench.left(&tenant).await, 1000 - spent - used, "{tenant}");
        }
    }
    // Reading the rest of a budget is a call too, and by then each tenant has used half.
    bench.wait_for_count("tollgate_softened_total", &[("kind", "model")], 8 + 12).await;
    bench.wait_for_count("tollgate_softened_total", &[("kind", "max_output_tokens")], 4).await;
    let log = bench.envoy.wait_for_access_log(3 * 3 * WAYS.len()).await;
    for (fact, count) in [("model=\"gpt-4o-mini\"", 16), ("model=\"gpt-4o-mini\", max_output_tokens=20", 4)] {
        assert_eq!(log.iter().filter(|line| line["tollgate.softened"] == fact).count(), count, "{fact}");
    }
}

#[tokio::test]
async fn a_softened_stream_is_asked_for_its_usage_too_and_charged_by_it() {
    let bench = Bench::start(TIERS).await;
    let body = BODY.replace("\"n\":1", "\"stream\":true");
    for way in WAYS {
        let tenant = format!("{way:?}");
        bench.spend("soft", &tenant, 800).await;
        let request =
            post_chat(&tenant).header("x-mock-usage", r#"{"prompt_tokens":30,"completion_tokens":7}"#);
        let mut response = bench.post_by(way, request, &body).await;
        let told = "model=\"gpt-4o-mini\", max_output_tokens=20";
        assert_eq!(response.header("x-tollgate-softened"), Some(told), "{tenant}");
        let answer = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
        assert!(
            answer.contains("\"model\":\"gpt-4o-mini\"") && answer.ends_with("data: [DONE]\n\n"),
            "{answer}"
        );
        assert!(!answer.contains("prompt_tokens"), "the client has not asked for it: {answer}");
        let received = bench.last_received();
        body_of(&received);
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        expected["model"] = "gpt-4o-mini".into();
        expected["max_tokens"] = 20.into();
        expected["stream_options"] = json!({ "include_usage": true });
        assert_eq!(received.json(), expected, "{tenant}");
        assert_eq!(bench.left(&tenant).await, 1000 - 800 - 37, "{tenant}");
    }
}

#[tokio::test]
async fn a_model_in_the_path_is_replaced_there_and_all_else_of_the_path_stays() {
    let bench = Bench::start(TIERS).await;
    let contents = r#"{"contents": [{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    let bounded = contents.replacen('{', r#"{"generationConfig":{"maxOutputTokens":20},"#, 1);
    let chat = r#"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":9}"#;
    let converse =
        r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":9}}"#;
    for (number, (spent, path, body, expected_path, expected_body)) in [
        (
            500,
            "/v1beta/models/gemini-2.5-pro:generateContent?key=a%2Fb",
            contents,
            "/v1beta/models/gemini-2.5-flash:generateContent?key=a%2Fb",
            contents,
        ),
        (
            800,
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
            contents,
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            &bounded,
        ),
        (
            500,
            "/google//v1/projects/p%20q/models/gemini-2.5-pro%3AgenerateContent",
            contents,
            "/google//v1/projects/p%20q/models/gemini-2.5-flash%3AgenerateContent",
            contents,
        ),
        (
            500,
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            chat,
            "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21",
            chat,
        ),
        (500, "/model/big-v2%3A0/converse", converse, "/model/small-v1%3A0/converse", converse),
    ]
    .into_iter()
    .enumerate()
    {
        for way in [Way::Http1, Way::Http2InParts] {
            let tenant = format!("{number}-{way:?}");
            bench.spend("soft", &tenant, spent).await;
            let mut response = bench.post_by(way, post(path, &tenant), body).await;
            response.body().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let received = bench.last_received();
            assert_eq!(received.uri.path_and_query().unwrap(), expected_path);
            assert_eq!(body_of(&received), expected_body, "{path}");
            assert!(response.header("x-tollgate-softened").unwrap().starts_with("model=\""), "{path}");
        }
    }
}

#[tokio::test]
async fn a_cheaper_model_in_the_path_is_routed_by_the_new_path() {
    let (other, regional) = (MockLlm::start().await, MockLlm::start().await);
    let flash = Detour { name: "v1beta/models/gemini-2.5-flash", to: Some(other.address()), route: "" };
    let eu = Detour { name: "eu/", to: Some(regional.address()), route: ", prefix_rewrite: /" };
    let change = |bootstrap| with_detours(bootstrap, &[flash, eu]);
    let bench = Bench::with(Filter::yaml(TIERS), change).await;
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    let call = |prefix: &str, tenant: &str| {
        post(&format!("{prefix}/v1beta/models/gemini-2.5-pro:generateContent"), tenant)
    };
    let path = |mock: &MockLlm| mock.received().pop().map(|received| received.uri.path().to_owned());

    let (_, answer) = bench.post(Way::Http1, call("", "ada"), body).await;
    assert_eq!(answer["modelVersion"], "gemini-2.5-pro", "{answer}");
    assert_eq!(path(&bench.mock).as_deref(), Some("/v1beta/models/gemini-2.5-pro:generateContent"));

    bench.spend("soft", "ada", 600).await;
    let (_, answer) = bench.post(Way::Http1, call("", "ada"), body).await;
    assert_eq!(answer["modelVersion"], "gemini-2.5-flash", "{answer}");
    assert_eq!(path(&other).as_deref(), Some("/v1beta/models/gemini-2.5-flash:generateContent"));

    let (_, answer) = bench.post(Way::Http1, call("/eu", "ada"), body).await;
    assert_eq!(answer["modelVersion"], "gemini-2.5-flash", "{answer}");
    assert_eq!(path(&regional).as_deref(), Some("/v1beta/models/gemini-2.5-flash:generateContent"));
}

#[tokio::test]
async fn output_is_bounded_to_what_is_left_and_the_budget_ends_at_nothing() {
    let bench = Bench::start(TIERS).await;
    let clamped =
        |tenant: &str| post_chat(tenant).header("x-tier", "clamped").header("x-mock-output-tokens", "500");
    for way in WAYS {
        let tenant = format!("{way:?}");
        bench.spend("clamped", &tenant, 930).await;
        let (response, answer) = bench.post(way, clamped(&tenant), BODY).await;
        assert_eq!(response.status(), 200, "{answer}");
        let bound = 70 - answer["usage"]["prompt_tokens"].as_u64().unwrap();
        let expected = BODY.replace(": 100", &format!(": {bound}"));
        assert_eq!(body_of(&bench.last_received()), expected, "{tenant}");
        let told = format!("max_output_tokens={bound}");
        assert_eq!(response.header("x-tollgate-softened"), Some(&*told));
        assert_eq!(
            (&answer["choices"][0]["finish_reason"], &answer["usage"]["completion_tokens"]),
            (&json!("length"), &json!(bound))
        );
        let (refused, answer) = bench.post(way, clamped(&tenant), BODY).await;
        assert_eq!(refused.status(), 429, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("Available 0,"), "{message}");
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "clamp_output")], 4).await;
}

#[tokio::test]
async fn clamped_calls_at_once_never_use_more_than_there_is() {
    let bench = Bench::start(TIERS).await;
    bench.spend("clamped", "ada", 500).await;
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let address = bench.envoy.address();
        let request = post_chat("ada").header("x-tier", "clamped").header("x-mock-output-tokens", "500");
        calls.spawn(async move {
            let mut client = Client::http1(address).await.unwrap();
            let mut response = client.send(request.body(BODY)).await.unwrap();
            (response.status(), response.json().await.unwrap())
        });
    }
    let mut used = 0;
    for (status, answer) in calls.join_all().await {
        assert!(matches!(status, 200 | 429), "{answer}");
        used += answer["usage"]["total_tokens"].as_u64().unwrap_or(0);
    }
    assert!((1..=500).contains(&used), "{used}");
    // Anything left is too little for an answer.
    assert!(500 - used < 60, "{used}");
}

#[tokio::test]
async fn a_call_that_thinks_more_than_is_left_is_refused_and_one_that_thinks_less_is_clamped() {
    let bench = Bench::start(&TIERS.replace("max: 1000", "max: 10000")).await;
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"Hi"}]}"#;
    let request = |tenant| post("/v1/messages", tenant).header("x-tier", "clamped");
    for (tenant, spent, status) in [("little", 9_000, 429), ("enough", 8_000, 200)] {
        bench.spend("clamped", tenant, spent).await;
        let (response, answer) = bench.post(Way::Http1, request(tenant), body).await;
        assert_eq!(response.status(), status, "{answer}");
    }
    let received = bench.last_received().json();
    let bound = received["max_tokens"].as_u64().unwrap();
    assert!((1900..2000).contains(&bound), "{received}");
    assert_eq!(received["thinking"]["budget_tokens"], 1024);
}

#[tokio::test]
async fn a_call_that_waits_goes_on_softened() {
    let bench = Bench::start(TIERS).await;
    for way in WAYS {
        let tenant = format!("{way:?}");
        bench.spend("patient", &tenant, 1_050).await;
        let (response, answer) = bench.post(way, post_chat(&tenant).header("x-tier", "patient"), BODY).await;
        assert_eq!(response.status(), 200, "{answer}");
        assert_eq!(response.header("x-tollgate-softened"), Some("model=\"gpt-4o-mini\""));
        assert_eq!(body_of(&bench.last_received()), cheaper(), "{tenant}");
    }
    bench.wait_for_count("tollgate_waits_total", &[("kind", "passed")], 4).await;
}

#[tokio::test]
async fn a_signed_call_is_left_alone_and_refused_where_others_would_be_clamped() {
    let bench = Bench::start(TIERS).await;
    let signed = |tier: &str, tenant: &str| {
        let request = post("/model/big-v2%3A0/converse", tenant).header("x-tier", tier);
        request.header("authorization", "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=b")
    };
    let body =
        r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":200}}"#;
    bench.spend("soft", "ada", 600).await;
    let (response, answer) = bench.post(Way::Http1, signed("soft", "ada"), body).await;
    assert_eq!((response.status(), response.header("x-tollgate-softened")), (200, None), "{answer}");
    let received = bench.last_received();
    assert_eq!((received.uri.path(), &*body_of(&received)), ("/model/big-v2%3A0/converse", body));
    bench.spend("clamped", "bob", 900).await;
    let (refused, answer) = bench.post(Way::Http1, signed("clamped", "bob"), body).await;
    assert_eq!(refused.status(), 429, "{answer}");
}

#[tokio::test]
async fn without_holding_what_would_change_a_length_or_a_path_is_left_alone() {
    let bench = Bench::with(Filter::yaml(TIERS).without_holding(), |bootstrap| bootstrap).await;
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    let path = "/v1beta/models/gemini-2.5-pro:generateContent";
    for way in WAYS {
        let tenant = &format!("{way:?}");
        bench.spend("soft", tenant, 600).await;
        let has_length = matches!(way, Way::Http1 | Way::Http2);
        let (response, answer) = bench.post(way, post_chat(tenant), BODY).await;
        assert_eq!(response.status(), 200, "{answer}");
        let expected = if has_length { BODY.to_owned() } else { cheaper() };
        assert_eq!(body_of(&bench.last_received()), expected, "{way:?}");
        assert_eq!(response.header("x-tollgate-softened").is_some(), !has_length, "{way:?}");

        let (response, answer) = bench.post(way, post(path, tenant), gemini).await;
        assert_eq!((response.status(), response.header("x-tollgate-softened")), (200, None), "{answer}");
        let received = bench.last_received();
        assert_eq!((received.uri.path(), &*body_of(&received)), (path, gemini), "{way:?}");
    }
}
