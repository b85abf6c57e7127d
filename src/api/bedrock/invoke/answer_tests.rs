use proptest::prelude::*;

use super::*;
use crate::api::answer::called::in_documents;
use crate::api::bedrock::invoke::FORMAT;

/// Returns a frame's payload with this chunk.
fn payload(chunk: &str) -> String {
    format!(r#"{{"bytes":"{}","p":"abcdef"}}"#, STANDARD.encode(chunk))
}

/// Returns the usage reported by all these documents, combined like in the reader of answers.
fn after(documents: &[&str]) -> ReportedUsage {
    documents.iter().fold(ReportedUsage::default(), |so_far, json| {
        let answer = read(json.as_bytes());
        answer.otherwise.then(so_far).then(answer.told)
    })
}

fn told_and_text(json: &str) -> (Option<u64>, Option<u64>, String) {
    let answer = read(json.as_bytes());
    assert!(!answer.unreadable, "{json}");
    (answer.told.input, answer.told.output, answer.text.concat())
}

#[test]
fn every_form_of_answer_gives_its_text_and_the_usage_that_it_tells() {
    for (json, input, output, text) in [
        (
            r#"{"type":"message","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (
            r#"{"output":{"message":{"content":[{"text":"x"}],"role":"assistant"}},"usage":{"inputTokens":3,"outputTokens":4}}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (r#"{"contentBlockDelta":{"delta":{"text":"x"},"contentBlockIndex":0}}"#, None, None, "x"),
        (r#"{"metadata":{"usage":{"inputTokens":3,"outputTokens":4}}}"#, Some(3), Some(4), ""),
        (
            r#"{"generation":"x","prompt_token_count":3,"generation_token_count":4,"stop_reason":"stop"}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (
            r#"{"generation":"x","prompt_token_count":null,"generation_token_count":2,"stop_reason":null}"#,
            None,
            Some(2),
            "x",
        ),
        (
            r#"{"inputTextTokenCount":3,"results":[{"tokenCount":4,"outputText":"x","completionReason":"FINISH"}]}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (
            r#"{"outputText":"x","index":0,"totalOutputTextTokenCount":4,"inputTextTokenCount":3}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (r#"{"outputs":[{"text":"x","stop_reason":"stop"}]}"#, None, None, "x"),
        (
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            Some(3),
            Some(4),
            "x",
        ),
        (r#"{"generations":[{"id":"g","text":"x"}],"prompt":"no"}"#, None, None, "x"),
        (
            r#"{"text":"x","generation_id":"g","chat_history":[{"role":"USER","message":"no"}]}"#,
            None,
            None,
            "x",
        ),
        (
            r#"{"event_type":"stream-end","response":{"text":"no"},"finish_reason":"COMPLETE"}"#,
            None,
            None,
            "",
        ),
        (r#"{"completions":[{"data":{"text":"x"},"finishReason":{"reason":"endoftext"}}]}"#, None, None, "x"),
        (r#"{"completion":"x","stop_reason":"stop_sequence"}"#, None, None, "x"),
        (r#"{"type":"completion","completion":"x","stop_reason":null,"stop":null}"#, None, None, "x"),
        (r#"{"embedding":[0.1,0.2],"inputTextTokenCount":3}"#, Some(3), None, ""),
    ] {
        assert_eq!(told_and_text(json), (input, output, text.to_owned()), "{json}");
        assert_eq!(told_and_text(&payload(json)), (input, output, text.to_owned()), "in a frame: {json}");
    }
}

#[test]
fn amazons_own_count_stands_where_the_model_tells_none() {
    let last = payload(
        r#"{"generation":"","generation_token_count":9,"amazon-bedrock-invocationMetrics":{"inputTokenCount":7,"outputTokenCount":10,"invocationLatency":1,"firstByteLatency":1}}"#,
    );
    let told = after(&[&payload(r#"{"generation":"x","generation_token_count":1}"#), &last]);
    assert_eq!((told.input, told.output), (Some(7), Some(9)));
}

#[test]
fn what_the_model_told_in_parts_stays_when_amazon_tells_the_sum() {
    let start = payload(
        r#"{"type":"message_start","message":{"usage":{"input_tokens":7,"cache_read_input_tokens":14486,"cache_creation_input_tokens":2238,
            "cache_creation":{"ephemeral_5m_input_tokens":238,"ephemeral_1h_input_tokens":2000},"output_tokens":1}}}"#,
    );
    let stop = payload(
        r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":7,"outputTokenCount":126,"cacheReadInputTokenCount":14486,"cacheWriteInputTokenCount":2238}}"#,
    );
    let told = after(&[&start, &stop]);
    let expected = ReportedUsage {
        input: Some(7),
        cached_input: Some(14486),
        cache_write: Some(238),
        cache_write_1h: Some(2000),
        output: Some(126),
        ..ReportedUsage::default()
    };
    assert_eq!(ReportedUsage { reasoning: None, ..told }, expected);
}

#[test]
fn nonsense_is_unreadable_and_what_is_no_answer_says_nothing() {
    for json in [
        r#"{"generation":"x","prompt_token_count":-1}"#,
        r#"{"results":[{"tokenCount":"many"}]}"#,
        r#"{"inputTextTokenCount":1e300}"#,
    ] {
        let answer = read(json.as_bytes());
        assert!(answer.unreadable && answer.told.is_nothing(), "{json}");
    }
    for json in [
        "",
        "null",
        "[]",
        r#"{"bytes":"@@@"}"#,
        r#"{"bytes":""}"#,
        r#"{"message":"Too many tokens, please wait before trying again."}"#,
        r#"{"amazon-bedrock-invocationMetrics":{"inputTokenCount":1e300}}"#,
        r#"{"amazon-bedrock-invocationMetrics":7}"#,
        r#"{"generation":7}"#,
    ] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

#[test]
fn a_chunk_within_a_chunk_is_not_followed() {
    assert_eq!(read(payload(&payload(r#"{"generation":"x"}"#)).as_bytes()), Answer::default());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
        let _ = read(format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode(&bytes)).as_bytes());
    }
}

#[test]
fn calls_of_tools_are_found_in_every_form() {
    let chunk = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"mail","input":{}}}"#;
    let frame = format!("{{\"bytes\":\"{}\"}}", STANDARD.encode(chunk));
    let nova = r#"{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"b","name":"mail"}},"contentBlockIndex":1}}"#;
    let mistral = r#"{"choices":[{"index":0,"message":{"tool_calls":[{"id":"c","function":{"name":"pay","arguments":"{}"}}]}}]}"#;
    let cohere = r#"{"text":"I will","tool_calls":[{"name":"pay","parameters":{"name":"no"}},7],"finish_reason":"COMPLETE"}"#;
    let expected = [("mail", 2), ("pay", 2)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(in_documents(&FORMAT, &[&frame, nova, mistral, cohere]), expected);
}
