use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Piece;
use crate::api::outline::read_body;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn request(body: &str) -> Request<'_> {
    read(body.as_bytes()).unwrap()
}

fn pieces(body: &str) -> Vec<Piece<'_>> {
    request(body).prompt.0
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn system_and_messages_become_texts_and_frames() {
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":1024,"system":"Be brief.","messages":[
        {"role":"user","content":"na\u00efve"},{"role":"assistant","content":[{"type":"text","text":"ok"}]}]}"#;
    let expected = [
        text("Be brief."),
        Piece::Message,
        text("user"),
        text("naïve"),
        Piece::Message,
        text("assistant"),
        text("ok"),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn a_system_prompt_in_blocks_is_the_text_of_them() {
    let body = r#"{"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"b"}],"messages":[]}"#;
    assert_eq!(pieces(body), [text("a"), text("b")]);
}

#[test]
fn tools_and_the_schema_of_the_answer_are_read_by_the_model() {
    let body = r#"{"model":"claude-opus-4-6","messages":[],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"},
        "output_config":{"effort":"low","format":{"type":"json_schema","schema":{"type":"object"}}}}"#;
    assert_eq!(pieces(body), [Piece::Tokens(589), text("f"), text("{}"), text(r#"{"type":"object"}"#)]);
    let older = r#"{"messages":[],"output_format":{"type":"json_schema","schema":[]}}"#;
    assert_eq!(pieces(older), [text("[]")]);
}

#[test]
fn model_and_bound_are_read_from_their_members() {
    let body = r#"{"model":"claude-haiku-4-5","max_tokens":300,"stream":true,"thinking":{"type":"enabled","budget_tokens":200},"messages":[]}"#;
    let request = request(body);
    assert_eq!((request.model.as_deref(), request.max_output), (Some("claude-haiku-4-5"), Some(300)));
    assert_eq!((request.known, request.more_input), (None, false));
}

#[test]
fn nonsense_as_a_bound_is_no_bound() {
    for nonsense in ["-1", "\"many\"", "null", "{}", "true"] {
        assert_eq!(
            request(&format!(r#"{{"messages":[],"max_tokens":{nonsense}}}"#)).max_output,
            None,
            "{nonsense}"
        );
    }
}

#[test]
fn what_the_model_finds_for_itself_is_more_input() {
    let more = |members: &str| request(&format!(r#"{{"messages":[],{members}}}"#)).more_input;
    assert!(more(r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#));
    assert!(more(r#""mcp_servers":[{"type":"url","url":"https://mcp.example/sse","name":"x"}]"#));
    assert!(!more(r#""mcp_servers":[],"tools":[{"name":"f","input_schema":{}}]"#));
}

#[test]
fn other_shapes_are_malformed() {
    for body in [
        "[]",
        "{}",
        r#"{"messages":null}"#,
        r#"{"messages":"hi"}"#,
        r#"{"messages":[7]}"#,
        r#"{"messages":[{"content":"no role"}]}"#,
        r#"{"messages":[{"role":"user","content":7}]}"#,
        r#"{"messages":[],"system":7}"#,
        r#"{"messages":[],"tools":{}}"#,
        r#"{"messages":[],"model":7}"#,
        r#"{"messages":[]"#,
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
}

#[test]
fn a_member_named_twice_is_ambiguous() {
    let body = br#"{"messages":[],"max_tokens":1,"max_tokens":100000}"#;
    assert_eq!(read(body).err(), Some(Unread::Ambiguous { member: "max_tokens" }));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zé\"\\\\]{0,4}".prop_map(Value::from),
        Just(json!("base64")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(vec![
            "type",
            "text",
            "source",
            "content",
            "data",
            "input",
            "name",
            "role",
            "thinking",
            "input_schema",
            "schema",
            "format",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_the_reader_panic(
        names in prop::collection::vec(prop::sample::select(NAMES.to_vec()), 0..5),
        values in prop::collection::vec(any_json(), 5),
    ) {
        let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let _ = read(format!("{{{}}}", members.join(",")).as_bytes());
    }

    #[test]
    fn no_block_costs_nothing(block in any_json().prop_filter("an object", Value::is_object)) {
        let body = json!({ "messages": [{ "role": "user", "content": [block] }] }).to_string();
        prop_assert!(pieces(&body).len() > 2);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }
}
