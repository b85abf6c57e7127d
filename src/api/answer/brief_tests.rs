use super::*;
use crate::api::FORMATS;
use crate::api::answer::{Expected, Found, Framing, Reader};
use crate::identity::Head;
use proptest::prelude::*;
use proptest::sample::Index;
use std::borrow::Cow;

struct Json;

impl Head for Json {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "content-type").then_some(b"application/json".into())
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

fn formats() -> Vec<&'static Format> {
    FORMATS.iter().copied().filter(|format| format.written.is_some()).collect()
}

/// Reads an answer in pieces, briefly if possible, or always in full.
fn read_pieces<'p>(
    format: &'static Format,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    in_full: bool,
    cut: bool,
) -> Reader {
    let mut reader = Reader::new(format, &Json, false);
    if in_full {
        reader.framing = Framing::Expected(Expected::Objects { keep: false });
    }
    for piece in pieces {
        assert_eq!(reader.feed(piece), None);
    }
    if !cut {
        assert_eq!(reader.finish(), None);
    }
    reader.cut();
    reader
}

/// Asserts that both found the same, as far as an answer with a known output needs it.
fn assert_same(found: &Found, full: &Found, told: &str) {
    assert_eq!(found.told, full.told, "{told}");
    assert_eq!(found.tools, full.tools, "{told}");
    let flags =
        |found: &Found| (found.unreadable, found.pending, found.readable, found.is_stream, found.understood);
    assert_eq!(flags(found), flags(full), "{told}");
    assert_eq!((found.bytes, found.unread), (full.bytes, full.unread), "{told}");
    if !full.told.tells(Side::Output) {
        assert_eq!((&found.text, found.more_text), (&full.text, full.more_text), "{told}");
        assert_eq!(found.strays().collect::<Vec<_>>(), full.strays().collect::<Vec<_>>(), "{told}");
    }
}

