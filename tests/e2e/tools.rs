//! Limits on tools: calls counted from models' answers and from MCP, exhausted tools hidden from
//! LLM calls, MCP calls refused.
//!
//! In: LLM calls that offer tools, and JSON-RPC. Out: nothing. Not here: the bytes removed from
//! requests (`src/api`), and calls within budget (`mcp`).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::Filter;
use tollgate_rig::mock_llm::coding::Coding;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, with_detours};
use crate::mcp::called;
use crate::probe::{STREAM_END, STREAM_HEAD, chunk};

const LIMITS: &str = "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: hiding } }
tiers:
  hiding:
    limits:
    - { name: mail, count: tool_calls, tools: [\"send_*\"], per: tenant, max: 2, window: 30d }
    - { name: tpm, count: tokens, per: tenant, max: 10_000_000, window: 30d }
  refusing: { extends: hiding, limits: [ { name: mail, on_exhausted: refuse } ] }
  ten: { extends: hiding, limits: [ { name: mail, max: 10 } ] }
";

/// An API whose mock calls the tool that a request forces.
struct Api {
    path: &'static str,
    /// The body of a request.
    body: &'static str,
    /// The parts of the body that go with the tool, each with its replacement.
    gone: [[&'static str; 2]; 2],
}

const MESSAGES: Api = Api {
    path: "/v1/messages",
    body: r#"{ "model":"claude-sonnet-4-5", "max_tokens":50, "tools" : [ {"name":"send_email","input_schema":{"type":"object"}} , {"name":"look\u002dup","input_schema":{"type":"object"}} ],
 "tool_choice": {"type":"tool", "name":"send_email"}, "temperature": 0.50, "messages":[{"role":"user","content":"Where does the \u0022water\u0022 go?"}] }"#,
    gone: [
        [r#"{"name":"send_email","input_schema":{"type":"object"}} , "#, ""],
        [r#"{"type":"tool", "name":"send_email"}"#, r#"{"type":"auto"}"#],
    ],
};

const RESPONSES: Api = Api {
    path: "/v1/responses",
    body: r#"{ "model":"gpt-4o", "max_output_tokens":50, "tools" : [ {"type":"function","name":"look\u002dup","parameters":{}} , {"type":"function","name":"send_email","parameters":{}} ],
 "tool_choice": {"type":"function","name":"send_email"}, "temperature": 0.50, "input":"Where does the \u0022water\u0022 go?" }"#,
    gone: [
        [r#" , {"type":"function","name":"send_email","parameters":{}}"#, ""],
        [r#"{"type":"function","name":"send_email"}"#, r#""auto""#],
    ],
};

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"stream":true,"tools":[{"type":"function","function":{"name":"send_email"}},{"type":"function","function":{"name":"look"}}]}"#;

impl Api {
    fn body(&self, is_streamed: bool) -> String {
        if is_streamed { self.body.replacen('{', "{\"stream\":true,", 1) } else { self.body.to_owned() }
    }
}

fn post(path: &str, tier: &str, tenant: &str) -> Request {
    let request = Request::post(path).header("content-type", "application/json");
    request
        .header("accept", "application/json, text/event-stream")
        .header("x-tier", tier)
        .header("x-tenant-id", tenant)
}

/// Returns an MCP call of a tool.
fn rpc(id: &Value, tool: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": {} } })
}

impl Bench {
    /// Sends two e-mails as a tenant.
    async fn send_two(&self, tier: &str, tenant: &str) {
        for number in 0..2 {
            let (response, body) =
                self.json(post("/mcp", tier, tenant).json(&rpc(&number.into(), "send_email"))).await;
            assert_eq!((response.status(), &body["id"]), (200, &json!(number)), "{body}");
        }
    }
}

#[tokio::test]
async fn what_a_model_calls_is_counted_and_the_spent_tool_taken_out_of_the_next_call() {
    let bench = Bench::start(LIMITS).await;
    let mut rounds = 0;
    for api in [MESSAGES, RESPONSES] {
        for is_streamed in [false, true] {
            let (body, tenant) = (api.body(is_streamed), format!("{}-{is_streamed}", api.path));
            let expected =
                api.gone.iter().fold(body.clone(), |text, [gone, instead]| text.replace(gone, instead));
            for (sent, told) in [(&body, None), (&body, None), (&expected, Some("hidden_tools=1"))] {
                let request = post(api.path, "hiding", &tenant).body(body.clone());
                let mut response = bench.send(request).await;
                let answer = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
                assert_eq!(response.status(), 200, "{answer}");
                assert_eq!(response.header("x-tollgate-softened"), told, "{tenant}");
                assert_eq!(answer.contains("send_email"), told.is_none(), "{answer}");
                assert_eq!(bench.mock.received().pop().unwrap().body, sent, "{tenant}");
            }
            rounds += 1;
        }
    }
    bench.wait_for_count("tollgate_tool_calls_total", &[], 2 * rounds).await;
    bench.wait_for_count("tollgate_softened_total", &[("kind", "hide_tool")], rounds).await;
    let log = bench.envoy.wait_for_access_log(3 * 4).await;
    assert_eq!(log.iter().filter(|line| line["tollgate.softened"] == "hidden_tools=1").count(), 4);
}

#[tokio::test]
async fn a_call_that_a_stream_spreads_over_many_chunks_is_one() {
    let delta = |delta: Value| {
        chunk(&format!(
            "data: {}\n\n",
            json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [delta] } }] })
        ))
    };
    let stream: String = [
        delta(json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "send_email", "arguments": "" } })),
        delta(json!({ "index": 0, "function": { "arguments": "{\"to\":" } })),
        delta(json!({ "index": 1, "id": "b", "type": "function", "function": { "name": "send_sms", "arguments": "" } })),
        delta(json!({ "index": 0, "function": { "arguments": "\"x\"}" } })),
        chunk("data: [DONE]\n\n"),
    ]
    .concat();
    let script = Script::new().read_request().write(STREAM_HEAD).write_slowly(stream).write(STREAM_END);
    let upstream = ScriptedUpstream::start([script]).await;
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let bench = Bench::with(Filter::yaml(LIMITS), |bootstrap| with_detours(bootstrap, &[detour])).await;
    let call = |prefix: &str| post(&format!("{prefix}/v1/chat/completions"), "hiding", "ada").body(CHAT);

    let mut response = bench.send(call("/scripted")).await;
    let answer = response.body().await.unwrap();
    assert_eq!((response.status(), answer.ends_with(b"data: [DONE]\n\n")), (200, true));
    let mut response = bench.send(call("")).await;
    assert_eq!(response.header("x-tollgate-softened"), Some("hidden_tools=1"));
    response.body().await.unwrap();
    let received = bench.mock.received()[0].json();
    assert_eq!(received["tools"], json!([{ "type": "function", "function": { "name": "look" } }]));
    bench.wait_for_count("tollgate_tool_calls_total", &[], 2).await;
}

