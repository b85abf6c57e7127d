use super::*;
use crate::api::answer::called::in_documents;
use crate::api::cohere::chat::FORMAT;
use crate::api::{ReportedUsage, Usage};
use proptest::prelude::*;

fn told(usage: &str) -> (ReportedUsage, bool) {
    let json = format!(r#"{{"type":"message-end","delta":{{"finish_reason":"COMPLETE","usage":{usage}}}}}"#);
    let answer = read(json.as_bytes());
    (answer.told, answer.unreadable)
}

#[test]
fn a_whole_answer_gives_usage_and_all_that_was_written() {
    let json = br#"{"id":"1","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"a","tool_calls":[{"id":"x","type":"function",
        "function":{"name":"b","arguments":"{}"}}],"content":[{"type":"thinking","thinking":"c"},{"type":"text","text":"d"}],
        "citations":[{"start":0,"end":1,"text":"no"}]},"usage":{"billed_units":{"input_tokens":5.0,"output_tokens":2.0},
        "tokens":{"input_tokens":71.0,"output_tokens":12.0},"cached_tokens":64.0}}"#;
    let answer = read(json);
    assert_eq!(answer.text.concat(), "ab{}cd");
    let expected = Usage { input: 7, cached_input: 64, output: 12, ..Usage::default() };
    assert_eq!(answer.told.or(Usage::default()), expected);
}

#[test]
fn events_give_their_deltas_and_the_last_one_the_usage() {
    let texts = [
        r#"{"type":"message-start","id":"1","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
        r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I will "}}}"#,
        r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"x","type":"function","function":{"name":"f","arguments":""}}}}}"#,
        r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#,
        r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"t"}}}}"#,
        r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"u"}}}}"#,
        r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":1,"text":"no"}}}}"#,
    ];
    let answers: Vec<_> = texts.iter().map(|event| read(event.as_bytes())).collect();
    assert_eq!(answers.iter().flat_map(|answer| answer.text.clone()).collect::<String>(), "I will f{}tu");
    assert!(answers.iter().all(|answer| answer.told.is_nothing() && !answer.unreadable));
}

#[test]
fn tokens_come_before_what_is_billed() {
    let (billed, _) = told(r#"{"billed_units":{"input_tokens":5,"output_tokens":2}}"#);
    assert_eq!((billed.input, billed.output), (Some(5), Some(2)));
    let (both, _) =
        told(r#"{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":9.2}}"#);
    assert_eq!((both.input, both.output), (Some(10), Some(2)));
}

#[test]
fn odd_usage_is_told_from_no_usage() {
    for nothing in ["null", "{}", r#"{"billed_units":{"search_units":1}}"#, r#"{"tokens":null}"#] {
        assert_eq!(told(nothing), (ReportedUsage::default(), false), "{nothing}");
    }
    for odd in [
        "7",
        r#"{"tokens":{"input_tokens":-1}}"#,
        r#"{"tokens":{"output_tokens":"many"}}"#,
        r#"{"tokens":7}"#,
    ] {
        assert_eq!(told(odd), (ReportedUsage::default(), true), "{odd}");
    }
}

#[test]
fn what_is_not_an_answer_says_nothing() {
    for json in ["", "[DONE]", "null", "{", r#"{"message":"invalid api token"}"#, r#"{"delta":7}"#] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }
}

#[test]
fn a_tool_is_called_where_its_call_starts() {
    let events = [
        r#"{"type":"tool-call-start","index":0,"delta":{"message":{"tool_calls":{"id":"a","type":"function","function":{"name":"mail","arguments":""}}}}}"#,
        r#"{"type":"tool-call-delta","index":0,"delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#,
        r#"{"type":"tool-call-end","index":0}"#,
        r#"{"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"b","type":"function","function":{"name":"mail","arguments":""}}}}}"#,
    ];
    assert_eq!(in_documents(&FORMAT, &events), [("mail".to_owned(), 2)]);
    let whole = r#"{"id":"1","message":{"tool_calls":[{"id":"a","type":"function","function":{"name":"pay","arguments":"{}"}}]}}"#;
    assert_eq!(in_documents(&FORMAT, &[whole]), [("pay".to_owned(), 1)]);
}