/// Members of all formats, in their usual and in odd forms.
const MEMBERS: &[&str] = &[
    r#""id":"a \"usage\": {\"prompt_tokens\":1,\"completion_tokens\":1}}","#,
    r#""object":"chat.completion","error":null"#,
    r#""type":"message""#,
    r#""type":"response.completed""#,
    r#""status":"in_progress""#,
    r#""status":"completed""#,
    r#""metadata":{"usage":{"prompt_tokens":7,"completion_tokens":7},"tool_calls":[1]}"#,
    r#""parallel_tool_calls":true"#,
    r#""choices":[{"index":0,"message":{"role":"assistant","content":"Hi \\\"usage\\\":{","tool_calls":[ ] , "function_call" : null}}]"#,
    r#""choices":[{"message":{"content":"a","tool_calls":[{"id":"c","function":{"name":"mail","arguments":"{}"}}]}}]"#,
    r#""choices":[{"message":{"tool\u005fcalls":[{"id":"c","function":{"name":"mail"}}]}}]"#,
    r#""choices":[{"message":{"function_call":{"name":"pay","arguments":"{}"}}},{"text":"b"}]"#,
    r#""choices":[{"message":{"content":"tab	tab"}}]"#,
    r#""choices":{"0":[1e999,-0.5E-3,true]}"#,
    r#""choices":[]"#,
    r#""choices":null"#,
    r#""choices" : [{"delta":{"content":"c"}}],"x_groq":{"usage":{"prompt_tokens":2,"completion_tokens":2}}"#,
    r#""cho\u0069ces":[{"message":{"content":"c"}}]"#,
    r#""output":[{"type":"message","content":[{"type":"output_text","text":"d"}]}]"#,
    r#""output":[{"type":"function_call","call_id":"c","name":"mail","arguments":"{}"},{"type":"web_search_call","id":"w"}]"#,
    r#""output":[{"type":"function\u005fcall","call_id":"c","name":"mail"}]"#,
    r#""output":{"message":{"role":"assistant","content":[{"text":"e"},{"toolUse":{"toolUseId":"t","name":"mail","input":{}}}]}}"#,
    r#""output":{"message":{"content":[{"text":"e"}]}}"#,
    r#""content":[{"type":"text","text":"f"}]"#,
    r#""content":[{"type":"tool_use","id":"t","name":"mail","input":{}}]"#,
    r#""content":"f""#,
    r#""content_block":{"type":"tool_use","name":"pay"}"#,
    r#""delta":{"text":"g","usage":{"tokens":{"input_tokens":4,"output_tokens":4}}}"#,
    r#""candidates":[{"content":{"parts":[{"text":"h"},{"functionCall":{"name":"mail","args":{}}}]}}]"#,
    r#""candidates":[{"content":{"parts":[{"text":"h"}]},"finishReason":"STOP"}]"#,
    r#""promptFeedback":{"blockReason":"SAFETY"}"#,
    r#""message":{"role":"assistant","content":"i","usage":{"input_tokens":6,"output_tokens":6}}"#,
    r#""message":{"content":[{"type":"text","text":"i"}],"tool_calls":[{"function":{"name":"mail","arguments":{}}}]}"#,
    r#""response":"j","thinking":"k""#,
    r#""done_reason":"stop","prompt_eval_count":5,"eval_count":6"#,
    r#""done_reason":"load""#,
    r#""eval_count":-1"#,
    r#""usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#,
    r#""usage":{"prompt_tokens":9,"completion_tokens":3},"usage":{"prompt_tokens":1,"completion_tokens":2}"#,
    r#""usage":{"prompt_tokens":9}"#,
    r#""usage":{"prompt_tokens":-9,"completion_tokens":3}"#,
    r#""us\u0061ge":{"prompt_tokens":8,"completion_tokens":8}"#,
    r#""usage":{"input_tokens":10,"output_tokens":20,"cache_read_input_tokens":3}"#,
    r#""usage":{"inputTokens":30,"outputTokens":62,"totalTokens":92}"#,
    r#""usage":{"billed_units":{"input_tokens":5,"output_tokens":7},"tokens":{"input_tokens":50,"output_tokens":7}}"#,
    r#""usage":null"#,
    r#""usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":7,"totalTokenCount":11}"#,
];

/// Bytes that break an answer, or change its meaning.
const DAMAGE: &[&str] =
    &["", "\"", "\\", "{", "}", "[", "]", ",", ":", "\n", " ", "\t", "\u{0}", "null", "{}", "\\u00", "x"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_brief_reading_finds_what_a_full_one_finds(
        format in prop::sample::select(formats()),
        members in prop::collection::vec(prop::sample::select(MEMBERS), 0..7),
        (before, after) in (prop::sample::select(&["", " ", "\n", "[", "data: "][..]), prop::sample::select(&["", "\r\n", "{}", "]", "x"][..])),
        damage in prop::option::weighted(0.3, (any::<Index>(), 0..3_usize, prop::sample::select(DAMAGE))),
        invalid in prop::option::weighted(0.05, any::<Index>()),
        end in prop::option::weighted(0.2, any::<Index>()),
        cuts in prop::collection::vec(any::<Index>(), 0..4),
        cut in prop::bool::weighted(0.1),
    ) {
        let mut body = format!("{before}{{{}}}{after}", members.join(",")).into_bytes();
        if let Some((at, len, bytes)) = damage {
            let at = at.index(body.len());
            body.splice(at..(at + len).min(body.len()), bytes.bytes());
        }
        if let Some(at) = invalid.filter(|_| !body.is_empty()) {
            let at = at.index(body.len());
            body[at] = 0xff;
        }
        if let Some(end) = end {
            body.truncate(end.index(body.len() + 1));
        }
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.extend([0, body.len()]);
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|place| &body[place[0]..place[1]]).collect();
        let full = read_pieces(format, [&body[..]], true, cut);
        let found = read_pieces(format, pieces, false, cut);
        assert_same(found.found(), full.found(), &format!("{format:?}: {}", String::from_utf8_lossy(&body)));
    }
}

