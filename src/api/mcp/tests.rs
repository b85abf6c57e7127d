use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rpc(body: &[u8]) -> Result<Messages<'_>, Unread> {
    read(body)
}

/// Returns the messages of a body: ids and tools.
fn read_as(body: &str) -> Vec<(Option<String>, Option<String>)> {
    let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
    let messages = rpc(body.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {body}"));
    messages.list.into_iter().map(|message| (owned(message.id), owned(message.tool))).collect()
}

fn id_and_tool(id: &str, tool: &str) -> (Option<String>, Option<String>) {
    (Some(id.to_owned()), Some(tool.to_owned()))
}

fn call(id: &str, tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#
    )
}

#[test]
fn a_call_has_its_id_and_the_name_of_its_tool() {
    let messages =
        rpc(call("7", "send_email").as_bytes()).map(|messages| (messages.is_batch, messages.list.len()));
    assert_eq!(messages, Ok((false, 1)));
    assert_eq!(read_as(&call("7", "send_email")), [id_and_tool("7", "send_email")]);
    assert_eq!(read_as(&call("\"a-1\"", "x")), [id_and_tool("\"a-1\"", "x")]);
}

#[test]
fn other_methods_and_responses_are_no_calls() {
    assert_eq!(read_as(r#"{"id":1,"method":"tools/list"}"#), [(Some("1".to_owned()), None)]);
    assert_eq!(
        read_as(r#"{"id":1,"method":"prompts/get","params":{"name":"x"}}"#),
        [(Some("1".to_owned()), None)]
    );
    assert_eq!(read_as(r#"{"method":"notifications/initialized"}"#), [(None, None)]);
    assert_eq!(read_as(r#"{"id":1,"result":{"method":"tools/call","params":{"name":"x"}}}"#), []);
    assert_eq!(read_as(r#"{"id":1,"error":{"code":1,"message":"m"}}"#), []);
}

#[test]
fn a_call_that_names_no_tool_is_none() {
    for params in
        ["", r#","params":null"#, r#","params":["x"]"#, r#","params":{}"#, r#","params":{"name":1}"#]
    {
        let body = format!(r#"{{"id":1,"method":"tools/call"{params}}}"#);
        assert_eq!(read_as(&body), [(Some("1".to_owned()), None)], "{body}");
    }
}

#[test]
fn a_call_without_an_id_is_a_call() {
    assert_eq!(read_as(r#"{"method":"tools/call","params":{"name":"x"}}"#), [(None, Some("x".to_owned()))]);
}

#[test]
fn a_batch_is_all_its_messages_but_responses_and_what_is_none() {
    let other = r#"{"method":"notifications/progress"},{"id":9,"result":{}},3,null,[]"#;
    let body = format!("[{},{other},{}]", call("1", "a"), call("2", "b"));
    assert_eq!(read_as(&body), [id_and_tool("1", "a"), (None, None), id_and_tool("2", "b")]);
    let messages = rpc(body.as_bytes()).unwrap();
    assert!(messages.is_batch);
    assert_eq!(messages.tools().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn names_are_read_however_they_are_spelled() {
    let body = r#"{"id":1,"m\u0065thod":"tools\/call","params":{"n\u0061me":"s\u0065nd\ud83d\ude00"}}"#;
    assert_eq!(read_as(body), [id_and_tool("1", "send😀")]);
    let body = "{\"ID\":1,\"Method\":\"tools/call\",\"param\u{17f}\":{\"NAME\":\"x\"}}";
    assert_eq!(read_as(body), [id_and_tool("1", "x")]);
    let parameters = [&b"{\"method\":\"tools/call\",\"params\":{\"name\":\"a\xff\"}}"[..]];
    assert_eq!(rpc(parameters[0]).unwrap().tools().collect::<Vec<_>>(), ["a\u{fffd}"]);
}

#[test]
fn a_deciding_member_named_twice_is_ambiguous_wherever_it_is() {
    for (body, member) in [
        (r#"{"id":1,"method":"ping","method":"tools/call"}"#, "method"),
        (r#"{"id":1,"id":1,"method":"ping"}"#, "id"),
        (r#"{"id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#, "params"),
        (r#"{"id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#, "name"),
        (r#"{"id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#, "name"),
        (r#"[{"id":1,"method":"ping"},{"method":"ping","Method":"tools/call"}]"#, "method"),
    ] {
        assert_eq!(rpc(body.as_bytes()), Err(Unread::Ambiguous { member }), "{body}");
    }
    assert!(
        rpc(br#"{"id":1,"method":"ping","jsonrpc":"2.0","jsonrpc":"2.0","params":{"name":1,"name":2}}"#)
            .is_ok()
    );
}

#[test]
fn what_is_no_json_rpc_is_malformed() {
    for body in [
        "",
        "null",
        "3",
        "\"x\"",
        "x=1",
        "{}",
        "[]",
        "[1,{}]",
        "{\"method\":1}",
        "{\"method\":\"ping\"",
        "[{\"method\":\"ping\"}",
        "{method:\"ping\"}",
        "{\"method\" \"ping\"}",
        "{\"query\":\"x\"}",
    ] {
        assert_eq!(rpc(body.as_bytes()), Err(Unread::Malformed), "{body}");
    }
}

/// Python's parsers accept `NaN` and other encodings, JavaScript's any bytes in strings, and Go's
/// ignore what follows.
#[test]
fn a_call_that_only_some_servers_can_read_is_a_call() {
    let with = |arguments: &str| {
        let arguments = format!(r#""params":{{"arguments":{arguments},"name":"x"}}"#);
        format!(r#"{{"id":1,"method":"tools/call",{arguments}}}"#)
    };
    for arguments in ["NaN", "[1,]", "-Infinity", "\"\t\"", "\"\\ud800\"", "01"] {
        assert_eq!(read_as(&with(arguments)), [id_and_tool("1", "x")], "{arguments}");
    }
    assert_eq!(read_as(&format!("{} trailing", call("1", "x"))), [id_and_tool("1", "x")]);
    assert_eq!(read_as(&format!("\u{feff}{}", call("1", "x"))), [id_and_tool("1", "x")]);
    let text = call("1", "x");
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(rpc(&utf16), rpc(text.as_bytes()));
    let bytes = [&text.as_bytes()[..text.len() - 3], b"\"\xff\":\"\xfe\"}}}"].concat();
    assert_eq!(rpc(&bytes).unwrap().tools().count(), 1);
}

#[test]
fn an_id_that_cannot_be_repeated_is_null() {
    let longest = format!("\"{}\"", "i".repeat(LONGEST_ID - 2));
    assert_eq!(read_as(&call(&longest, "x")), [id_and_tool(&longest, "x")]);
    for id in [&*format!("\"{}\"", "i".repeat(LONGEST_ID - 1)), "NaN", "01", "\"\t\"", "[}", "{\"a\":1,}"] {
        assert_eq!(read_as(&call(id, "x")), [id_and_tool("null", "x")], "{id}");
    }
}

#[test]
fn a_batch_of_thousands_is_read_whole() {
    let calls: Vec<_> = (0..20_000).map(|number| call(&number.to_string(), "x")).collect();
    let body = format!("[{}]", calls.join(","));
    let messages = rpc(body.as_bytes()).unwrap();
    assert_eq!(messages.tools().count(), 20_000);
    assert_eq!(messages.list.last().unwrap().id.as_deref(), Some("19999"));
}

fn id() -> impl Strategy<Value = String> {
    let text = prop_oneof!["\\PC{0,8}", "[\\x00-\\x1f\"\\\\]{0,8}"].prop_map(|text| json!(text).to_string());
    prop_oneof![
        "(0|-?[1-9][0-9]{0,400})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        text,
        Just("\"\\u0041\\/\"".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        "\\[[1-9]?\\]",
        "\\{ *\"a\" *: *\\[\\] *\\}",
    ]
}

proptest! {
    #[test]
    fn ids_of_any_type_come_back_byte_for_byte_and_tools_by_their_names(
        calls in prop::collection::vec((id(), any::<String>()), 0..8)
    ) {
        let body: Vec<_> = calls
            .iter()
            .map(|(id, tool)| format!(r#"{{"params":{{"name": {}}}, "id" : {id} ,"method":"tools/call"}}"#, json!(tool)))
            .collect();
        let expected: Vec<_> = calls.iter().map(|(id, tool)| id_and_tool(id, tool)).collect();
        if calls.is_empty() {
            prop_assert_eq!(rpc(b"[]"), Err(Unread::Malformed));
        } else {
            prop_assert_eq!(read_as(&format!("[{}]", body.join(" , "))), expected);
        }
    }

    #[test]
    fn any_bytes_are_read_or_not_and_ids_are_json(bytes in prop::collection::vec(prop_oneof![
        prop::sample::select(vec![
            &b"{"[..], b"}", b"[", b"]", b",", b":", b"\"", b"\"id\":", b"\"method\":\"tools/call\"", b"\"params\":{", b"\"name\":\"x\"",
        ]).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..3),
    ], 0..20)) {
        let body = bytes.concat();
        let Ok(messages) = rpc(&body) else { return Ok(()) };
        for id in messages.list.iter().filter_map(|message| message.id.as_deref()) {
            prop_assert!(id.len() <= LONGEST_ID);
            prop_assert!(serde_json::from_str::<&RawValue>(id).is_ok(), "{}", id);
        }
    }
}
