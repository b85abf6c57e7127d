//! The mock implements llama.cpp's own dialect: counts beside the text, one answer for each prompt,
//! no `[DONE]`.

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::mock_llm::MockLlm;

fn completion(more: &Value) -> Request {
    let mut body = json!({ "prompt": "Hello there" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post("/completion").json(&body).header("x-mock-output-tokens", "7")
}

async fn answer(mock: &MockLlm, request: Request) -> Value {
    client::send(mock.address(), request).await.unwrap().json().await.unwrap()
}

async fn events(mock: &MockLlm, request: Request) -> Vec<Value> {
    let mut response = client::send(mock.address(), request).await.unwrap();
    let body = String::from_utf8(response.body().await.unwrap().to_vec()).unwrap();
    body.split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

#[tokio::test]
async fn an_answer_has_its_counts_and_a_bound_cuts_it() {
    let mock = MockLlm::start().await;
    let whole = answer(&mock, completion(&json!({ "n_predict": -1 }))).await;
    assert_eq!((&whole["tokens_evaluated"], &whole["tokens_predicted"]), (&json!(2), &json!(7)));
    assert_eq!((&whole["stop_type"], whole.get("usage")), (&json!("eos"), None));
    let cut = answer(&mock, completion(&json!({ "n_predict": 3, "max_tokens": 5 }))).await;
    assert_eq!((&cut["tokens_predicted"], &cut["stop_type"]), (&json!(3), &json!("limit")));
}

#[tokio::test]
async fn events_tell_the_counts_so_far_and_the_last_one_has_no_text() {
    let mock = MockLlm::start().await;
    let events = events(&mock, completion(&json!({ "stream": true }))).await;
    let (last, others) = events.split_last().unwrap();
    assert_eq!((others.len(), &others[2]["tokens_predicted"]), (7, &json!(3)));
    assert!(others.iter().all(|event| event["stop"] == false));
    let end = (&last["stop"], &last["content"], &last["tokens_predicted"]);
    assert_eq!(end, (&json!(true), &json!(""), &json!(7)));
}

#[tokio::test]
async fn several_prompts_get_a_list_and_only_wanted_members_are_there() {
    let mock = MockLlm::start().await;
    let several = answer(&mock, completion(&json!({ "prompt": ["Hello", [1, 2, 3]] }))).await;
    assert_eq!((&several[0]["tokens_evaluated"], &several[1]["tokens_evaluated"]), (&json!(1), &json!(3)));
    let some = answer(&mock, completion(&json!({ "response_fields": ["tokens_predicted", "none"] }))).await;
    assert_eq!(some, json!({ "tokens_predicted": 7 }));
}

#[tokio::test]
async fn paths_below_v1_are_openais() {
    let mock = MockLlm::start().await;
    let body = json!({ "model": "gpt-4o", "prompt": "Hello there" });
    for (path, member) in
        [("/completions", "content"), ("/v1/completions", "choices"), ("/infill", "content")]
    {
        assert!(answer(&mock, Request::post(path).json(&body)).await.get(member).is_some(), "{path}");
    }
}
