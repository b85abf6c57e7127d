use super::*;
use crate::api::openai::completions::{FORMAT as OPENAI, LLAMA};
use crate::api::outline::{outline, read_body};
use crate::api::{Format, Request, Unbounded, Usage};
use proptest::prelude::*;

const WHOLE: &str = r#"{"index":0,"content":" Hallo Welt","tokens":[],"stop":true,"tokens_predicted":7,"tokens_evaluated":30,
    "tokens_cached":36,"timings":{"cache_n":20,"prompt_n":10,"predicted_n":7}}"#;

fn usage(json: &str) -> Option<(u64, u64, u64)> {
    let answer = answer(json.as_bytes());
    let usage = answer.told.or(Usage::default());
    (!answer.told.is_nothing()).then_some((usage.input, usage.cached_input, usage.output))
}

fn read(body: &str) -> Request<'_> {
    read_body(LLAMA.read, body.as_bytes()).unwrap()
}

#[test]
fn a_whole_answer_tells_its_counts_and_its_text() {
    let answer = answer(WHOLE.as_bytes());
    assert_eq!((answer.text.concat().as_str(), answer.part), (" Hallo Welt", Some(0)));
    assert_eq!(usage(WHOLE), Some((10, 20, 7)), "what is cached is part of what was evaluated");
    assert!(!answer.only_usage);
}

#[test]
fn an_event_tells_the_counts_so_far() {
    let event = r#"{"index":2,"content":" Hallo","tokens":[1],"stop":false,"tokens_predicted":3,"tokens_evaluated":30}"#;
    assert_eq!(usage(event), Some((30, 0, 3)));
    assert_eq!(answer(event.as_bytes()).part, Some(2));
    let older = r#"{"content":" Hallo","stop":false}"#;
    assert_eq!((usage(older), answer(older.as_bytes()).text.concat().as_str()), (None, " Hallo"));
}

#[test]
fn timings_stand_for_counts_that_are_not_there() {
    let json = r#"{"content":"","timings":{"cache_n":1,"prompt_n":2,"predicted_n":3}}"#;
    assert_eq!(usage(json), Some((2, 1, 3)));
    assert_eq!(usage(r#"{"content":"","tokens_predicted":0}"#), Some((0, 0, 0)));
}

#[test]
fn counts_that_are_nonsense_are_not_believed() {
    for odd in ["-1", "\"many\"", "[7]", "true", "{}"] {
        let answer = format!(r#"{{"content":"a","tokens_predicted":{odd},"tokens_evaluated":1}}"#);
        let answer = super::answer(answer.as_bytes());
        assert!(answer.unreadable && answer.told.is_nothing() && answer.text.concat() == "a", "{odd}");
    }
    for nothing in ["", "[]", "null", "{}", r#"{"error":{"message":"no"}}"#, r#"{"content":7}"#] {
        assert_eq!(answer(nothing.as_bytes()), Answer::default(), "{nothing}");
    }
}

#[test]
fn both_dialects_are_read_on_the_path_that_they_share() {
    for format in [&LLAMA, &OPENAI] {
        let answer = (format.answer)(WHOLE.as_bytes());
        assert_eq!((answer.told.output, answer.text.concat().as_str()), (Some(7), " Hallo Welt"));
        let openai = br#"{"choices":[{"text":"a"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let answer = (format.answer)(openai);
        assert_eq!((answer.told.output, answer.text.concat().as_str()), (Some(2), "a"));
    }
}

#[test]
fn the_bound_is_the_one_that_the_server_goes_by_or_a_higher_one() {
    let bound = |body: &str| read(body).max_output;
    assert_eq!(bound(r#"{"prompt":"a","n_predict":10}"#), Some(10));
    assert_eq!(bound(r#"{"prompt":"a","max_tokens":10}"#), Some(10));
    assert_eq!(bound(r#"{"prompt":["a",[1,"b"]],"n_predict":10,"n_cmpl":3}"#), Some(60));
    assert_eq!(bound(r#"{"prompt":"a","n_predict":-1,"max_tokens":10}"#), None, "negative is no bound");
    assert_eq!(bound(r#"{"prompt":"a","n_predict":10,"max_tokens":20}"#), Some(20));
    assert_eq!(bound(r#"{"prompt":"a","n_predict":null,"max_tokens":20}"#), Some(20));
    assert_eq!(bound(r#"{"prompt":"a"}"#), None);
}

#[test]
fn the_member_that_is_there_is_lowered() {
    let bounded = |format: &Format, body: &str| {
        let edits = (format.with_max_output)(&outline(body), None, 9)?;
        Ok::<_, Unbounded>(String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap())
    };
    for (body, expected) in [
        (r#"{"n_predict": 50}"#, r#"{"n_predict": 9}"#),
        (r#"{"n_predict": -1}"#, r#"{"n_predict": 9}"#),
        (r#"{"n_predict": 5}"#, r#"{"n_predict": 5}"#),
        (r#"{"max_tokens":50}"#, r#"{"max_tokens":9}"#),
        (r#"{"n_predict":-1,"max_tokens":50}"#, r#"{"n_predict":9,"max_tokens":9}"#),
        (r#"{"n_predict":50,"max_tokens":5}"#, r#"{"n_predict":9,"max_tokens":5}"#),
    ] {
        for format in [&LLAMA, &OPENAI] {
            assert_eq!(bounded(format, body).as_deref(), Ok(expected));
        }
    }
    assert_eq!(bounded(&LLAMA, "{}").as_deref(), Ok(r#"{"n_predict":9}"#));
    assert_eq!(bounded(&OPENAI, "{}").as_deref(), Ok(r#"{"max_tokens":9}"#));
}

#[test]
fn all_that_surrounds_the_gap_is_read() {
    let body = r#"{"input_extra":[{"filename":"a.rs","text":"fn a() {}"}],"input_prefix":"fn b() {","input_suffix":"}","prompt":" "}"#;
    let texts = ["a.rs", "fn a() {}", "fn b() {", "}", " "].map(|text| Piece::Text(text.into()));
    assert_eq!(read(body).prompt.0, texts);
}

#[test]
fn counts_stay_in_an_answer_of_which_the_client_wants_other_members() {
    let asked = |body: &str| {
        let edit = (LLAMA.ask_for_usage)(&outline(body), "")?;
        String::from_utf8(Edit::apply_all(&[edit], body.as_bytes())).ok()
    };
    assert_eq!(
        asked(r#"{"response_fields": ["tokens"]}"#).as_deref(),
        Some(r#"{"response_fields": ["tokens_evaluated","tokens_predicted","tokens"]}"#)
    );
    assert_eq!(
        asked(r#"{"response_fields":["tokens_predicted", "stop"]}"#).as_deref(),
        Some(r#"{"response_fields":["tokens_evaluated","tokens_predicted", "stop"]}"#)
    );
    for body in [
        r#"{"prompt":"a"}"#,
        r#"{"response_fields":null}"#,
        r#"{"response_fields":[]}"#,
        r#"{"response_fields":"tokens"}"#,
        r#"{"response_fields":["tokens_predicted","tokens_evaluated"]}"#,
        r#"{"prompt":"a","stream":true}"#,
    ] {
        assert_eq!(asked(body), None, "{body}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), value in "[\\[\\]{}\",:0-9a-z. -]{0,30}") {
        let _ = (read_body(LLAMA.read, &bytes), answer(&bytes));
        let body = format!("{{\"prompt\":{value},\"input_extra\":{value},\"response_fields\":{value},\"timings\":{value}}}");
        let _ = (read_body(LLAMA.read, body.as_bytes()), answer(body.as_bytes()));
    }
}
