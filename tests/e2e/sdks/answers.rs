//! Calls within budget: the clients get their answers whole, even if the filter has changed the
//! request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::Received;

use super::clients::{
    AI_CHAT, AI_MESSAGES, AI_RESPONSES, Api, CHAT, CONVERSE, EMBEDDINGS, INVOKE, MESSAGES, NODE_CHAT,
    NODE_MESSAGES, NODE_RESPONSES, RESPONSES,
};
use super::{BUDGET, TIERS};
use crate::bench::Bench;

impl Bench {
    /// Returns the mock's direct answer to a request that came through Envoy.
    async fn again(&self, received: &Received) -> Value {
        let request = Request::post(received.uri.path()).body(received.body.clone());
        let request =
            request.header("x-mock-output-tokens", received.header("x-mock-output-tokens").unwrap());
        client::send(self.mock.address(), request).await.unwrap().json().await.unwrap()
    }
}

/// Calls once whole and once streamed, each as a tenant that has spent `spent` tokens. Returns the
/// client's view of both.
async fn both(bench: &Bench, api: Api, tier: &str, spent: u64) -> [Value; 2] {
    let seen = |scenario: &'static str| async move {
        let tenant = format!("{}-{scenario}", api.name);
        bench.spend(tier, &tenant, spent).await;
        let headers = [("x-tenant-id", &*tenant), ("x-tier", tier), ("x-mock-output-tokens", "50")];
        api.run(scenario, bench.envoy.address(), &headers).await
    };
    let seen = tokio::join!(seen("ask"), seen("stream"));
    for seen in [&seen.0, &seen.1] {
        assert_eq!(seen["succeeded"], true, "{seen}");
        assert!(!seen["text"].as_str().unwrap().is_empty(), "{seen}");
    }
    seen.into()
}

#[tokio::test]
async fn a_softened_call_is_one_as_any_other_by_the_model_that_answers() {
    let bench = Bench::start(TIERS).await;
    for (api, model, end) in [
        (CHAT, "gpt-4o-mini", "stop"),
        (RESPONSES, "gpt-4o-mini", "completed"),
        (MESSAGES, "claude-haiku-4-5", "end_turn"),
    ] {
        for seen in both(&bench, api, "soft", BUDGET / 2).await {
            assert_eq!((&seen["model"], &seen["reason"]), (&json!(model), &json!(end)), "{seen}");
        }
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "model")], 6).await;
}

#[tokio::test]
async fn a_clamped_call_ends_for_its_length() {
    let bench = Bench::start(TIERS).await;
    for (api, end) in [(CHAT, "length"), (RESPONSES, "incomplete"), (MESSAGES, "max_tokens")] {
        for seen in both(&bench, api, "clamped", BUDGET - 45).await {
            assert_eq!(seen["reason"], end, "{seen}");
        }
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "clamp_output")], 6).await;
}

#[tokio::test]
async fn a_call_whose_tool_is_taken_out_is_answered() {
    let bench = Bench::start(TIERS).await;
    let send = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_email"}}"#;
    for api in [CHAT, RESPONSES, MESSAGES] {
        let headers = [("x-tenant-id", api.name), ("x-tier", "mail")];
        let request =
            headers.iter().fold(Request::post("/mcp"), |request, (name, value)| request.header(name, value));
        bench.json(request.body(send)).await;
        let seen = api.run_with("ask", bench.envoy.address(), &headers, &["send_email", "look"]).await;
        assert_eq!(seen["succeeded"], true, "{seen}");
        let received = bench.mock.received().pop().unwrap();
        let tools = received.json()["tools"].as_array().unwrap().clone();
        assert_eq!(tools.len(), 1, "{tools:?}");
        assert!(tools[0].to_string().contains("\"look\""), "{tools:?}");
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "hide_tool")], 3).await;
}

/// Returns whether `part` says nothing that `whole` does not. Clients omit members that they do not
/// know.
fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|expected| is_part_of(value, expected))),
        _ => part == whole,
    }
}

/// Calls once whole and, if the API supports it, once streamed.
async fn answers(bench: &Bench, api: Api) {
    let is_streamed = api.name != EMBEDDINGS.name;
    let scenario = |scenario, tenant: String| async move {
        let headers = [("x-tenant-id", &*tenant), ("x-mock-output-tokens", "30")];
        api.run(scenario, bench.envoy.address(), &headers).await
    };
    let (ask, stream) = (format!("{}-ask", api.name), format!("{}-stream", api.name));
    let (asked, streamed) = tokio::join!(scenario("ask", ask.clone()), async {
        if is_streamed { Some(scenario("stream", stream.clone()).await) } else { None }
    });

    assert_eq!(asked["succeeded"], true, "{asked}");
    let received = bench.mock.received();
    let by = |tenant: &str| received.iter().find(|call| call.header("x-tenant-id") == Some(tenant)).unwrap();
    let answer = bench.again(by(&ask)).await;
    assert!(is_part_of(&asked["usage"], &answer["usage"]), "{} {asked} {answer}", api.name);
    let used = |usage: &Value| api.charged.iter().map(|class| usage[class].as_u64().unwrap()).sum::<u64>();
    assert_eq!(used(&asked["usage"]), used(&answer["usage"]), "{}", api.name);
    let used = used(&answer["usage"]);
    assert!(used > 0, "{answer}");
    assert_eq!(bench.left(&ask).await, BUDGET - used, "{}", api.name);

    let Some(streamed) = streamed else {
        // This client requests numbers as base64, with four bytes per number.
        let vector = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
        assert_eq!(asked["dimensions"], json!(vector.len() / 4));
        return;
    };
    let text = [
        "/choices/0/message/content",
        "/output/0/content/0/text",
        "/content/0/text",
        "/output/message/content/0/text",
    ];
    let text = text.iter().find_map(|text| answer.pointer(text)).unwrap();
    assert_eq!(&asked["text"], text, "{}", api.name);
    assert_eq!(streamed["succeeded"], true, "{streamed}");
    assert_eq!(&streamed["text"], text, "{}", api.name);
    assert_eq!(streamed["pieces"].as_array().unwrap().len(), 30, "{streamed}");
    assert_eq!(streamed["usage_seen"], api.shows_usage, "{streamed}");
    for class in api.charged.iter().filter(|_| api.shows_usage) {
        assert_eq!(streamed["usage"][class], answer["usage"][class], "{streamed}");
    }
    assert_eq!(bench.left(&stream).await, BUDGET - used, "{} streamed", api.name);
}

#[tokio::test]
async fn openais_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(answers(&bench, CHAT), answers(&bench, RESPONSES), answers(&bench, EMBEDDINGS));
}

#[tokio::test]
async fn anthropics_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    answers(&bench, MESSAGES).await;
}

#[tokio::test]
async fn the_node_clients_get_their_answers() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(
        answers(&bench, NODE_CHAT),
        answers(&bench, NODE_RESPONSES),
        answers(&bench, NODE_MESSAGES),
        answers(&bench, AI_CHAT),
        answers(&bench, AI_RESPONSES),
        answers(&bench, AI_MESSAGES)
    );
}

#[tokio::test]
async fn amazons_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(answers(&bench, CONVERSE), answers(&bench, INVOKE));
}
