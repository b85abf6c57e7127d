use proptest::prelude::*;

use super::*;
use crate::api::answer::called::in_documents;
use crate::api::anthropic::FORMAT;
use crate::api::{ReportedUsage, Usage};

#[test]
fn a_message_tells_three_classes_of_input_that_do_not_overlap() {
    let json = br#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hi"}],
        "usage":{"input_tokens":50,"cache_creation_input_tokens":300,"cache_read_input_tokens":2000,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},
        "output_tokens":90,"output_tokens_details":{"thinking_tokens":60},"service_tier":"standard"}}"#;
    let answer = read(json);
    let told = ReportedUsage {
        input: Some(50),
        cached_input: Some(2000),
        cache_write: Some(100),
        cache_write_1h: Some(200),
        output: Some(30),
        reasoning: Some(60),
        ..ReportedUsage::default()
    };
    assert_eq!(answer.told, told);
    assert_eq!(told.or(Usage::default()).all_input(), 2350);
    assert_eq!(answer.text, ["Hi"]);
}

#[test]
fn the_start_of_a_stream_tells_the_input_and_not_its_placeholder_for_the_output() {
    let start = br#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],
        "usage":{"input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":4}}}"#;
    let told = ReportedUsage { input: Some(25), cached_input: Some(7), ..ReportedUsage::default() };
    assert_eq!(read(start).told, told);
}

/// Returns the usage reported by all these documents, combined like in the reader of answers.
fn after(documents: &[&str]) -> ReportedUsage {
    documents.iter().fold(ReportedUsage::default(), |so_far, json| {
        let answer = read(json.as_bytes());
        answer.otherwise.then(so_far).then(answer.told)
    })
}

#[test]
fn a_later_total_replaces_an_earlier_one_and_is_never_added() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":2679,"cache_read_input_tokens":0,"output_tokens":3}}}"#;
    let first = r#"{"type":"message_delta","usage":{"output_tokens":10}}"#;
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":10682,"cache_read_input_tokens":5,"output_tokens":510,"server_tool_use":{"web_search_requests":1}}}"#;
    let told = after(&[start, first, last]);
    assert_eq!((told.input, told.cached_input, told.output), (Some(10682), Some(5), Some(510)));
}

#[test]
fn what_was_written_to_caches_for_an_hour_stays_apart_when_the_end_tells_only_the_sum() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":300,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":1}}}"#;
    let end = r#"{"type":"message_delta","usage":{"input_tokens":3,"cache_creation_input_tokens":300,"output_tokens":9}}"#;
    let told = after(&[start, end]);
    assert_eq!((told.cache_write, told.cache_write_1h), (Some(100), Some(200)));
}

#[test]
fn what_only_the_end_tells_of_caches_is_believed() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":0}}}"#;
    let end = r#"{"type":"message_delta","usage":{"input_tokens":3,"cache_creation_input_tokens":300,"output_tokens":9}}"#;
    let told = after(&[start, end]);
    assert_eq!((told.input, told.cache_write, told.cache_write_1h), (Some(3), Some(300), None));
}

#[test]
fn all_that_the_model_writes_is_text_and_nothing_else() {
    let texts = |json: &str| read(json.as_bytes()).text.concat();
    let message = r#"{"type":"message","content":[{"type":"thinking","thinking":"a","signature":"zz"},{"type":"text","text":"b","citations":[{"cited_text":"zz"}]},
        {"type":"tool_use","id":"t","name":"f","input":{"x":1}},{"type":"web_search_tool_result","content":[{"title":"zz"}]}]}"#;
    assert_eq!(texts(message), r#"abf{"x":1}"#);
    for (event, text) in [
        (r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#, ""),
        (
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            "f",
        ),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"d\u00e9"}}"#, "dé"),
        (r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"e"}}"#, "e"),
        (
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x\""}}"#,
            "{\"x\"",
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"zz"}}"#,
            "",
        ),
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"cited_text":"zz"}}}"#,
            "",
        ),
        (r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}}"#, ""),
    ] {
        assert_eq!(texts(event), text, "{event}");
    }
}

#[test]
fn odd_usage_is_told_from_no_usage() {
    let usage = |usage: &str| {
        let json = format!(r#"{{"type":"message","usage":{usage}}}"#);
        let answer = read(json.as_bytes());
        ((answer.told.input, answer.told.output), answer.unreadable)
    };
    assert_eq!(usage("null"), ((None, None), false));
    assert_eq!(usage(r#"{"input_tokens":"7","output_tokens":2.5}"#), ((Some(7), Some(3)), false));
    assert_eq!(
        usage(r#"{"input_tokens":7,"cache_creation":{"ephemeral_1h_input_tokens":-3}}"#),
        ((Some(7), None), false)
    );
    for odd in [
        "{}",
        "7",
        "[]",
        r#"{"input_tokens":-1,"output_tokens":2}"#,
        r#"{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":-1}"#,
        r#"{"input_tokens":1e30,"output_tokens":2}"#,
        r#"{"input_tokens":1,"output_tokens":{}}"#,
        r#"{"input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":1e300}}"#,
    ] {
        assert_eq!(usage(odd), ((None, None), true), "{odd}");
    }
}

#[test]
fn parts_told_without_a_sum_are_the_sum() {
    let json = br#"{"type":"message","usage":{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}}}"#;
    let told = read(json).told;
    assert_eq!((told.cache_write, told.cache_write_1h), (Some(10), Some(20)));
}

#[test]
fn other_events_and_documents_say_nothing() {
    for json in [
        "",
        "null",
        "[DONE]",
        r#"{"type":"ping"}"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        r#"{"type":"message_start","message":7}"#,
        r#"{"type":"message","content":"odd"}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":7}}"#,
    ] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_numbers_make_the_reader_panic(numbers in prop::collection::vec(prop_oneof![any::<i64>().prop_map(|n| n.to_string()), any::<f64>().prop_map(|n| n.to_string()), Just("null".to_owned())], 6)) {
        let json = format!(
            r#"{{"type":"message_delta","usage":{{"input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"output_tokens":{},
            "cache_creation":{{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":{}}}}}}}"#,
            numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
        );
        let answer = read(json.as_bytes());
        prop_assert!(!answer.told.is_incredible() && !answer.otherwise.is_incredible());
    }
}

#[test]
fn each_block_that_calls_a_tool_counts_streamed_or_not() {
    let events = [
        r#"{"type":"message_start","message":{"id":"msg","content":[],"usage":{"input_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"mail","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"b","name":"mail","input":{}}}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"server_tool_use","id":"c","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"web_search_tool_result","tool_use_id":"c","content":[]}}"#,
    ];
    let expected = [("mail", 2), ("web_search", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(in_documents(&FORMAT, &events), expected);
    let whole = r#"{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"a","name":"mail","input":{}},
        {"type":"mcp_tool_use","id":"b","name":"pay","server_name":"s","input":{}},{"type":"document","name":"no","input":1}]}"#;
    let expected = [("mail", 1), ("pay", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(in_documents(&FORMAT, &[whole]), expected);
}
