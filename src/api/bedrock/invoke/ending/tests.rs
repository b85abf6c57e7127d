//! The ends of InvokeModel's streams in each model's own form.

use super::*;
use crate::api::ending::tests::ended;
use proptest::prelude::*;

fn payload(document: &str) -> String {
    json!({ "bytes": STANDARD.encode(document), "p": "abcdef" }).to_string()
}

/// Returns the documents that end a stream of these.
fn ended_with(documents: &[&str]) -> Option<Vec<Value>> {
    let payloads: Vec<_> = documents.iter().map(|document| payload(document)).collect();
    let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
    let document = |payload: &Value| {
        let bytes = STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    Some(ended(Invoke::ending(), &payloads)?.iter().map(document).collect())
}

/// Ends a stream of documents like this one, and returns its last document; checks Amazon's count
/// and removes it.
fn last(document: &str) -> Value {
    let mut documents = ended_with(&[document]).unwrap();
    let mut last = documents.pop().unwrap();
    assert_eq!(documents, [Value::Null; 0], "{document}");
    let metrics = last.as_object_mut().unwrap().remove("amazon-bedrock-invocationMetrics").unwrap();
    let expected = json!({ "inputTokenCount": 5, "outputTokenCount": 40, "cacheReadInputTokenCount": 2,
        "invocationLatency": 0, "firstByteLatency": 0 });
    assert_eq!(metrics, expected, "{document}");
    last
}

const PLAIN: [&str; 9] = [
    r#"{"generation":"x","prompt_token_count":5,"generation_token_count":1,"stop_reason":null}"#,
    r#"{"outputText":"x","index":0,"totalOutputTextTokenCount":null,"completionReason":null}"#,
    r#"{"outputs":[{"text":"x","stop_reason":null}]}"#,
    r#"{"completion":"x","stop_reason":null,"stop":null}"#,
    r#"{"is_finished":false,"text":"x"}"#,
    r#"{"event_type":"text-generation","is_finished":false,"text":"x"}"#,
    r#"{"choices":[{"index":0,"text":"x","stop_reason":null}]}"#,
    r#"{"choices":[{"index":0,"message":{"content":"x"},"stop_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#,
];

#[test]
fn every_form_has_a_last_document_of_its_own() {
    let [llama, titan, mistral, claude, command, command_r, text, message, delta] = PLAIN.map(last);
    let counted = json!({ "generation": "", "prompt_token_count": null, "generation_token_count": 40, "stop_reason": "length" });
    assert_eq!(llama, counted);
    let counted = json!({ "outputText": "", "index": 0, "totalOutputTextTokenCount": 40, "completionReason": "LENGTH", "inputTextTokenCount": null });
    assert_eq!(titan, counted);
    assert_eq!(mistral, json!({ "outputs": [{ "text": "", "stop_reason": "length" }] }));
    let completion =
        json!({ "type": "completion", "completion": "", "stop_reason": "max_tokens", "stop": null });
    assert_eq!(claude, completion);
    assert_eq!(command, json!({ "is_finished": true, "finish_reason": "MAX_TOKENS", "text": "" }));
    let response = json!({ "text": "x", "generation_id": null, "finish_reason": "MAX_TOKENS" });
    let end = json!({ "event_type": "stream-end", "is_finished": true, "finish_reason": "MAX_TOKENS", "response": response });
    assert_eq!(command_r, end);
    let choice = |chunk: Value| chunk["choices"].clone();
    let expected = json!([{ "index": 0, "logprobs": null, "text": "", "stop_reason": "length" }]);
    assert_eq!(choice(text), expected);
    let message_of = json!({ "role": "assistant", "content": "" });
    let expected = json!([{ "index": 0, "logprobs": null, "message": message_of, "stop_reason": "length" }]);
    assert_eq!(choice(message), expected);
    let expected = json!([{ "index": 0, "logprobs": null, "delta": {}, "finish_reason": "length" }]);
    assert_eq!(choice(delta), expected);
}

#[test]
fn a_stream_that_its_model_has_ended_is_not_ended() {
    let ends = [
        r#"{"generation":"","stop_reason":"stop"}"#,
        r#"{"outputText":"","completionReason":"FINISH"}"#,
        r#"{"outputs":[{"text":"","stop_reason":"stop"}]}"#,
        r#"{"completion":"","stop_reason":"stop_sequence"}"#,
        r#"{"is_finished":true}"#,
        r#"{"event_type":"stream-end","is_finished":true,"finish_reason":"COMPLETE","response":{}}"#,
        r#"{"choices":[{"index":0,"text":"","stop_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"message":{},"stop_reason":"tool_calls"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    ];
    for (begin, end) in PLAIN.into_iter().zip(ends) {
        assert!(ended_with(&[begin]).is_some());
        assert_eq!(ended_with(&[begin, end]), None, "{end}");
        let counted = r#"{"amazon-bedrock-invocationMetrics":{}}"#;
        assert_eq!(ended_with(&[begin, counted]), None, "{begin}");
        let exception = r#"{"message":"too many requests"}"#;
        assert_eq!(ended(Invoke::ending(), &[&payload(begin), exception]), None, "{begin}");
    }
    let nova = r#"{"messageStart":{"role":"assistant"}}"#;
    assert_eq!(ended_with(&[nova, r#"{"messageStop":{"stopReason":"end_turn"}}"#]), None);
    let message = r#"{"type":"message_start","message":{}}"#;
    assert_eq!(ended_with(&[message, r#"{"type":"message_delta","delta":{}}"#]), None);
}

#[test]
fn novas_events_stand_under_their_names_and_what_is_closed_is_not_closed_again() {
    let start = r#"{"messageStart":{"role":"assistant"}}"#;
    let delta = r#"{"contentBlockDelta":{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"a"}}}}"#;
    let stop = r#"{"contentBlockStop":{"contentBlockIndex":1}}"#;
    let open = ended_with(&[start, delta]).unwrap();
    assert_eq!(open[0], json!({ "contentBlockStop": { "contentBlockIndex": 1 } }));
    assert_eq!(open[1], json!({ "messageStop": { "stopReason": "max_tokens" } }));
    let usage = json!({ "inputTokens": 5, "outputTokens": 40, "totalTokens": 47, "cacheReadInputTokens": 2,
        "cacheWriteInputTokens": 0 });
    assert_eq!(open[2]["metadata"]["usage"], usage);
    assert_eq!(ended_with(&[start, delta, stop]).unwrap(), open[1..]);
}

#[test]
fn of_two_reasons_that_of_openai_is_the_one_that_ends_a_choice() {
    let vllm = r#"{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null,"stop_reason":null}]}"#;
    assert_eq!(last(vllm)["choices"][0]["finish_reason"], "length");
    assert_eq!(ended_with(&[vllm, &vllm.replace("finish_reason\":null", "finish_reason\":\"stop\"")]), None);
}

#[test]
fn a_chunk_that_tells_usage_only_is_not_among_the_last() {
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":null}"#;
    assert_eq!(last(chunk)["choices"].as_array().unwrap().len(), 1);
}

#[test]
fn the_end_of_command_r_repeats_what_was_streamed_up_to_a_bound() {
    let start = r#"{"event_type":"stream-start","is_finished":false,"generation_id":"g"}"#;
    let part = r#"{"event_type":"text-generation","is_finished":false,"text":"a\"b"}"#;
    let tool = r#"{"event_type":"tool-calls-chunk","is_finished":false,"tool_call_delta":{"index":0}}"#;
    let end = ended_with(&[start, part, part, tool]).unwrap();
    let response = json!({ "text": "a\"ba\"b", "generation_id": "g", "finish_reason": "MAX_TOKENS" });
    assert_eq!(end[0]["response"], response);
    let long = format!(r#"{{"event_type":"text-generation","text":"{}"}}"#, "x".repeat(100_000));
    let end = ended_with(&[start, &long, &long, &long, part]).unwrap();
    assert_eq!(end[0]["response"]["text"], "");
}

#[test]
fn a_stream_of_no_known_form_cannot_be_ended() {
    for document in [
        r#"{"completions":[{"data":{"text":"x"}}]}"#,
        r#"{"choices":[{"index":0,"odd":"x"}]}"#,
        r#"{"choices":7}"#,
        "7",
        "",
    ] {
        let mut ending = Invoke::default();
        assert!(ending.is_possible());
        ending.read(payload(document).as_bytes());
        assert!(!ending.is_possible(), "{document}");
        assert_eq!(ended_with(&[document]), None, "{document}");
        ending.read(payload(PLAIN[0]).as_bytes());
        assert!(ending.is_possible());
    }
}

proptest! {
    #[test]
    fn whatever_comes_in_chunks_the_ending_is_whole(
        first in prop::sample::select(PLAIN.to_vec()),
        others in prop::collection::vec((prop::sample::select(vec![
            "choices", "type", "messageStart", "contentBlockDelta", "generation", "outputText", "outputs", "completion", "is_finished", "event_type",
            "text", "generation_id",
        ]), prop::sample::select(vec![
            "null", "7", "-1e300", "true", "\"x\"", "[]", "{}", "[7]", "[{}]", "\"message_start\"", r#"[{"index":7,"delta":{}}]"#,
            r#"{"contentBlockIndex":3,"delta":{}}"#,
        ])), 0..8),
        place in 0..8_usize,
    ) {
        let others: Vec<_> = others.iter().map(|(name, value)| format!("{{\"{name}\":{value}}}")).collect();
        let mut documents: Vec<_> = others.iter().map(String::as_str).collect();
        documents.insert(place.min(documents.len()), first);
        if let Some(ended) = ended_with(&documents) {
            let is_counted = |document: &Value| document.get("amazon-bedrock-invocationMetrics").is_some();
            let (last, others) = ended.split_last().unwrap();
            prop_assert!(is_counted(last) && !others.iter().any(is_counted));
        }
    }

    #[test]
    fn damaged_chunks_make_no_ending_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), base64 in "[A-Za-z0-9+/=]{0,30}") {
        let payloads = [payload(&String::from_utf8_lossy(&bytes)), format!("{{\"bytes\":\"{base64}\"}}"), payload(PLAIN[0])];
        let payloads: Vec<_> = payloads.iter().map(String::as_str).collect();
        let _ = ended(Invoke::ending(), &payloads);
    }
}
