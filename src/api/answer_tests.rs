use super::*;
use crate::api::FORMATS;
use crate::api::Usage;
use proptest::prelude::*;
use std::borrow::Cow;

struct Answered(&'static str, &'static str);

impl Head for Answered {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = match name {
            "content-type" => self.0,
            "content-encoding" => self.1,
            _ => return None,
        };
        Some(value.as_bytes().into())
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

const STREAM: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"Grüße\"}}],\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\r\r",
    "data: [DONE]\n\n",
);

fn read(hide: bool, content_type: &'static str, pieces: &[&[u8]]) -> (Vec<u8>, Reader) {
    let mut reader = Reader::new(FORMATS[0], &Answered(content_type, ""), hide);
    let mut passed = Vec::new();
    for piece in pieces {
        passed.extend(reader.feed(piece).unwrap_or_else(|| piece.to_vec()));
    }
    passed.extend(reader.finish().unwrap_or_default());
    (passed, reader)
}

fn usage(reader: &Reader) -> Option<(u64, u64)> {
    let told = reader.found().told;
    let usage = told.or(Usage::default());
    (!told.is_nothing()).then(|| (usage.all_input(), usage.all_output()))
}

fn streamed(hide: bool, pieces: &[&[u8]]) -> (String, Option<(u64, u64)>, String) {
    let (passed, reader) = read(hide, "text/event-stream; charset=utf-8", pieces);
    let usage = usage(&reader);
    (String::from_utf8(passed).unwrap(), usage, reader.found().text.clone())
}

#[test]
fn a_stream_passes_unchanged_and_tells_its_usage() {
    let (passed, usage, text) = streamed(false, &[STREAM.as_bytes()]);
    assert_eq!(passed, STREAM);
    assert_eq!(usage, Some((9, 3)));
    assert_eq!(text, "Grüße");
}

#[test]
fn only_the_chunk_that_was_asked_for_is_taken_out() {
    let (passed, usage, _) = streamed(true, &[STREAM.as_bytes()]);
    let without = STREAM
        .replace("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\r\r", "");
    assert_eq!(passed, without);
    assert_eq!(usage, Some((9, 3)));
}

#[test]
fn whole_events_are_passed_on_untouched_while_hiding() {
    let mut reader = Reader::new(FORMATS[0], &Answered("text/event-stream", ""), true);
    assert_eq!(reader.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"), None);
    assert_eq!(reader.feed(b"data: {\"choices\":[{\"del"), Some(vec![]));
    assert_eq!(
        reader.feed(b"ta\":{}}]}\n\n").as_deref(),
        Some(b"data: {\"choices\":[{\"delta\":{}}]}\n\n".as_slice())
    );
    assert_eq!(reader.feed(b"data: [DONE]\n\n"), None);
}

#[test]
fn an_event_too_large_to_be_the_usage_chunk_is_not_held_back() {
    let mut reader = Reader::new(FORMATS[0], &Answered("text/event-stream", ""), true);
    let large = vec![b'x'; hiding::LONGEST_HELD + 1];
    assert_eq!(reader.feed(&large), None);
}

#[test]
fn what_is_held_at_the_end_is_given_back() {
    let (passed, ..) = streamed(true, &[b"data: {\"choices\":[]", b",\"usage\":null"]);
    assert_eq!(passed, "data: {\"choices\":[],\"usage\":null");
}

#[test]
fn a_document_of_any_length_tells_its_usage() {
    let long = format!(
        r#"{{"choices":[{{"message":{{"content":"{}"}}}}],"usage":{{"prompt_tokens":5,"completion_tokens":6}}}}"#,
        "x".repeat(600_000)
    );
    let (passed, reader) = read(false, "application/json", &long.as_bytes().chunks(4096).collect::<Vec<_>>());
    assert_eq!(passed, long.as_bytes());
    assert_eq!(usage(&reader), Some((5, 6)));
}

#[test]
fn text_is_kept_up_to_a_bound_and_measured_beyond() {
    let chunk =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "y".repeat(100_000));
    let (_, reader) = read(false, "text/event-stream", &[chunk.as_bytes(); 4]);
    assert_eq!((reader.found().text.len(), reader.found().more_text), (200_000, 200_000));
}

#[test]
fn the_usage_of_several_prompts_is_their_sum_and_of_each_the_last_word_counts() {
    let llama = FORMATS.iter().copied().find(|format| format.name == "llama_completion").unwrap();
    let usage_of = |prompts: u64| {
        let mut reader = Reader::new(llama, &Answered("text/event-stream", ""), false);
        for predicted in 1..=3 {
            for index in 0..prompts {
                let event = format!(
                    "data: {{\"index\":{index},\"content\":\"\",\"tokens_evaluated\":10,\"tokens_predicted\":{predicted}}}\n\n"
                );
                reader.feed(event.as_bytes());
            }
        }
        usage(&reader).unwrap()
    };
    assert_eq!(usage_of(1), (10, 3));
    assert_eq!(usage_of(100), (1000, 300));
    // Prompts beyond the limit are overcounted rather than dropped.
    let (input, output) = usage_of(1100);
    assert!(input >= 11_000 && output >= 3_300, "{input} {output}");
}

#[test]
fn an_answer_in_an_unknown_coding_is_not_readable() {
    let mut reader = Reader::new(FORMATS[0], &Answered("application/json", "unheard-of"), true);
    assert_eq!(reader.feed(b"\x1f\x8b\x08"), None);
    assert!(!reader.found().readable);
    assert!(Reader::new(FORMATS[0], &Answered("", " Identity "), false).found().readable);
}

#[test]
fn a_content_type_that_lies_loses_no_usage() {
    let object = br#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
    assert_eq!(usage(&read(true, "text/event-stream", &[b"\n", object]).1), Some((5, 6)));
    assert_eq!(usage(&read(true, "application/json", &[STREAM.as_bytes()]).1), Some((9, 3)));
    assert_eq!(usage(&read(true, "application/x-ndjson", &[object, b"\n"]).1), Some((5, 6)));
}

proptest! {
    #[test]
    fn any_split_gives_the_same_usage_text_and_bytes(hide in any::<bool>(), mut cuts in prop::collection::vec(0..STREAM.len(), 0..10)) {
        cuts.extend([0, STREAM.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]).collect();
        prop_assert_eq!(streamed(hide, &pieces), streamed(hide, &[STREAM.as_bytes()]));
    }

    #[test]
    fn any_bytes_pass_unchanged_unless_hidden(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10), stream in any::<bool>()) {
        let kind = if stream { "text/event-stream" } else { "application/json" };
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read(true, kind, &slices).0, pieces.concat());
    }
}