#[tokio::test]
async fn a_call_is_refused_that_offers_a_spent_tool_where_the_limit_says_so_or_nothing_can_be_taken_out() {
    let bench = Bench::start(LIMITS).await;
    bench.send_two("refusing", "ada").await;
    bench.send_two("hiding", "bob").await;
    let coded = Coding::Gzip.encode(&[CHAT.into()]).concat();
    let path = "/v1/chat/completions";
    for request in [
        post(path, "refusing", "ada").body(CHAT),
        post(path, "hiding", "bob").header("content-encoding", "gzip").body(coded),
        post(path, "hiding", "bob").header("authorization", "AWS4-HMAC-SHA256 Signature=a").body(CHAT),
    ] {
        let (refused, body) = bench.json(request).await;
        assert_eq!(refused.status(), 429, "{body}");
        assert!(refused.header("retry-after").is_some());
        let message = body["error"]["message"].as_str().unwrap();
        let told = "on tool_calls per tenant (limit `mail`): Limit 2 per 30d, Available 0, Requested 1.";
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(bench.mock.received().len(), 4, "only the e-mails");
    let other = CHAT.replace("send_email", "find_email");
    let mut response = bench.send(post(path, "refusing", "ada").body(other)).await;
    assert_eq!((response.status(), response.header("x-tollgate-softened")), (200, None));
    response.body().await.unwrap();
}

#[tokio::test]
async fn the_official_client_sees_why_a_tool_is_refused_and_goes_on_with_others() {
    let bench = Bench::start(LIMITS).await;
    let seen = called(&bench, "ada", "send_email", &[json!({}), json!({ "to": "x" }), json!({})]).await;
    assert_eq!(seen["calls"][1]["text"], r#"{"to":"x"}"#, "{seen}");
    let refused = &seen["calls"][2];
    assert_eq!((&refused["error"], &refused["code"]), (&json!("McpError"), &json!(429)), "{seen}");
    let message = refused["message"].as_str().unwrap();
    let told = "Rate limit reached for send_email on tool_calls per tenant (limit `mail`): Limit 2 per 30d, Available 0, Requested 1. Please try again in ";
    assert!(message.starts_with(told), "{message}");
    let data = &refused["data"];
    assert_eq!(
        [&data["limit"], &data["tool"], &data["max"], &data["window"]],
        [&json!("mail"), &json!("send_email"), &json!(2), &json!("30d")],
        "{data}"
    );
    let wait = data["retry_after_ms"].as_u64().unwrap();
    // One of two in thirty days flows back after fifteen.
    assert!((14 * 86_400_000..=15 * 86_400_000 + 1000).contains(&wait), "{data}");
    assert!(data["reset_at"].as_str().unwrap().starts_with("20"), "{data}");
    assert_eq!(seen["tools"].as_array().unwrap().len(), 4, "lists are left as they are");

    let other = called(&bench, "ada", "echo", &[json!({ "a": 1 })]).await;
    assert_eq!(other["calls"], json!([{ "text": "{\"a\":1}" }]));
    let log = bench.envoy.access_log();
    let refused: Vec<_> = log.iter().filter(|line| line["tollgate.refused_by"] == "mail").collect();
    assert_eq!(
        (refused.len(), &refused[0]["status"], &refused[0]["details"]),
        (1, &json!(200), &json!("tollgate_refused"))
    );
}

#[tokio::test]
async fn mcp_and_models_share_one_budget() {
    let bench = Bench::start(LIMITS).await;
    let email = |id: u64| post("/mcp", "hiding", "ada").json(&rpc(&id.into(), "send_email"));
    assert_eq!(bench.json(email(1)).await.1["error"], Value::Null);
    let mut response = bench.send(post(MESSAGES.path, "hiding", "ada").body(MESSAGES.body)).await;
    assert!(response.body().await.unwrap().windows(10).any(|bytes| bytes == b"send_email"));
    let (_, refused) = bench.json(email(2)).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(2), &json!(429)), "{refused}");
    let mut response = bench.send(post(MESSAGES.path, "hiding", "ada").body(MESSAGES.body)).await;
    assert_eq!(response.header("x-tollgate-softened"), Some("hidden_tools=1"));
    response.body().await.unwrap();
}

