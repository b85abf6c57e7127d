use super::*;
use crate::api::Image;
use crate::api::outline::read_body;
use proptest::prelude::*;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

/// The header of an image of 320 by 240 pixels.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAUAAAADwCAYAAAA=";

fn pieces(body: &str) -> Vec<Piece<'_>> {
    read(body.as_bytes()).unwrap().prompt.0
}

/// Returns the pieces of the one part of a request.
fn part(part: &str) -> Vec<Piece<'static>> {
    let body = format!(r#"{{"contents":[{{"role":"user","parts":[{part}]}}]}}"#);
    // Leaked, so that a test can state its expectation in one line.
    pieces(Box::leak(body.into_boxed_str())).split_off(1)
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(Cow::Borrowed(text))
}

fn picture(low_detail: bool) -> Piece<'static> {
    Piece::Image(Image { size: Some((320, 240)), low_detail })
}

#[test]
fn instructions_turns_and_schemas_become_frames_and_texts() {
    let body = r#"{"systemInstruction":{"parts":[{"text":"Be br\u00e8f."}]},
        "contents":[{"role":"user","parts":[{"text":"a"},{"text":"b"}]},{"role":"model","parts":[{"text":"c","thought":true,"thoughtSignature":"QUJD"}]}],
        "generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"STRING"}}}"#;
    let expected = [
        Piece::Message,
        text("Be brèf."),
        Piece::Message,
        text("a"),
        text("b"),
        Piece::Message,
        text("c"),
        text(r#"{"type":"STRING"}"#),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn both_spellings_and_lists_of_one_without_brackets_are_read() {
    let body = r#"{"system_instruction":{"parts":{"text":"s"}},"contents":{"parts":{"text":"u"}},"tools":{"function_declarations":{"name":"f"}},
        "generation_config":{"max_output_tokens":"7","candidate_count":2,"response_json_schema":{}},"cached_content":"cachedContents/1"}"#;
    let request = read(body.as_bytes()).unwrap();
    let texts =
        request.prompt.0.iter().filter(|piece| matches!(piece, Piece::Text(_) | Piece::Function(_))).count();
    assert_eq!((texts, request.max_output, request.more_input), (4, Some(14), true));
}

#[test]
fn a_member_in_both_spellings_is_ambiguous() {
    for (body, member) in [
        (r#"{"contents":[],"systemInstruction":{},"system_instruction":null}"#, "systemInstruction"),
        (r#"{"contents":[],"generationConfig":{},"generation_config":{}}"#, "generationConfig"),
        (r#"{"contents":[],"cachedContent":"a","cached_content":"b"}"#, "cachedContent"),
        (
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
            "maxOutputTokens",
        ),
        (
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}"#,
            "maxOutputTokens",
        ),
        (r#"{"contents":[],"contents":[]}"#, "contents"),
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Ambiguous { member }), "{body}");
    }
}

#[test]
fn media_in_a_request_has_its_size_by_its_kind() {
    let inline = |kind: &str, data: &str| {
        part(&format!(r#"{{"inlineData":{{"mimeType":"{kind}","data":"{data}"}}}}"#))
    };
    assert_eq!(inline("image/png", PNG), [picture(false)]);
    assert_eq!(inline("audio/mp3", "AAAAAAAA"), [Piece::Audio { bytes: 6, raw: false }]);
    assert_eq!(inline("AUDIO/L16;rate=24000", "AAAAAAAA"), [Piece::Audio { bytes: 6, raw: true }]);
    assert_eq!(inline("video/mp4", "AAAAAAAA"), [Piece::Video { bytes: Some(6) }]);
    assert_eq!(inline("application/pdf", "AAAAAAAA"), [Piece::File { bytes: Some(6) }]);
    assert_eq!(inline("text/csv", "AAAAAAAA"), [Piece::Unseen { bytes: 6 }]);
    assert_eq!(
        part(&format!(r#"{{"inline_data":{{"data":"{PNG}","mime_type":"image/png"}}}}"#)),
        [picture(false)]
    );
}

#[test]
fn files_elsewhere_have_no_size_and_are_input_that_is_not_in_the_request() {
    let last = |kind: &str| {
        let body = format!(
            r#"{{"contents":[{{"parts":[{{"fileData":{{"mimeType":"{kind}","fileUri":"gs://b/x"}}}}]}}]}}"#
        );
        let request = read(body.as_bytes()).unwrap();
        (format!("{:?}", request.prompt.0.last().unwrap()), request.more_input)
    };
    let shown = |piece: Piece<'_>| format!("{piece:?}");
    assert_eq!(last("image/jpeg"), (shown(Piece::Image(Image { size: None, low_detail: false })), false));
    assert_eq!(last("video/mp4"), (shown(Piece::Video { bytes: None }), true));
    assert_eq!(last("audio/wav"), (shown(Piece::Audio { bytes: 960_000, raw: false }), true));
    assert_eq!(last(""), (shown(Piece::File { bytes: None }), true));
}

#[test]
fn low_resolution_is_asked_for_once_or_by_part() {
    let body = format!(
        r#"{{"generationConfig":{{"mediaResolution":"MEDIA_RESOLUTION_LOW"}},"contents":[{{"parts":[
            {{"inlineData":{{"mimeType":"image/png","data":"{PNG}"}}}},
            {{"inlineData":{{"mimeType":"image/png","data":"{PNG}"}},"mediaResolution":{{"level":"MEDIA_RESOLUTION_HIGH"}}}}]}}]}}"#
    );
    assert_eq!(pieces(&body)[1..], [picture(true), picture(false)]);
}

