use super::*;
use crate::api::outline::read_body;
use proptest::prelude::*;

fn chat(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::chat, body)
}

fn generate(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::generate, body)
}

fn embed(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::embed, body)
}

/// The header of an image of 320 by 240 pixels.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAUAAAADwCAYAAAA=";
const PICTURE: Piece<'static> = Piece::Image(Image { size: Some((320, 240)), low_detail: false });

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn messages_become_frames_texts_and_pictures() {
    let body = format!(
        r#"{{"model":"llama3.2","messages":[
        {{"role":"user","content":"a\u00e9b","images":["{PNG}"]}},
        {{"role":"assistant","content":"","thinking":"t","tool_calls":[{{"id":"1","function":{{"index":0,"name":"f","arguments":{{"x": 1}}}}}}]}},
        {{"role":"tool","tool_name":"f","content":"r","extra":{{}}}}]}}"#
    );
    let expected = [
        Piece::Message,
        text("user"),
        text("aéb"),
        PICTURE,
        Piece::Message,
        text("assistant"),
        text(""),
        text("t"),
        Piece::ToolCall,
        text("f"),
        text(r#"{"x": 1}"#),
        Piece::Message,
        text("tool"),
        text("f"),
        text("r"),
        text("extra"),
        text("{}"),
    ];
    assert_eq!(chat(body.as_bytes()).unwrap().prompt.0, expected);
}

#[test]
fn a_prompt_counts_with_all_that_goes_with_it() {
    let body = format!(
        r#"{{"model":"llava","prompt":"p","suffix":"s","system":"y","template":"{{{{ .Prompt }}}}","images":["{PNG}","@@"],"context":[1,2,3],
            "format":{{"type":"object"}}}}"#
    );
    let unknown = Piece::Image(Image { size: None, low_detail: false });
    let expected = [
        text("y"),
        text("{{ .Prompt }}"),
        text("p"),
        text("s"),
        PICTURE,
        unknown,
        Piece::Tokens(3),
        text(r#"{"type":"object"}"#),
    ];
    assert_eq!(generate(body.as_bytes()).unwrap().prompt.0, expected);
}

#[test]
fn tools_are_functions_and_the_word_json_is_no_schema() {
    let body = br#"{"messages":[],"format":"json","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":{"type":"string"}}}}},7]}"#;
    let pieces = chat(body).unwrap().prompt.0;
    let Piece::Function(function) = &pieces[0] else { panic!("no function") };
    assert_eq!((&*function.name, function.properties.len()), ("f", 1));
    assert_eq!(pieces[1..], [text("7")]);
}

#[test]
fn no_bound_is_told_from_a_bound() {
    let bound = |options: &str| {
        let body = format!(r#"{{"prompt":"p","options":{options}}}"#);
        generate(body.as_bytes()).map(|request| request.max_output)
    };
    assert_eq!(bound(r#"{"num_predict":42,"temperature":0}"#), Ok(Some(42)));
    for none in [r#"{"num_predict":-1}"#, r#"{"num_predict":-2}"#, r#"{"num_ctx":4096}"#, "null"] {
        assert_eq!(bound(none), Ok(None), "{none}");
    }
    assert_eq!(bound("7"), Err(Unread::Malformed));
    assert_eq!(
        bound(r#"{"num_predict":1,"num_predict":9}"#),
        Err(Unread::Ambiguous { member: "num_predict" })
    );
}

#[test]
fn embeddings_have_no_output() {
    let read = |body| embed(str::as_bytes(body)).unwrap();
    assert_eq!(read(r#"{"model":"m","input":["a","b"]}"#).prompt.0, [text("a"), text("b")]);
    assert_eq!(read(r#"{"model":"m","input":"a"}"#).prompt.0, [text("a")]);
    let old = read(r#"{"model":"m","prompt":"a"}"#);
    assert_eq!(old.prompt.0, [text("a")]);
    assert!(old.known.is_some_and(|known| known.all_output() == 0));
    assert_eq!(embed(br#"{"model":"m"}"#).err(), Some(Unread::Malformed));
}

#[test]
fn a_call_without_a_prompt_loads_the_model() {
    assert!(generate(br#"{"model":"llama3.2"}"#).unwrap().prompt.0.is_empty());
    assert!(chat(br#"{"model":"llama3.2","messages":[]}"#).unwrap().prompt.0.is_empty());
}

#[test]
fn a_member_in_two_cases_is_one_named_twice() {
    for (body, member) in [
        (r#"{"messages":[],"Messages":[{"role":"user","content":"long"}]}"#, "messages"),
        (r#"{"messages":[],"me\u017f\u017fages":[]}"#, "messages"),
        (r#"{"messages":[],"OPTIONS":{"num_predict":1}}"#, "options"),
        (r#"{"messages":[],"model":"a","model":"b"}"#, "model"),
    ] {
        assert_eq!(chat(body.as_bytes()).err(), Some(Unread::Ambiguous { member }), "{body}");
    }
    assert!(chat(r#"{"messages":[],"kept_alive":1,"Keep_Alive":2}"#.as_bytes()).is_ok());
}

#[test]
fn what_is_not_a_request_is_malformed() {
    for body in ["", "[]", "7", r#"{"messages":[7]}"#, r#"{"messages":[],"options":[]}"#] {
        assert_eq!(chat(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
    assert_eq!(generate(b"\"x\"").err(), Some(Unread::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (chat(&bytes), generate(&bytes), embed(&bytes));
    }

    #[test]
    fn no_json_makes_the_readers_panic(
        names in prop::collection::vec(prop::sample::select(
            vec!["messages", "content", "images", "tool_calls", "function", "tools", "options", "num_predict", "context", "input", "format"]), 6),
        leaf in prop::sample::select(vec!["null", "7", "\"x\"", "[]", "{}", "[[{}]]", "1e999"]),
        in_lists in any::<bool>(),
    ) {
        let mut body = leaf.to_owned();
        for name in &names {
            body = if in_lists { format!("{{\"{name}\":[{body},7]}}") } else { format!("{{\"{name}\":{body},\"messages\":[{body}]}}") };
        }
        let _ = (chat(body.as_bytes()), generate(body.as_bytes()), embed(body.as_bytes()));
    }
}
