use proptest::prelude::*;

use super::*;
use crate::api::ReportedUsage;
use crate::api::answer::called::in_documents;
use crate::api::bedrock::converse::FORMAT;

#[test]
fn an_answer_tells_classes_that_do_not_overlap_and_its_text() {
    let json = br#"{"metrics":{"latencyMs":1763},"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"a","signature":"zz"}}},
        {"text":"b"},{"toolUse":{"toolUseId":"t","name":"f","input":{"x":1}}},{"citationsContent":{"content":[{"text":"c"}]}}]}},
        "stopReason":"tool_use","usage":{"inputTokens":30,"outputTokens":628,"totalTokens":3658,"cacheReadInputTokens":2000,"cacheWriteInputTokens":1000,
        "cacheDetails":[{"ttl":"1h","inputTokens":400},{"ttl":"5m","inputTokens":600}]}}"#;
    let answer = read(json);
    let told = ReportedUsage {
        input: Some(30),
        cached_input: Some(2000),
        cache_write: Some(600),
        cache_write_1h: Some(400),
        output: Some(628),
        ..ReportedUsage::default()
    };
    assert_eq!(answer.told, told);
    assert_eq!(answer.text.concat(), r#"abf{"x":1}c"#);
}

#[test]
fn events_tell_their_part_with_or_without_their_names_around_them() {
    for (event, name, text) in [
        (r#"{"contentBlockIndex":0,"delta":{"text":"d\u00e9"},"p":"abcd"}"#, "contentBlockDelta", "dé"),
        (
            r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#,
            "contentBlockStart",
            "f",
        ),
        (
            r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"x\":"}}}"#,
            "contentBlockDelta",
            "{\"x\":",
        ),
        (r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"so"}}}"#, "contentBlockDelta", "so"),
        (
            r#"{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"zz"}}}"#,
            "contentBlockDelta",
            "",
        ),
    ] {
        let named = format!(r#"{{"{name}":{event}}}"#);
        assert_eq!(read(event.as_bytes()).text.concat(), text, "{event}");
        assert_eq!(read(named.as_bytes()).text.concat(), text, "{named}");
    }
    let usage = r#"{"metrics":{"latencyMs":9},"usage":{"inputTokens":4,"outputTokens":38,"totalTokens":42}}"#;
    for json in [usage.to_owned(), format!(r#"{{"metadata":{usage}}}"#)] {
        let told = read(json.as_bytes()).told;
        assert_eq!((told.input, told.output), (Some(4), Some(38)), "{json}");
    }
}

#[test]
fn caches_are_read_by_either_name_and_by_both() {
    let told = |members: &str| {
        let json = format!(r#"{{"usage":{{"inputTokens":1,"outputTokens":2,{members}}}}}"#);
        let told = read(json.as_bytes()).told;
        (told.cached_input, told.cache_write, told.cache_write_1h)
    };
    assert_eq!(
        told(r#""cacheReadInputTokenCount":5,"cacheWriteInputTokenCount":6"#),
        (Some(5), Some(6), Some(0))
    );
    assert_eq!(told(r#""cacheReadInputTokenCount":5,"cacheReadInputTokens":5"#), (Some(5), None, None));
    assert_eq!(
        told(r#""cacheWriteInputTokens":6,"cacheDetails":[{"ttl":"1h","inputTokens":99}]"#),
        (None, Some(0), Some(6))
    );
}

#[test]
fn odd_usage_is_told_from_no_usage() {
    let unreadable = |usage: &str| {
        let json = format!(r#"{{"usage":{usage}}}"#);
        let answer = read(json.as_bytes());
        assert!(answer.told.is_nothing(), "{usage}");
        answer.unreadable
    };
    assert!(!unreadable("null"));
    for odd in [
        "{}",
        "7",
        r#"{"inputTokens":-4,"outputTokens":1}"#,
        r#"{"inputTokens":1,"cacheReadInputTokens":true}"#,
        r#"{"inputTokens":1e300}"#,
    ] {
        assert!(unreadable(odd), "{odd}");
    }
}

#[test]
fn other_documents_say_nothing() {
    for json in [
        "",
        "null",
        "[]",
        r#"{"role":"assistant"}"#,
        r#"{"stopReason":"end_turn"}"#,
        r#"{"message":"Too many requests"}"#,
        r#"{"output":7,"delta":[],"start":"x"}"#,
        r#"{"output":{"message":{"content":"odd"}}}"#,
    ] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }
}

#[test]
fn a_tool_is_called_where_its_block_begins() {
    let events = [
        r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"a","name":"mail"}}}"#,
        r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"}}}"#,
        r#"{"contentBlockStart":{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"b","name":"mail"}}}}"#,
    ];
    assert_eq!(in_documents(&FORMAT, &events), [("mail".to_owned(), 2)]);
    let whole = r#"{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"toolUse":{"toolUseId":"a","name":"pay","input":{}}}]}}}"#;
    assert_eq!(in_documents(&FORMAT, &[whole]), [("pay".to_owned(), 1)]);
}
