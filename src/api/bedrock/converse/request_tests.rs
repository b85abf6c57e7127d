use proptest::prelude::*;

use super::*;
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
fn system_messages_and_tools_are_read_by_the_model() {
    let body = r#"{"system":[{"text":"Be brief."},{"cachePoint":{"type":"default"}}],
        "messages":[{"role":"user","content":[{"text":"caf\u00e9"}]}],
        "toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"Does.","inputSchema":{"json":{"type":"object"}}}},
            {"cachePoint":{"type":"default"}},{"systemTool":{"name":"g"}}],"toolChoice":{"auto":{}}}}"#;
    let expected = [
        text("Be brief."),
        Piece::Message,
        text("user"),
        text("café"),
        text("f"),
        text("Does."),
        text(r#"{"type":"object"}"#),
        text(r#"{"systemTool":{"name":"g"}}"#),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn the_output_bound_is_in_inference_config_by_either_name() {
    let bound =
        |config: &str| request(&format!(r#"{{"messages":[],"inferenceConfig":{config}}}"#)).max_output;
    assert_eq!(bound(r#"{"maxTokens":512,"temperature":0.5}"#), Some(512));
    assert_eq!(bound(r#"{"max_new_tokens":64}"#), Some(64));
    for nonsense in ["{}", r#"{"maxTokens":-1}"#, r#"{"maxTokens":"many"}"#, "null"] {
        assert_eq!(bound(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_stored_prompt_is_more_input() {
    assert!(request(r#"{"promptVariables":{"topic":{"text":"cats"}}}"#).more_input);
    assert!(request("{}").more_input);
    assert!(!request(r#"{"messages":[]}"#).more_input);
    assert_eq!(
        pieces(r#"{"promptVariables":{"topic":{"text":"cats"}}}"#),
        [text(r#"{"topic":{"text":"cats"}}"#)]
    );
}

#[test]
fn other_shapes_are_malformed() {
    for body in [
        "[]",
        r#"{"messages":"hi"}"#,
        r#"{"messages":[{"content":[]}]}"#,
        r#"{"messages":[{"role":"user","content":7}]}"#,
        r#"{"messages":[],"inferenceConfig":7}"#,
        r#"{"messages":[],"toolConfig":{"tools":7}}"#,
        r#"{"messages":[],"system":7}"#,
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
    let twice = br#"{"messages":[],"inferenceConfig":{},"inferenceConfig":{"maxTokens":1}}"#;
    assert_eq!(read(twice).err(), Some(Unread::Ambiguous { member: "inferenceConfig" }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_members_make_the_reader_panic(
        names in prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4),
        values in prop::collection::vec(prop::sample::select(vec![
            "null", "7", "\"x\"", "[]", "{}", "[{}]", r#"[{"text":1}]"#, r#"[{"role":"user","content":[{"image":{}}]}]"#,
            r#"{"tools":[{"toolSpec":7},{"cachePoint":null}]}"#, r#"{"maxTokens":[]}"#,
        ]), 4),
    ) {
        let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let _ = read(format!("{{{}}}", members.join(",")).as_bytes());
    }
}
