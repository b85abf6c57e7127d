use proptest::prelude::*;

use super::*;
use crate::api::outline::read_body;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(Cow::Borrowed(text))
}

fn pieces(body: &str) -> Vec<Piece<'_>> {
    read(body.as_bytes()).unwrap().prompt.0
}

fn more_input(members: &str) -> bool {
    read(format!("{{\"input\":\"a\",{members}}}").as_bytes()).unwrap().more_input
}

#[test]
fn a_text_is_the_message_of_a_user_behind_the_instructions() {
    let body = r#"{"model":"gpt-5","instructions":"Be brief.","input":"Grüße"}"#;
    let expected =
        [Piece::Message, text("developer"), text("Be brief."), Piece::Message, text("user"), text("Grüße")];
    assert_eq!(pieces(body), expected);
}

#[test]
fn messages_calls_and_their_results_are_read() {
    let body = r#"{"input":[
        {"role":"user","content":"a"},
        {"type":"message","role":"user","content":[{"type":"input_text","text":"b"},{"type":"input_image","image_url":"https://x/y","detail":"low"}]},
        {"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"c","annotations":[]},{"type":"refusal","refusal":"d"}]},
        {"type":"function_call","call_id":"call_1","name":"f","arguments":"{\"x\":1}"},
        {"type":"function_call_output","call_id":"call_1","output":"e"},
        {"type":"function_call_output","call_id":"call_2","output":[{"type":"input_text","text":"g"}]},
        {"type":"custom_tool_call","call_id":"call_3","name":"sql","input":"SELECT 1"},
        {"type":"computer_call_output","call_id":"call_4","output":{"type":"computer_screenshot","image_url":"https://x/z"}}]}"#;
    let picture = |low_detail| Piece::Image(Image { size: None, low_detail });
    let expected = [
        Piece::Message,
        text("user"),
        text("a"),
        Piece::Message,
        text("user"),
        text("b"),
        picture(true),
        Piece::Message,
        text("assistant"),
        text("c"),
        text("d"),
        Piece::ToolCall,
        text("f"),
        text("{\"x\":1}"),
        Piece::Message,
        text("e"),
        Piece::Message,
        text("g"),
        Piece::ToolCall,
        text("sql"),
        text("SELECT 1"),
        Piece::Message,
        picture(false),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn reasoning_is_read_by_its_texts_and_by_the_length_of_what_is_sealed() {
    let body = r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"a"}],
        "content":[{"type":"reasoning_text","text":"b"}],"encrypted_content":"AAAAAAAA"}]}"#;
    assert_eq!(pieces(body), [text("b"), text("a"), Piece::Unseen { bytes: 6 }]);
}

#[test]
fn a_picture_that_a_tool_made_is_no_text() {
    let body = r#"{"input":[{"type":"image_generation_call","id":"ig_1","status":"completed","result":"iVBORw0KGgoAAAANSUhEUgAAAUAAAADwCAYAAAA="}]}"#;
    assert_eq!(pieces(body), [Piece::Image(Image { size: Some((320, 240)), low_detail: false })]);
}

#[test]
fn items_of_other_kinds_are_the_text_they_are_written_as() {
    for item in [
        r#"{"type":"web_search_call","id":"ws_1","status":"completed","action":{"type":"search","query":"x"}}"#,
        r#"{"type":"mcp_list_tools","id":"m_1","server_label":"s","tools":[{"name":"t"}]}"#,
        r#"{"type":"function_call","name":7,"arguments":"{}"}"#,
        r#"{"type":"new_thing"}"#,
    ] {
        assert_eq!(pieces(&format!("{{\"input\":[{item}]}}")), [text(item)], "{item}");
    }
}

#[test]
fn what_is_kept_elsewhere_is_said_to_be() {
    for members in [
        r#""previous_response_id":"resp_1""#,
        r#""conversation":"conv_1""#,
        r#""conversation":{"id":"conv_1"}"#,
        r#""prompt":{"id":"pmpt_1","version":"2"}"#,
        r#""tools":[{"type":"web_search"}]"#,
    ] {
        assert!(more_input(members), "{members}");
    }
    for item in [
        r#"{"type":"item_reference","id":"msg_1"}"#,
        r#"{"id":"msg_1"}"#,
        r#"{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}"#,
    ] {
        assert!(read(format!("{{\"input\":[{item}]}}").as_bytes()).unwrap().more_input, "{item}");
    }
    for members in
        [r#""previous_response_id":null"#, r#""tools":[{"type":"function","name":"f"}]"#, r#""store":true"#]
    {
        assert!(!more_input(members), "{members}");
    }
}

#[test]
fn tools_are_flat_functions_or_text() {
    let custom = r#"{"type":"custom","name":"sql","format":{"type":"grammar","definition":"start: x"}}"#;
    let body = format!(
        r#"{{"input":"a","tools":[{{"type":"function","name":"f","description":"Does.","strict":true,"parameters":
        {{"type":"object","properties":{{"b":{{"type":"string"}}}}}}}},{custom}]}}"#
    );
    let pieces = pieces(&body);
    let Piece::Function(function) = &pieces[3] else { panic!("no function") };
    assert_eq!((&*function.name, &*function.description, function.properties.len()), ("f", "Does.", 1));
    assert_eq!(pieces[4], text(custom));
}

#[test]
fn the_schema_and_the_values_of_a_stored_prompt_are_read() {
    let body = r#"{"prompt":{"id":"pmpt_1","variables":{"city":"Köln"}},"text":{"format":{"type":"json_schema","name":"x","schema":{}},"verbosity":"low"}}"#;
    assert_eq!(
        pieces(body),
        [text(r#"{"city":"Köln"}"#), text(r#"{"type":"json_schema","name":"x","schema":{}}"#)]
    );
    assert_eq!(pieces(r#"{"input":"a","text":{"format":{"type":"text"}}}"#).len(), 3);
}

#[test]
fn the_output_bound_is_read_and_usage_never_asked_for() {
    let request = read(br#"{"input":"a","max_output_tokens":300,"stream":true}"#).unwrap();
    assert_eq!(request.max_output, Some(300));
    assert_eq!(read(br#"{"input":"a","max_output_tokens":-1}"#).unwrap().max_output, None);
}

#[test]
fn bodies_of_another_shape_are_malformed() {
    for body in [
        "",
        "{}",
        r#"{"model":"gpt-5"}"#,
        r#"{"input":7}"#,
        r#"{"input":{}}"#,
        r#"{"input":["a"]}"#,
        r#"{"input":[[]]}"#,
        r#"{"input":"a","instructions":{}}"#,
        r#"{"input":"a","tools":{}}"#,
        r#"{"input":"a","model":7}"#,
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
    let twice = br#"{"input":"a","input":"b"}"#;
    assert_eq!(read(twice).err(), Some(Unread::Ambiguous { member: "input" }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }

    /// An item of any shape is parsed or counted as its JSON text, and never free.
    #[test]
    fn no_item_is_free(
        names in prop::collection::btree_set(
            prop::sample::select(vec!["type", "role", "content", "name", "arguments", "input", "output", "summary", "encrypted_content", "result"]), 1..5),
        values in prop::collection::vec("(\"[a-z]{1,6}\"|[1-9][0-9]{0,2}|\\[\\{\"text\":\"[a-z]{1,3}\"\\}\\]|\\{\"a\":1\\}|true)", 5),
    ) {
        let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let body = format!("{{\"input\":[{{{}}}]}}", members.join(","));
        prop_assert!(!read(body.as_bytes()).unwrap().prompt.0.is_empty(), "{}", body);
    }
}