#[tokio::test]
async fn no_more_calls_of_a_tool_pass_than_its_budget_has_on_all_workers_together_and_the_warning_is_one_line()
 {
    let bench = Bench::start(LIMITS).await;
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let address = bench.envoy.address();
        calls.spawn(async move {
            let client =
                if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
            let request = post("/mcp", "ten", "ada").json(&rpc(&json!(number), "send_email"));
            let answer = client.unwrap().send(request).await.unwrap().json().await.unwrap();
            assert_eq!(answer["id"], json!(number));
            answer["error"].is_null()
        });
    }
    let passed = calls.join_all().await.into_iter().filter(|passed| *passed).count();
    assert_eq!((passed, bench.mock.received().len()), (10, 10));
    bench.wait_for_calls("refused", 50).await;
    bench.wait_for_count("tollgate_tool_calls_total", &[], 10).await;
    let log = bench.envoy.log();
    assert_eq!(log.matches(r#""event":"warning""#).count(), 1, "{log}");
}

#[tokio::test]
async fn a_batch_is_refused_as_a_whole_and_each_of_its_calls_gets_an_error() {
    let bench = Bench::start(LIMITS).await;
    let send = |id: Value| rpc(&id, "send_email");
    let mut silent = send(json!(0));
    silent.as_object_mut().unwrap().remove("id");
    let ping = json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" });
    let batch = json!([send(json!(1.50)), send(json!("x")), ping, silent]);
    let post = |body: &Value| post("/mcp", "hiding", "ada").json(body);
    let (response, refused) = bench.json(post(&batch)).await;
    assert_eq!(response.status(), 200);
    let answers: Vec<_> =
        refused.as_array().unwrap().iter().map(|answer| (&answer["id"], &answer["error"]["code"])).collect();
    let code = json!(429);
    assert_eq!(answers, [(&json!(1.5), &code), (&json!("x"), &code), (&json!("p"), &code)], "{refused}");
    assert_eq!(bench.mock.received().len(), 0);
    let (_, passed) = bench.json(post(&json!([send(json!(1)), send(json!(2))]))).await;
    assert_eq!(passed[1]["result"]["isError"], false, "the refused batch has used nothing: {passed}");
    let (response, refused) = bench.json(post(&silent)).await;
    assert_eq!(
        (response.status(), &refused["id"]),
        (429, &Value::Null),
        "a notification has no id to answer to"
    );
    assert_eq!(bench.mock.received().len(), 1);
}

#[tokio::test]
async fn ten_thousand_tools_take_no_longer_than_as_much_text_and_names_may_be_anything() {
    let bench = Bench::start(LIMITS).await;
    let tool = |name: &str| format!(r#"{{"type":"function","function":{{"name":"{name}"}}}}"#);
    let odd = [
        "",
        "send_\\u0000",
        "send_\\ud83d",
        "send_é",
        "\\u0073end_mail",
        "SEND_x",
        "\\ud800",
        "a\\\"b",
        "日本",
    ];
    let tools: Vec<_> = (0..10_000).map(|number| tool(&format!("f{number}"))).chain(odd.map(tool)).collect();
    let body = |tools: &[String]| {
        let tools = tools.join(",");
        format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"Hi"}}],"tools":[{tools}]}}"#)
    };
    let call =
        || post("/v1/chat/completions", "hiding", "ada").header("x-mock-status", "503").body(body(&tools));
    let timed = async || {
        let mut response = bench.send(call()).await;
        // The mock cannot read these names.
        assert_eq!((response.status(), response.body().await.is_ok()), (503, true));
        (response.started().elapsed(), response.header("x-tollgate-softened").map(str::to_owned))
    };
    let (before, told) = timed().await;
    assert_eq!((told, bench.mock.received()[0].body == body(&tools)), (None, true));
    bench.send_two("hiding", "ada").await;
    let (after, told) = timed().await;
    assert_eq!(told.as_deref(), Some("hidden_tools=3"));
    // Patterns are case-sensitive, and a name that is not a string matches as written, with its
    // quotes.
    let hidden = [odd[1], odd[3], odd[4]];
    let is_hidden = |tool: &&String| hidden.iter().any(|name| tool.contains(&format!("\"{name}\"")));
    let left: Vec<_> = tools.iter().filter(|tool| !is_hidden(tool)).cloned().collect();
    assert!(bench.mock.received().pop().unwrap().body == body(&left), "something else has changed");
    assert!(after < before * 3 + Duration::from_secs(1), "{before:?}, then {after:?}");
}
