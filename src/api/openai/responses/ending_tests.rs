use super::*;
use crate::api::ending::tests::{CUT, ended};

#[test]
fn a_response_that_has_ended_is_not_ended() {
    let created = r#"{"type":"response.created","response":{}}"#;
    for kind in ["response.completed", "response.failed", "response.incomplete", "error"] {
        let end = format!("{{\"type\":\"{kind}\"}}");
        assert_eq!(ended(Response::ending(), &[created, &end]), None, "{kind}");
    }
}

#[test]
fn a_response_is_ended_with_its_output_so_far_and_without_a_call_that_was_cut() {
    let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","tools":[1],"output":[]}}"#;
    let done = r#"{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"type":"reasoning","id":"rs"}}"#;
    let call = r#"{"type":"response.output_item.added","sequence_number":5,"output_index":1,"item":{"type":"function_call","id":"f"}}"#;
    let delta = r#"{"type":"response.function_call_arguments.delta","sequence_number":6,"item_id":"f","delta":"{\"a"}"#;
    let ended = ended(Response::ending(), &[created, done, call, delta]).unwrap();
    let usage = json!({ "input_tokens": 7, "input_tokens_details": { "cached_tokens": 2 }, "output_tokens": 40,
        "output_tokens_details": { "reasoning_tokens": 10 }, "total_tokens": 47 });
    let response = json!({ "id": "r", "status": "incomplete", "tools": [1], "output": [{ "type": "reasoning", "id": "rs" }],
        "incomplete_details": { "reason": "max_output_tokens" }, "usage": usage });
    let incomplete = json!({ "type": "response.incomplete", "sequence_number": 7, "response": response });
    assert_eq!(ended, [incomplete, json!("[DONE]")]);
}

#[test]
fn a_text_that_is_open_is_closed_with_all_that_was_streamed_of_it() {
    let documents = [
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"r"}}"#,
        r#"{"type":"response.output_item.added","sequence_number":1,"output_index":3,"item":{"type":"message","id":"m"}}"#,
        r#"{"type":"response.content_part.added","sequence_number":2,"content_index":1,"part":{"type":"output_text"}}"#,
        r#"{"type":"response.output_text.delta","sequence_number":3,"content_index":1,"delta":"a\"b"}"#,
        r#"{"type":"response.output_text.delta","sequence_number":4,"content_index":1,"delta":"c"}"#,
    ];
    let ended = ended(Response::ending(), &documents).unwrap();
    assert_eq!(
        (&ended[0]["text"], &ended[0]["output_index"], &ended[0]["content_index"]),
        (&json!("a\"bc"), &json!(3), &json!(1))
    );
    assert_eq!(ended[2]["item"]["content"][0]["text"], "a\"bc");
    assert_eq!(ended[3]["response"]["output"], json!([ended[2]["item"]]));
    let numbers: Vec<_> = ended.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, [5, 6, 7, 8]);
}

#[test]
fn a_response_of_any_length_is_kept_in_bounded_memory() {
    let mut ending = Response::default();
    ending.read(br#"{"type":"response.created","response":{"id":"r"}}"#);
    ending.read(br#"{"type":"response.output_item.added","item":{"type":"message","id":"m"}}"#);
    ending.read(br#"{"type":"response.content_part.added","part":{"type":"output_text"}}"#);
    let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{}"}}"#, "x".repeat(10_000));
    for _ in 0..100 {
        ending.read(delta.as_bytes());
    }
    let written: usize = ending.write(&CUT).unwrap().iter().map(|document| document.data().len()).sum();
    assert!(written < 1000, "{written}");
}