#[test]
fn calls_responses_and_code_are_what_they_say_without_their_ids() {
    assert_eq!(
        part(r#"{"functionCall":{"id":"1","name":"f","args":{"x": 1}}}"#),
        [Piece::ToolCall, text("f"), text(r#"{"x": 1}"#)]
    );
    let response = format!(
        r#"{{"functionResponse":{{"name":"f","response":{{"y":2}},"parts":[{{"inlineData":{{"mimeType":"image/png","data":"{PNG}"}}}}]}}}}"#
    );
    assert_eq!(part(&response), [text("f"), text(r#"{"y":2}"#), picture(false)]);
    assert_eq!(
        part(r#"{"executableCode":{"language":"PYTHON","code":"1+1"}}"#),
        [text("PYTHON"), text("1+1")]
    );
    assert_eq!(part(r#"{"codeExecutionResult":{"output":"2"}}"#), [text("2")]);
}

#[test]
fn what_is_not_known_is_text_and_a_part_of_several_kinds_is_all_of_them() {
    assert_eq!(part(r#"{"text":"a","newKind":{"z":1}}"#), [text("a"), text("newKind"), text(r#"{"z":1}"#)]);
    assert_eq!(part(r#"{"text":"a","text":"long"}"#), [text("a"), text("long")]);
    assert_eq!(part("\"bare\""), [text("bare")]);
}

#[test]
fn tools_are_functions_or_the_text_they_are_written_as() {
    let body = r#"{"contents":[],"tools":[{"functionDeclarations":[
        {"name":"f","description":"Does.","parameters":{"type":"OBJECT","properties":{"a":{"type":"STRING"}}},"response":{"type":"STRING"}},
        {"name":7}]},{"googleSearch":{}}]}"#;
    let pieces = pieces(body);
    let Piece::Function(function) = &pieces[0] else { panic!("no function") };
    assert_eq!((&*function.name, function.properties.len()), ("f", 1));
    assert_eq!(
        pieces[1..],
        [text(r#"{"type":"STRING"}"#), text(r#"{"name":7}"#), text("googleSearch"), text("{}")]
    );
}

#[test]
fn the_output_bound_covers_all_candidates_and_survives_nonsense() {
    let bound = |members: &str| {
        let body = format!(r#"{{"contents":[],"generationConfig":{{{members}}}}}"#);
        read(body.as_bytes()).unwrap().max_output
    };
    assert_eq!(bound(r#""maxOutputTokens":10,"thinkingConfig":{"thinkingBudget":4096}"#), Some(10));
    assert_eq!(bound(r#""maxOutputTokens":10,"candidateCount":3"#), Some(30));
    assert_eq!(bound(r#""maxOutputTokens":1e300,"candidateCount":9"#), Some(u64::MAX));
    for nonsense in [r#""maxOutputTokens":0"#, r#""maxOutputTokens":-1"#, r#""candidateCount":2"#, ""] {
        assert_eq!(bound(nonsense), None, "{nonsense}");
    }
}

#[test]
fn the_model_is_named_without_its_collection() {
    let model = |name: &str| {
        let body = format!(r#"{{"model":"{name}","contents":[]}}"#);
        read(body.as_bytes()).unwrap().model.map(Cow::into_owned)
    };
    assert_eq!(model("models/gemini-2.5-flash").as_deref(), Some("gemini-2.5-flash"));
    assert_eq!(model(r"mod\u0065ls/gemini-2.5-flash").as_deref(), Some("gemini-2.5-flash"));
    assert_eq!(model("gemini-2.5-pro").as_deref(), Some("gemini-2.5-pro"));
}

#[test]
fn what_is_not_a_request_is_malformed() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"contents":null}"#,
        r#"{"contents":"hi"}"#,
        r#"{"contents":[7]}"#,
        r#"{"contents":[],"systemInstruction":"s"}"#,
        r#"{"contents":[],"generationConfig":7}"#,
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_json_makes_the_reader_panic(
        names in prop::collection::vec(prop::sample::select(
            vec!["contents", "parts", "text", "inlineData", "mimeType", "data", "fileData", "functionCall", "functionResponse", "tools",
                 "functionDeclarations", "generationConfig", "maxOutputTokens"]), 6),
        leaf in prop::sample::select(vec!["null", "7", "\"x\"", "[]", "{}", "[[{}]]", "1e999", "\"image/png\""]),
        in_lists in any::<bool>(),
    ) {
        let mut body = leaf.to_owned();
        for name in &names {
            body = if in_lists { format!("{{\"{name}\":[{body},7]}}") } else { format!("{{\"{name}\":{body},\"contents\":{body}}}") };
        }
        let _ = read(body.as_bytes());
    }
}
