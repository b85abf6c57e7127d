use proptest::prelude::*;

use super::*;
use crate::api::Usage;
use crate::api::answer::called::in_documents;
use crate::api::openai::responses::FORMAT;

fn usage(json: &str) -> Option<Usage> {
    let told = read(json.as_bytes()).told;
    (!told.is_nothing()).then(|| told.or(Usage::default()))
}

fn text_of(json: &str) -> String {
    read(json.as_bytes()).text.concat()
}

const USAGE: &str = r#"{"input_tokens":37,"input_tokens_details":{"cached_tokens":16},"output_tokens":11,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":48}"#;

#[test]
fn a_whole_response_gives_its_usage_and_all_that_was_written() {
    let json = format!(
        r#"{{"status":"completed","output":[{{"type":"reasoning","summary":[{{"type":"summary_text","text":"a"}}]}},
        {{"type":"function_call","name":"b","arguments":"c"}},{{"type":"custom_tool_call","name":"d","input":"e"}},
        {{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"f"}},{{"type":"refusal","refusal":"g"}}]}}],"usage":{USAGE}}}"#
    );
    assert_eq!(text_of(&json), "abcdefg");
    let expected = Usage { input: 21, cached_input: 16, output: 7, reasoning: 4, ..Usage::default() };
    assert_eq!(usage(&json), Some(expected));
}

#[test]
fn every_last_event_tells_usage_and_repeats_no_text() {
    for kind in ["completed", "incomplete", "failed"] {
        let json = format!(
            r#"{{"type":"response.{kind}","response":{{"status":"{kind}","output":[{{"type":"message","content":[{{"text":"again"}}]}}],"usage":{USAGE}}}}}"#
        );
        assert_eq!(usage(&json).unwrap().all_output(), 11, "{kind}");
        assert_eq!(text_of(&json), "", "{kind}");
        assert!(!read(json.as_bytes()).pending, "{kind}");
    }
    let without = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error"},"usage":null}}"#;
    assert_eq!(read(without.as_bytes()), Answer::default());
}

#[test]
fn deltas_are_text_and_nothing_else_is() {
    for kind in [
        "output_text",
        "refusal",
        "function_call_arguments",
        "custom_tool_call_input",
        "mcp_call_arguments",
        "code_interpreter_call_code",
        "reasoning_text",
        "reasoning_summary_text",
    ] {
        let json = format!(r#"{{"type":"response.{kind}.delta","delta":"é","obfuscation":"zzzz"}}"#);
        assert_eq!(text_of(&json), "é", "{kind}");
    }
    for json in [
        r#"{"type":"response.output_text.done","text":"again"}"#,
        r#"{"type":"response.function_call_arguments.done","name":"f","arguments":"again"}"#,
        r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"f","arguments":"again"}}"#,
        r#"{"type":"response.output_audio.delta","delta":"UklGRg=="}"#,
        r#"{"type":"response.output_text.delta","delta":{"odd":1}}"#,
        r#"{"type":"error","code":"server_error","message":"no"}"#,
    ] {
        let answer = Answer { tools: vec![], ..read(json.as_bytes()) };
        assert_eq!(answer, Answer::default(), "{json}");
    }
    let added =
        r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}"#;
    assert_eq!(text_of(added), "f");
}

#[test]
fn what_is_yet_to_be_made_is_pending() {
    let pending = |json: &str| read(json.as_bytes()).pending;
    assert!(pending(r#"{"status":"queued","background":true,"output":[],"usage":null}"#));
    assert!(pending(r#"{"type":"response.in_progress","response":{"status":"in_progress","usage":null}}"#));
    assert!(!pending(r#"{"status":"completed","output":[],"usage":null}"#));
    assert!(!pending(&format!(r#"{{"status":"in_progress","usage":{USAGE}}}"#)));
    assert!(!pending(r#"{"type":"response.output_text.delta","delta":"a"}"#));
}

#[test]
fn odd_usage_is_told_from_no_usage() {
    for odd in [r#"{"input_tokens":-1,"output_tokens":2}"#, "{}", "7", r#"{"input_tokens":1e300}"#] {
        let json = format!(r#"{{"type":"response.completed","response":{{"usage":{odd}}}}}"#);
        assert!(read(json.as_bytes()).unreadable, "{odd}");
    }
    for json in ["", "[DONE]", "null", "[]", r#"{"response":7}"#, r#"{"type":7}"#] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), value in "[\\[\\]{}\",:0-9a-z. -]{0,30}") {
        let _ = read(&bytes);
        let _ = read(format!("{{\"output\":{value},\"usage\":{value}}}").as_bytes());
        let _ = read(format!("{{\"type\":\"response.x.delta\",\"delta\":{value},\"response\":{value},\"item\":{value}}}").as_bytes());
    }
}

#[test]
fn a_call_counts_once_though_a_stream_says_it_three_times() {
    let item = r#"{"id":"fc_1","type":"function_call","status":"completed","arguments":"{}","call_id":"call_1","name":"mail"}"#;
    let events = [
        r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"mail","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":0,"name":"mail","arguments":"{}"}"#,
        &format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#),
        &format!(r#"{{"type":"response.completed","response":{{"output":[{item}],"status":"completed"}}}}"#),
    ];
    assert_eq!(in_documents(&FORMAT, &events), [("mail".to_owned(), 1)]);
}

#[test]
fn every_kind_of_call_counts_and_nothing_else_does() {
    let whole = r#"{"object":"response","output":[{"type":"reasoning","id":"r"},{"type":"message","id":"m","content":[]},
        {"type":"function_call","id":"1","call_id":"a","name":"mail"},{"type":"function_call","id":"2","call_id":"b","name":"mail"},
        {"type":"custom_tool_call","id":"3","name":"sql"},{"type":"mcp_call","id":"4","name":"pay"},{"type":"mcp_list_tools","id":"5","tools":[{"name":"x"}]},
        {"type":"web_search_call","id":"6"},{"type":"function_call","id":"7"},{"type":"function_call_output","call_id":"a","name":"y"}]}"#;
    let expected = [("mail", 2), ("pay", 1), ("sql", 1), ("web_search", 1)];
    assert_eq!(in_documents(&FORMAT, &[whole]), expected.map(|(name, count)| (name.to_owned(), count)));
}

#[test]
fn a_call_whose_name_comes_at_its_end_counts() {
    let events = [
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","name":""}}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","name":"mail"}}"#,
        r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","name":"mail"}}"#,
    ];
    assert_eq!(in_documents(&FORMAT, &events), [("mail".to_owned(), 2)]);
}
