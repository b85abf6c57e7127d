//! What no whole stream of an exchange shows: streams that cannot be ended, and odd documents.

mod invoke_model;

use super::*;
use crate::api::FORMATS;
use proptest::prelude::*;
use serde_json::json;

const CUT: Cut<'static> = Cut {
    model: "m",
    used: Usage {
        input: 5,
        cached_input: 2,
        cache_write: 0,
        cache_write_1h: 0,
        audio_input: 0,
        output: 30,
        reasoning: 10,
        audio_output: 0,
        characters: 0,
        requests: 1,
    },
    hides_usage: false,
};

fn ended(mut ending: Box<dyn Ending>, documents: &[&str]) -> Option<Vec<Value>> {
    documents.iter().for_each(|document| ending.read(document.as_bytes()));
    let written = ending.write(&CUT)?;
    Some(
        written
            .iter()
            .map(|Document { data, .. }| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
            .collect(),
    )
}

#[test]
fn a_stream_that_has_not_begun_or_has_ended_is_not_ended() {
    for format in FORMATS {
        let Some(begin) = format.ending else { continue };
        assert_eq!(ended(begin(), &[]), None, "{}", format.name);
        assert_eq!(ended(begin(), &["[DONE]", "", "null", "7"]), None, "{}", format.name);
    }
    let message = r#"{"type":"message_start"}"#;
    for end in [r#"{"type":"message_delta"}"#, r#"{"type":"message_stop"}"#, r#"{"type":"error"}"#] {
        assert_eq!(ended(anthropic::Message::ending(), &[message, end]), None, "{end}");
    }
    let chunk = r#"{"choices":[{"index":0,"delta":{},"finish_reason":null}]}"#;
    let finished = chunk.replace("null", "\"stop\"");
    for end in [&finished, r#"{"error":{"message":"no"}}"#, "[DONE]"] {
        assert_eq!(ended(openai::Chunks::chat(), &[chunk, end]), None, "{end}");
    }
    let created = r#"{"type":"response.created","response":{}}"#;
    for kind in ["response.completed", "response.failed", "response.incomplete", "error"] {
        let end = format!("{{\"type\":\"{kind}\"}}");
        assert_eq!(ended(responses::Response::ending(), &[created, &end]), None, "{kind}");
    }
    let role = r#"{"role":"assistant"}"#;
    for end in [r#"{"stopReason":"end_turn"}"#, r#"{"message":"too many requests"}"#] {
        assert_eq!(ended(bedrock::Converse::ending(), &[role, end]), None, "{end}");
    }
    let start = r#"{"type":"message-start"}"#;
    assert_eq!(ended(cohere::Chat::ending(), &[start, r#"{"type":"message-end"}"#]), None);
    assert_eq!(ended(ollama::Lines::chat(), &[r#"{"message":{}}"#, r#"{"done_reason":"stop"}"#]), None);
    let candidate = r#"{"candidates":[{"index":0}]}"#;
    assert_eq!(
        ended(
            gemini::Candidates::ending(),
            &[candidate, &candidate.replace("0}", "0,\"finishReason\":\"STOP\"}")]
        ),
        None
    );
}

#[test]
fn only_choices_that_are_open_are_ended() {
    let chunk = |index: u64, reason: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":{index},"delta":{{}},"finish_reason":{reason}}}]}}"#)
    };
    let chunks = [chunk(0, "null"), chunk(2, "null"), chunk(0, "\"stop\"")];
    let ended = ended(openai::Chunks::chat(), &chunks.each_ref().map(String::as_str)).unwrap();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert_eq!((&ended[0]["choices"][0]["index"], &ended[1]), (&json!(2), &json!("[DONE]")));
}

#[test]
fn a_response_is_ended_with_its_output_so_far_and_without_a_call_that_was_cut() {
    let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","tools":[1],"output":[]}}"#;
    let done = r#"{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"type":"reasoning","id":"rs"}}"#;
    let call = r#"{"type":"response.output_item.added","sequence_number":5,"output_index":1,"item":{"type":"function_call","id":"f"}}"#;
    let delta = r#"{"type":"response.function_call_arguments.delta","sequence_number":6,"item_id":"f","delta":"{\"a"}"#;
    let ended = ended(responses::Response::ending(), &[created, done, call, delta]).unwrap();
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
    let ended = ended(responses::Response::ending(), &documents).unwrap();
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
    let mut ending = responses::Response::default();
    ending.read(br#"{"type":"response.created","response":{"id":"r"}}"#);
    ending.read(br#"{"type":"response.output_item.added","item":{"type":"message","id":"m"}}"#);
    ending.read(br#"{"type":"response.content_part.added","part":{"type":"output_text"}}"#);
    let delta = format!(r#"{{"type":"response.output_text.delta","delta":"{}"}}"#, "x".repeat(10_000));
    for _ in 0..100 {
        ending.read(delta.as_bytes());
    }
    let written: usize = ending.write(&CUT).unwrap().iter().map(|document| document.data.len()).sum();
    assert!(written < 1000, "{written}");
}

#[test]
fn what_a_stream_repeats_of_itself_is_bounded() {
    let chunk = format!(r#"{{"id":"{}","choices":[{{"index":0}}]}}"#, "x".repeat(100_000));
    assert_eq!(ended(openai::Chunks::chat(), &[&chunk]).unwrap()[0]["id"], Value::Null);
    let many: Vec<_> = (0..10_000).map(|index| format!(r#"{{"index":{index}}}"#)).collect();
    let chunk = format!(r#"{{"choices":[{}]}}"#, many.join(","));
    assert_eq!(ended(openai::Chunks::chat(), &[&chunk]).unwrap().len(), Choices::MOST + 1);
}

proptest! {
    #[test]
    fn no_documents_make_an_ending_panic(documents in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        ("[a-z._-]{0,30}", "[0-9a-z\\[\\]{}\":, ]{0,30}").prop_map(|(kind, value)| format!(r#"{{"type":"{kind}","item":{value},"index":{value},"choices":{value}}}"#).into_bytes()),
    ], 0..10)) {
        for begin in FORMATS.iter().filter_map(|format| format.ending) {
            let mut ending = begin();
            documents.iter().for_each(|document| ending.read(document));
            let _ = ending.write(&CUT);
        }
    }
}
