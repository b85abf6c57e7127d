//! Responses: whole, streamed, in the background, and continued.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

use super::{INPUT_TOKENS, events_of, joined, json_of, types};

fn ask(more: &Value) -> Request {
    let mut body = json!({ "model": "gpt-4o", "input": "Hello there" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post("/v1/responses").json(&body)
}

#[tokio::test]
async fn a_response_has_the_usage_of_what_was_sent() {
    let mock = MockLlm::start().await;
    let body = json_of(mock.address(), ask(&json!({})).header("x-mock-output-tokens", "7")).await;
    assert_eq!((&body["object"], &body["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(body["output"][0]["content"][0]["type"], "output_text");
    let expected = json!({
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
        "output_tokens": 7,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": INPUT_TOKENS + 7,
    });
    assert_eq!(body["usage"], expected);
}

#[tokio::test]
async fn a_response_that_is_cut_is_incomplete() {
    let mock = MockLlm::start().await;
    let limit = json!({ "max_output_tokens": 3 });
    let body = json_of(mock.address(), ask(&limit)).await;
    assert_eq!(body["status"], "incomplete");
    assert_eq!(body["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(body["usage"]["output_tokens"], 3);

    let events =
        events_of(mock.address(), ask(&json!({ "max_output_tokens": 3, "stream": true })), true).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["usage"], body["usage"]);
}

#[tokio::test]
async fn a_streamed_response_has_the_events_of_the_api_in_order() {
    let mock = MockLlm::start().await;
    let whole = json_of(mock.address(), ask(&json!({})).header("x-mock-output-tokens", "2")).await;

    let request = ask(&json!({ "stream": true })).header("x-mock-output-tokens", "2");
    let events = events_of(mock.address(), request, true).await;

    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types(&events), expected);
    assert!((0..).zip(&events).all(|(number, event)| event["sequence_number"] == number));
    assert_eq!(events[0]["response"]["usage"], Value::Null);
    assert_eq!(events[0]["response"]["status"], "in_progress");
    assert_eq!(joined(&events), whole["output"][0]["content"][0]["text"]);
    assert_eq!(events[9]["response"], whole);
}

#[tokio::test]
async fn a_response_calls_the_function_that_is_demanded() {
    let mock = MockLlm::start().await;
    let tools = json!([{ "type": "function", "name": "look", "parameters": { "type": "object" } }]);
    let demand = json!({ "tools": tools, "tool_choice": "required" });
    let whole = json_of(mock.address(), ask(&demand)).await;
    let call = &whole["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("look")));
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["text"].is_string());

    let demand =
        json!({ "tools": tools, "tool_choice": { "type": "function", "name": "look" }, "stream": true });
    let events = events_of(mock.address(), ask(&demand), true).await;
    assert_eq!(joined(&events), call["arguments"]);
    assert!(types(&events).contains(&"response.function_call_arguments.done"));
    assert_eq!(events.last().unwrap()["response"]["output"], whole["output"]);
}

#[tokio::test]
async fn a_response_sums_up_its_reasoning_if_asked() {
    let mock = MockLlm::start().await;
    let request = json!({ "reasoning": { "effort": "low", "summary": "auto" }, "stream": true });
    let events = events_of(mock.address(), ask(&request).header("x-mock-output-tokens", "4"), true).await;

    assert!(types(&events).contains(&"response.reasoning_summary_text.delta"));
    let ended = &events.last().unwrap()["response"];
    assert_eq!(ended["output"][0]["type"], "reasoning");
    let reasoning = ended["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert!(reasoning > 0);
    assert_eq!(ended["usage"]["output_tokens"], reasoning + 4);
}

#[tokio::test]
async fn a_background_response_is_queued_and_can_be_asked_for() {
    let mock = MockLlm::start().await;
    let queued = json_of(mock.address(), ask(&json!({ "background": true }))).await;
    assert_eq!((&queued["status"], &queued["usage"]), (&json!("queued"), &Value::Null));
    assert_eq!(queued["output"], json!([]));

    let path = format!("/v1/responses/{}", queued["id"].as_str().unwrap());
    let done = json_of(mock.address(), Request::get(&path)).await;

    assert_eq!((&done["id"], &done["model"]), (&queued["id"], &queued["model"]));
    assert_eq!(done["status"], "completed");
    assert_eq!(done["usage"]["input_tokens"], INPUT_TOKENS);
    assert_eq!(done["usage"]["output_tokens"], 20);

    let stranger = client::send(mock.address(), Request::get("/v1/responses/resp_68a1")).await.unwrap();
    assert_eq!(stranger.status(), 404);
}

#[tokio::test]
async fn a_response_that_goes_on_counts_its_history() {
    let mock = MockLlm::start().await;
    let first = json_of(mock.address(), ask(&json!({}))).await;
    let second = json_of(mock.address(), ask(&json!({ "previous_response_id": first["id"] }))).await;
    let history = first["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(second["usage"]["input_tokens"], history + INPUT_TOKENS);
}

#[tokio::test]
async fn the_input_of_a_response_can_be_counted_alone() {
    let mock = MockLlm::start().await;
    let request = Request::post("/v1/responses/input_tokens");
    let body =
        json_of(mock.address(), request.json(&json!({ "model": "gpt-4o", "input": "Hello there" }))).await;
    assert_eq!(body["input_tokens"], INPUT_TOKENS);
}
