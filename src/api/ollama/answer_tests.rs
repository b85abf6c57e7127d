use super::*;
use crate::api::answer::called::in_documents;
use crate::api::ollama::CHAT;
use proptest::prelude::*;

fn told(members: &str) -> (ReportedUsage, bool) {
    let json = format!(r#"{{"model":"llama3.2","done":true,{members}}}"#);
    let answer = read(json.as_bytes());
    (answer.told, answer.unreadable)
}

#[test]
fn lines_give_their_text_and_the_last_one_the_counts() {
    let lines = [
        r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"a"},"done":false}"#,
        r#"{"model":"m","message":{"role":"assistant","content":"b","tool_calls":[{"function":{"index":0,"name":"c","arguments":{"d": 1}}}]},"done":false}"#,
        r#"{"model":"m","response":"f","thinking":"e","done":false}"#,
        r#"{"model":"m","message":{"role":"assistant","content":""},"done_reason":"stop","done":true,"prompt_eval_count":26,"eval_count":282}"#,
    ];
    let answers: Vec<_> = lines.iter().map(|line| read(line.as_bytes())).collect();
    let text: String = answers.iter().flat_map(|answer| answer.text.clone()).collect();
    assert_eq!(text, r#"abc{"d": 1}ef"#);
    assert!(answers[..3].iter().all(|answer| answer.told.is_nothing() && !answer.unreadable));
    assert_eq!((answers[3].told.input, answers[3].told.output), (Some(26), Some(282)));
}

#[test]
fn a_prompt_still_in_memory_is_not_told() {
    let (told, _) = told(r#""eval_count":5"#);
    assert_eq!((told.input, told.output), (None, Some(5)));
}

#[test]
fn loading_a_model_uses_nothing() {
    for reason in ["load", "unload"] {
        let (told, _) = told(&format!(r#""response":"","done_reason":"{reason}""#));
        assert_eq!((told.input, told.output), (Some(0), Some(0)), "{reason}");
    }
    assert_eq!(told(r#""done_reason":"stop""#), (ReportedUsage::default(), false));
}

#[test]
fn odd_counts_are_unreadable() {
    for odd in [
        r#""eval_count":-1"#,
        r#""prompt_eval_count":"many""#,
        r#""eval_count":99999999999"#,
        r#""eval_count":1,"eval_count":2"#,
    ] {
        assert_eq!(told(odd), (ReportedUsage::default(), true), "{odd}");
    }
}

#[test]
fn odd_texts_do_not_hide_the_counts() {
    for odd in [r#""message":7"#, r#""message":{"tool_calls":[7,{"function":7}]}"#, r#""response":{}"#] {
        assert_eq!(told(&format!(r#"{odd},"eval_count":5"#)).0.output, Some(5), "{odd}");
    }
}

#[test]
fn what_is_not_an_answer_says_nothing() {
    for json in ["", "null", "{", r#"{"error":"model 'x' not found"}"#, r#"{"embedding":[0.1]}"#] {
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
fn lines_name_each_call_whole() {
    let lines = [
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":0,"name":"mail","arguments":{}}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":1,"name":"mail","arguments":{}}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":true}"#,
    ];
    assert_eq!(in_documents(&CHAT, &lines), [("mail".to_owned(), 2)]);
}
