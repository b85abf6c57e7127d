//! MCP through the filter: tool calls work as without it, with the official Python client and in
//! every message form of clients.
//!
//! In: the script `tests/sdk/mcp_client.py`, and messages in wire format. Out: nothing. Not here:
//! the parsing of messages (`src/api/mcp`), and SDKs of LLMs (`sdks`).

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};

use crate::bench::Bench;
use crate::sdks::output;

const LIMITS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers: { all: { limits: [ { name: any, count: tool_calls, tools: [\"*\"], per: tenant, max: 100, window: 30d } ] } }
";

/// Returns the official client's view of calls with these arguments, one after the other in one
/// session.
pub(crate) async fn called(bench: &Bench, tenant: &str, tool: &str, calls: &[Value]) -> Value {
    let mut arguments = vec![format!("http://{}/mcp", bench.envoy.address()), tool.to_owned()];
    arguments.extend(calls.iter().map(Value::to_string));
    arguments.extend(["--header".to_owned(), format!("x-tenant-id={tenant}")]);
    output("mcp_client.py", arguments).await.remove(0)
}

fn post(body: impl Into<Bytes>) -> Request {
    let request =
        Request::post("/mcp").header("content-type", "application/json").header("x-tenant-id", "acme");
    request.header("accept", "application/json, text/event-stream").body(body)
}

#[tokio::test]
async fn the_official_client_calls_tools_through_the_filter() {
    let bench = Bench::start(LIMITS).await;
    let calls = [json!({ "a": 1 }), json!({ "b": "ü" })];
    let seen = called(&bench, "acme", "echo", &calls).await;

    let texts = calls.iter().map(|call| json!({ "text": call.to_string() })).collect::<Vec<_>>();
    assert_eq!(seen["calls"], json!(texts), "{seen}");
    assert_eq!(seen["tools"][0], "echo", "{seen}");

    let streamed = called(&bench, "acme", "recite", &[json!({ "a": "one two" })]).await;
    assert_eq!(streamed["calls"], json!([{ "text": r#"{"a":"one two"}"# }]), "{streamed}");
    assert_eq!(streamed["said"], json!([r#"{"a":"one"#, r#"two"}"#]), "{streamed}");
    let unknown = called(&bench, "acme", "nothing", &[json!({})]).await;
    assert_eq!(unknown["calls"][0]["code"], -32602, "{unknown}");
}

#[tokio::test]
async fn messages_and_their_answers_pass_byte_for_byte() {
    let bench = Bench::start(LIMITS).await;
    let call = r#"{"jsonrpc":"2.0","id":"\u0061","method":"tools/call","params":{"name":"echo","arguments":{"x":1.50}}}"#;
    let recite = call.replace("echo", "recite");
    let batch = format!(r#"[ {call}, {{"method":"notifications/x"}},{{"id":2,"method":"ping"}} ]"#);
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    for (body, status) in [(call, 200), (&recite, 200), (&batch, 200), (notification, 202)] {
        let mut straight = client::send(bench.mock.address(), post(body.to_owned())).await.unwrap();
        let mut response = bench.send(post(body.to_owned())).await;
        assert_eq!((straight.status(), response.status()), (status, status), "{body}");
        assert_eq!(straight.header("content-type"), response.header("content-type"), "{body}");
        assert_eq!(straight.body().await.unwrap(), response.body().await.unwrap(), "{body}");
        assert_eq!(bench.mock.received().last().unwrap().body, body, "the upstream gets it as it is");
    }
}

#[tokio::test]
async fn a_body_that_names_a_deciding_member_twice_is_refused_in_json_rpc() {
    let bench = Bench::start(LIMITS).await;
    let body = r#"{"id":1,"method":"ping","method":"tools/call","params":{"name":"echo"}}"#;
    let (response, body) = bench.json(post(body)).await;
    assert_eq!(response.status(), 400);
    assert_eq!(
        (&body["jsonrpc"], &body["id"], &body["error"]["code"]),
        (&json!("2.0"), &Value::Null, &json!(-32600))
    );
    assert!(body["error"]["message"].as_str().unwrap().contains("`method`"), "{body}");
    assert_eq!(bench.mock.received().len(), 0);
}

#[tokio::test]
async fn what_is_no_post_passes() {
    let bench = Bench::start(LIMITS).await;
    let response = bench.send(Request::get("/mcp").header("accept", "text/event-stream")).await;
    assert_eq!(response.status(), 405, "the server's own answer");
    assert_eq!(bench.mock.received().len(), 1);
}
