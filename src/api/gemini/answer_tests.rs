use super::*;
use crate::api::answer::called::in_documents;
use crate::api::gemini::FORMAT;
use crate::api::{ReportedUsage, Usage};
use proptest::prelude::*;

fn told(usage: &str) -> (ReportedUsage, bool) {
    let json = format!(r#"{{"candidates":[],"usageMetadata":{usage}}}"#);
    let answer = read(json.as_bytes());
    (answer.told, answer.unreadable)
}

fn usage(usage: &str) -> Usage {
    let (told, unreadable) = told(usage);
    assert!(!unreadable, "{usage}");
    told.or(Usage::default())
}

#[test]
fn classes_are_kept_apart() {
    let all = usage(
        r#"{"promptTokenCount":1000,"cachedContentTokenCount":600,"toolUsePromptTokenCount":50,"candidatesTokenCount":30,"thoughtsTokenCount":70,
            "totalTokenCount":1150,"promptTokensDetails":[{"modality":"TEXT","tokenCount":680},{"modality":"AUDIO","tokenCount":320}],
            "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":100},{"modality":"TEXT","tokenCount":500}],
            "candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":25},{"modality":"TEXT","tokenCount":5}],"trafficType":"ON_DEMAND"}"#,
    );
    let expected = Usage {
        input: 230,
        cached_input: 600,
        audio_input: 220,
        output: 5,
        audio_output: 25,
        reasoning: 70,
        ..Usage::default()
    };
    assert_eq!(all, expected);
}

#[test]
fn a_chunk_tells_only_the_classes_it_has() {
    let first = r#"{"promptTokenCount":4,"totalTokenCount":4}"#;
    let thinking = r#"{"promptTokenCount":4,"totalTokenCount":54,"thoughtsTokenCount":50}"#;
    let last = r#"{"promptTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":56}"#;
    assert_eq!((told(first).0.output, told(first).0.reasoning), (None, None));
    assert_eq!((told(thinking).0.output, told(thinking).0.reasoning), (None, Some(50)));
    let all =
        [first, thinking, last].iter().fold(ReportedUsage::default(), |sum, usage| sum.then(told(usage).0));
    let all = all.or(Usage::default());
    assert_eq!((all.input, all.output, all.reasoning), (4, 2, 50));
}

#[test]
fn a_chunk_that_tells_only_its_traffic_tells_nothing_and_is_not_odd() {
    for usage in [r#"{"trafficType":"ON_DEMAND"}"#, "{}", "null"] {
        assert_eq!(told(usage), (ReportedUsage::default(), false), "{usage}");
    }
}

#[test]
fn a_missing_side_is_what_the_total_leaves() {
    assert_eq!(told(r#"{"promptTokenCount":4,"totalTokenCount":9}"#).0.output, Some(5));
    assert_eq!(told(r#"{"candidatesTokenCount":4,"totalTokenCount":9}"#).0.input, Some(5));
    assert_eq!(told(r#"{"totalTokenCount":9}"#).0, ReportedUsage::default());
}

#[test]
fn a_refused_prompt_has_no_output() {
    let json = br#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9,"totalTokenCount":9}}"#;
    let answer = read(json);
    assert_eq!((answer.told.input, answer.told.output), (Some(9), Some(0)));
}

#[test]
fn parts_never_exceed_their_totals() {
    let odd = usage(
        r#"{"promptTokenCount":10,"cachedContentTokenCount":50,"candidatesTokenCount":3,"candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":99}]}"#,
    );
    assert_eq!((odd.all_input(), odd.all_output(), odd.audio_output), (10, 3, 3));
}

#[test]
fn odd_usage_is_told_from_no_usage() {
    assert_eq!(usage(r#"{"promptTokenCount":"7","candidatesTokenCount":2.5}"#).all_input(), 7);
    assert_eq!(usage(r#"{"promptTokenCount":7,"promptTokensDetails":[{"modality":5}]}"#).input, 7);
    for odd in [
        "7",
        r#"{"promptTokenCount":-1}"#,
        r#"{"thoughtsTokenCount":"many"}"#,
        r#"{"candidatesTokenCount":99999999999}"#,
        r#"{"promptTokenCount":1,"promptTokenCount":2}"#,
    ] {
        assert_eq!(told(odd), (ReportedUsage::default(), true), "{odd}");
    }
}

#[test]
fn all_that_the_model_writes_is_text() {
    let json = br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"a","thought":true},{"text":"b","thoughtSignature":"QUJD"},
        {"functionCall":{"id":"1","name":"c","args":{"d":1}}},{"executableCode":{"language":"PYTHON","code":"e"}},
        {"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"no"}},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]},"finishReason":"STOP"},
        {"content":{"parts":{"text":"f"}}}]}"#;
    assert_eq!(read(json).text.concat(), r#"abc{"d":1}ef"#);
}

#[test]
fn odd_candidates_do_not_hide_the_usage() {
    for candidates in ["7", "[7]", r#"[{"content":7}]"#, r#"[{"content":{"parts":[7]}}]"#] {
        let json = format!(r#"{{"candidates":{candidates},"usageMetadata":{{"promptTokenCount":5}}}}"#);
        assert_eq!(read(json.as_bytes()).told.input, Some(5), "{candidates}");
    }
}

#[test]
fn what_is_not_an_answer_says_nothing() {
    for json in ["", "[]", "null", r#"{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}"#, "{"] {
        assert_eq!(read(json.as_bytes()), Answer::default(), "{json}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_totals_stay_what_they_are(prompt in 0..1_000_000_u64, cached in 0..2_000_000_u64, tool in 0..9_u64, written in 0..1000_u64, thought in 0..1000_u64, sound in 0..2_000_000_u64) {
        let told = usage(&format!(
            r#"{{"promptTokenCount":{prompt},"cachedContentTokenCount":{cached},"toolUsePromptTokenCount":{tool},"candidatesTokenCount":{written},
                "thoughtsTokenCount":{thought},"promptTokensDetails":[{{"modality":"AUDIO","tokenCount":{sound}}}]}}"#
        ));
        prop_assert_eq!((told.all_input(), told.all_output()), (prompt + tool, written + thought));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }
}

#[test]
fn each_part_that_calls_a_function_counts() {
    let parts = [
        r#"{"text":"a"},{"functionCall":{"name":"mail","args":{"name":"no"}}},{"functionCall":{"name":"mail","args":{}}}"#,
        r#"{"functionCall":{"id":"x","name":"pay","willContinue":true}}"#,
        r#"{"functionCall":{"partialArgs":[{"jsonPath":"$.a","stringValue":"b"}],"willContinue":true}},{"functionCall":{}}"#,
    ];
    let chunks = parts.map(|parts| format!("{{\"candidates\":[{{\"content\":{{\"parts\":[{parts}]}}}}]}}"));
    let expected = [("mail", 2), ("pay", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(in_documents(&FORMAT, &chunks.each_ref().map(String::as_str)), expected);
}