#[test]
fn every_two_members_are_found_as_a_full_reading_finds_them() {
    for format in formats() {
        for (first, second) in
            MEMBERS.iter().flat_map(|first| MEMBERS.iter().map(move |second| (first, second)))
        {
            let body = format!("{{{first},{second}}}");
            let full = read_pieces(format, [body.as_bytes()], true, false);
            let found = read_pieces(format, [body.as_bytes()], false, false);
            assert_same(found.found(), full.found(), &format!("{format:?}: {body}"));
        }
    }
}

/// Returns an ordinary answer without calls of tools.
fn ordinary(format: &Format) -> &'static str {
    match format.name {
        "openai_chat" => {
            r#"{"id":"c","choices":[{"message":{"role":"assistant","content":"a","tool_calls":[ ] , "function_call" : null}}],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#
        }
        "openai_responses" => {
            r#"{"parallel_tool_calls":true,"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":9,"output_tokens":3}}"#
        }
        "anthropic_messages" => {
            r#"{"type":"message","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":9,"output_tokens":3}}"#
        }
        "bedrock_converse" => {
            r#"{"output":{"message":{"content":[{"text":"a"}]}},"usage":{"inputTokens":9,"outputTokens":3,"totalTokens":12}}"#
        }
        "gemini" => {
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3}}"#
        }
        "cohere_chat" => {
            r#"{"message":{"role":"assistant","content":[{"type":"text","text":"a"}]},"usage":{"tokens":{"input_tokens":9,"output_tokens":3}}}"#
        }
        "ollama_chat" => r#"{"message":{"content":"a"},"prompt_eval_count":9,"eval_count":3}"#,
        "ollama_generate" => r#"{"response":"a","prompt_eval_count":9,"eval_count":3}"#,
        name => panic!("{name} has no ordinary answer here"),
    }
}

#[test]
fn ordinary_answers_are_read_briefly() {
    for format in formats() {
        let body = ordinary(format);
        assert!(read(format, body.as_bytes()).is_some(), "{format:?}: {body}");
        let reader = read_pieces(format, body.as_bytes().chunks(7), false, false);
        assert_eq!(reader.found().text, "", "{format:?}");
    }
}

#[test]
fn an_answer_that_names_a_member_twice_is_read_in_full() {
    for format in formats() {
        let members = ordinary(format).strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
        let twice = format!("{{{members},{members}}}");
        assert!(read(format, twice.as_bytes()).is_none(), "{twice}");
        let names = format.written.unwrap().members.iter();
        let written = names.copied().find(|name| members.contains(&format!("\"{name}\":"))).unwrap();
        let twice = format!("{{\"{written}\":null,{members}}}");
        assert!(read(format, twice.as_bytes()).is_none(), "{twice}");
    }
}

#[test]
fn an_answer_that_is_cut_off_or_may_have_to_be_stopped_is_read_in_full() {
    for format in formats() {
        let body = ordinary(format);
        let reader = read_pieces(format, [body.as_bytes()], false, true);
        assert_ne!(reader.found().text, "", "{format:?}");
        let mut reader = Reader::new(format, &Json, false);
        if reader.prepare_ending() {
            reader.feed(body.as_bytes());
            assert_ne!(reader.found().text, "", "{format:?}");
        }
    }
}

#[test]
fn an_answer_too_long_to_keep_is_read_in_full_and_no_more_of_it_is_kept() {
    let format = formats()[0];
    let long = format!(r#"{{"created":[{}0],{}"#, "1,".repeat(LONGEST_KEPT), &ordinary(format)[1..]);
    let mut reader = Reader::new(format, &Json, false);
    for piece in long.as_bytes().chunks(1000) {
        reader.feed(piece);
        assert!(reader.framing.kept().is_none_or(|body| body.len() <= LONGEST_KEPT));
    }
    reader.finish();
    let full = read_pieces(format, [long.as_bytes()], true, false);
    assert_same(reader.found(), full.found(), "a long answer");
    assert!(reader.found().told.tells(Side::Output));
}
