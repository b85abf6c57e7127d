use super::*;
use crate::api::Image;
use crate::api::outline::read_body;
use proptest::prelude::*;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn pieces(body: &str) -> Vec<Piece<'_>> {
    read(body.as_bytes()).unwrap().prompt.0
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAUAAAADwCAYAAAA=";

#[test]
fn messages_become_frames_and_texts() {
    let body = r#"{"model":"command-a-03-2025","messages":[
        {"role":"system","content":"a\u00e9b"},
        {"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}}]},
        {"role":"assistant","tool_plan":"p","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}],
         "content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"u"}],"citations":[{"start":0,"end":1,"text":"u"}]},
        {"role":"tool","tool_call_id":"c1","content":[{"type":"document","document":{"id":"0","data":"{\"x\":1}"}}]}
    ]}"#;
    let expected = [
        Piece::Message,
        text("system"),
        text("aéb"),
        Piece::Message,
        text("user"),
        text("hi"),
        Piece::Image(Image { size: None, low_detail: true }),
        Piece::Message,
        text("assistant"),
        text("p"),
        Piece::ToolCall,
        text("f"),
        text("{}"),
        text("t"),
        text("u"),
        Piece::Message,
        text("tool"),
        text("0"),
        text("{\"x\":1}"),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn documents_tools_and_schemas_are_read_too() {
    let body = r#"{"messages":[],"documents":["a",{"id":"d1","data":{"title":"b"}}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":{"type":"string"}}}}},{"type":"odd"}],
        "response_format":{"type":"json_object","json_schema":{"type":"object"}}}"#;
    let pieces = pieces(body);
    assert_eq!(pieces[..3], [text("a"), text("d1"), text(r#"{"title":"b"}"#)]);
    let Piece::Function(function) = &pieces[3] else { panic!("no function") };
    assert_eq!((&*function.name, function.properties.len()), ("f", 1));
    assert_eq!(pieces[4..], [text(r#"{"type":"odd"}"#), text(r#"{"type":"object"}"#)]);
}

#[test]
fn what_is_not_known_is_text_and_a_part_of_several_kinds_is_all_of_them() {
    let body = format!(
        r#"{{"messages":[{{"content":[{{"type":"text","text":"a","image_url":{{"url":"{PICTURE}"}},"new":1}}],"extra":"b"}}]}}"#
    );
    let picture = Piece::Image(Image { size: Some((320, 240)), low_detail: false });
    assert_eq!(pieces(&body)[1..], [text("a"), picture, text("new"), text("1"), text("extra"), text("b")]);
}

#[test]
fn the_output_bound_is_read_and_nonsense_is_none() {
    let body = br#"{"messages":[],"max_tokens":300.0,"stream":true}"#;
    assert_eq!(read(body).unwrap().max_output, Some(300));
    assert_eq!(read(br#"{"messages":[],"max_tokens":-1}"#).unwrap().max_output, None);
}

#[test]
fn what_is_not_a_request_is_malformed_or_ambiguous() {
    for body in ["", "[]", "{}", r#"{"messages":null}"#, r#"{"messages":[7]}"#, r#"{"messages":"x"}"#] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
    let twice = br#"{"messages":[],"max_tokens":1,"max_tokens":2}"#;
    assert_eq!(read(twice).err(), Some(Unread::Ambiguous { member: "max_tokens" }));
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
            vec!["messages", "content", "text", "image_url", "url", "tool_calls", "function", "documents", "document", "tools"]), 6),
        leaf in prop::sample::select(vec!["null", "7", "\"x\"", "[]", "{}", "[[{}]]", "1e999"]),
        in_lists in any::<bool>(),
    ) {
        let mut body = leaf.to_owned();
        for name in &names {
            body = if in_lists { format!("{{\"{name}\":[{body},7]}}") } else { format!("{{\"{name}\":{body},\"messages\":[{body}]}}") };
        }
        let _ = read(body.as_bytes());
    }
}
