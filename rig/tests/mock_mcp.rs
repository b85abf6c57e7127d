//! The mock implements MCP over HTTP.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request, Response};
use tollgate_rig::mock_llm::MockLlm;

async fn post(mock: &MockLlm, body: &Value) -> Response {
    client::send(mock.address(), Request::post("/team/mcp").json(body)).await.unwrap()
}

fn call(id: &Value, tool: &str) -> Value {
    let params = json!({ "name": tool, "arguments": { "a": "one two" } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

const SAID: &str = r#"{"a":"one two"}"#;

#[tokio::test]
async fn a_client_shakes_hands_lists_tools_and_calls_one() {
    let mock = MockLlm::start().await;
    let hello = json!({ "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-06-18" } });
    let hello: Value = post(&mock, &hello).await.json().await.unwrap();
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(post(&mock, &json!({ "method": "notifications/initialized" })).await.status(), 202);
    let tools: Value = post(&mock, &json!({ "id": 1, "method": "tools/list" })).await.json().await.unwrap();
    assert_eq!(tools["result"]["tools"][0]["name"], "echo");
    let answer: Value = post(&mock, &call(&json!("x"), "echo")).await.json().await.unwrap();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!("x"), &json!(SAID)));
}

#[tokio::test]
async fn a_recited_call_streams_its_words_and_then_its_answer() {
    let mock = MockLlm::start().await;
    let transcript = post(&mock, &call(&json!(7), "recite")).await.transcript().await.unwrap();
    let events: Vec<Value> = transcript.json().collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1]["params"]["data"], r#"two"}"#);
    assert_eq!((&events[2]["id"], &events[2]["result"]["content"][0]["text"]), (&json!(7), &json!(SAID)));
}

#[tokio::test]
async fn a_batch_is_answered_as_a_batch() {
    let mock = MockLlm::start().await;
    let batch = json!([call(&json!(1), "echo"), { "method": "notifications/x" }, call(&json!(2), "none")]);
    let answers: Value = post(&mock, &batch).await.json().await.unwrap();
    assert_eq!(answers[0]["result"]["isError"], false);
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(2), &json!(-32602)));
    assert_eq!(answers.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_no_post_and_no_json_is_an_error() {
    let mock = MockLlm::start().await;
    let get = client::send(mock.address(), Request::get("/mcp")).await.unwrap();
    assert_eq!(get.status(), 405);
    let nonsense = client::send(mock.address(), Request::post("/mcp").body("{")).await.unwrap();
    assert_eq!(nonsense.status(), 400);
}
