use super::*;
use crate::api::openai::stream_options::ask_for_usage;
use crate::api::outline::{outline, read_body};
use crate::api::{Edit, Image};

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn pieces(body: &str) -> Vec<Piece<'_>> {
    read(body.as_bytes()).unwrap().prompt.0
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

/// Returns the body after the edit, which may change only `include_usage`.
fn edited(body: &str) -> Option<String> {
    let edit = ask_for_usage(&outline(body), "")?;
    Some(String::from_utf8(Edit::apply_all(&[edit], body.as_bytes())).unwrap())
}

#[test]
fn messages_become_frames_and_texts() {
    let body = r#"{"model":"gpt-4o","messages":[
        {"role":"system","name":"ex","content":"a\u00e9b"},
        {"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]}
    ]}"#;
    let expected = [
        Piece::Message,
        text("system"),
        text("aéb"),
        Piece::Name,
        text("ex"),
        Piece::Message,
        text("user"),
        text("hi"),
        Piece::Image(Image { size: None, low_detail: true }),
        Piece::Message,
        text("assistant"),
        Piece::ToolCall,
        text("f"),
        text("{}"),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn nested_parameters_are_flattened_in_order() {
    let body = r#"{"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"Does.","parameters":
        {"type":"object","properties":{"b":{"type":"string","enum":["x","y"]},"a":{"type":"array","items":{"type":"object",
        "properties":{"deep":{"type":["string","null"],"description":"d"}}}}}}}}]}"#;
    let Piece::Function(function) = &pieces(body)[0] else { panic!("no function") };
    let seen: Vec<_> = function.properties.iter().map(|p| (&*p.name, &*p.kind, p.choices.len())).collect();
    assert_eq!(
        seen,
        [("b", "string", 2), ("a", "array", 0), ("", "object", 0), ("deep", "[\"string\",\"null\"]", 0)]
    );
}

#[test]
fn audio_files_and_unknown_parts_have_sizes_of_their_own() {
    let body = r#"{"messages":[{"role":"user","content":[
        {"type":"input_audio","input_audio":{"data":"AAAAAAAA","format":"wav"}},
        {"type":"file","file":{"file_id":"f-1"}},
        {"type":"new_thing","x":1}]}]}"#;
    let expected = [
        Piece::Audio { bytes: 6, raw: true },
        Piece::File { bytes: None },
        text(r#"{"type":"new_thing","x":1}"#),
    ];
    assert_eq!(pieces(body)[2..], expected);
}

#[test]
fn a_part_of_several_kinds_counts_as_all_of_them() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"image_url","text":"long","image_url":{"url":"https://x/y.png"}}]}]}"#;
    assert_eq!(pieces(body)[2..], [text("long"), Piece::Image(Image { size: None, low_detail: false })]);
}

#[test]
fn the_output_bound_covers_all_choices_and_survives_nonsense() {
    let bound = |members: &str| read(format!("{{\"messages\":[],{members}}}").as_bytes()).unwrap().max_output;
    assert_eq!(bound(r#""max_tokens":10"#), Some(10));
    assert_eq!(bound(r#""max_tokens":10,"max_completion_tokens":7,"n":3"#), Some(21));
    assert_eq!(bound(r#""max_tokens":10,"n_predict":70"#), Some(70), "llama.cpp goes by its own name");
    assert_eq!(bound(r#""max_tokens":10,"n_predict":7"#), Some(10), "and others by theirs");
    assert_eq!(bound(r#""max_tokens":10,"n_predict":-1"#), None);
    assert_eq!(bound(r#""max_tokens":18446744073709551615,"n":5"#), Some(u64::MAX));
    assert_eq!(bound(r#""max_tokens":1e300"#), Some(u64::MAX));
    for nonsense in [r#""max_tokens":-5"#, r#""max_tokens":"many""#, r#""max_tokens":null"#, r#""n":4"#] {
        assert_eq!(bound(nonsense), None, "{nonsense}");
    }
}

#[test]
fn usage_is_asked_for_wherever_the_client_has_not() {
    for (body, expected) in [
        (
            r#"{"messages":[],"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"messages":[],"stream":true}"#,
        ),
        (
            r#"{"messages":[],"stream":true,"stream_options":null}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"messages":[],"stream":true,"stream_options":{}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"messages":[],"stream":true,"stream_options":{ "x":1}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true, "x":1}}"#,
        ),
        (
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":null,"y":2}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true,"y":2}}"#,
        ),
    ] {
        assert_eq!(edited(body).as_deref(), Some(expected), "{body}");
    }
}

#[test]
fn usage_is_not_asked_for_twice_nor_of_calls_that_do_not_stream() {
    for body in [
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true}}"#,
        r#"{"messages":[],"stream":false}"#,
        r#"{"messages":[]}"#,
        r#"{"messages":[],"stream":true,"stream_options":"odd"}"#,
    ] {
        assert_eq!(edited(body), None, "{body}");
    }
}

#[test]
fn bodies_of_another_shape_are_malformed() {
    for body in [
        "{}",
        r#"{"messages":null}"#,
        r#"{"messages":{}}"#,
        r#"{"messages":"hi"}"#,
        r#"{"messages":[1]}"#,
        r#"{"messages":[{"content":"no role"}]}"#,
        r#"{"messages":[{"role":"user","content":5}]}"#,
        r#"{"messages":[{"role":"user","content":[[1,2,3]],"content":"x"}]}"#,
        r#"{"messages":[],"model":7}"#,
        r#"{"messages":[],"tools":{}}"#,
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
}

#[test]
fn a_schema_nested_beyond_the_readers_depth_is_counted_as_text() {
    let deep = format!(
        r#"{{"messages":[],"tools":[{{"function":{{"name":"f","parameters":{}{}}}}}]}}"#,
        r#"{"items":"#.repeat(5_000),
        "1".to_string() + &"}".repeat(5_000)
    );
    assert!(matches!(pieces(&deep)[0], Piece::Text(_)));
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z\"\\\\{}é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    fn options() -> impl Strategy<Value = Option<Value>> {
        prop::option::of(prop_oneof![
            Just(Value::Null),
            Just(json!({})),
            any_json().prop_map(|value| json!({ "include_usage": value })),
            (any_json(), any_json())
                .prop_map(|(value, other)| json!({ "include_usage": value, "other": other })),
            any_json().prop_map(|other| json!({ "other": other })),
        ])
    }

    proptest! {
        /// The edit sets `include_usage` and changes nothing else.
        #[test]
        fn an_edited_body_differs_in_include_usage_only(options in options(), other in any_json(), pretty in any::<bool>()) {
            let mut body = json!({ "messages": [], "stream": true, "zz": other });
            if let Some(options) = options {
                body["stream_options"] = options;
            }
            let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            // Parse the text again, because serializing may not preserve a fraction.
            let mut body: Value = serde_json::from_str(&text).unwrap();
            let Some(edit) = ask_for_usage(&outline(&text), "") else {
                prop_assert_eq!(&body["stream_options"]["include_usage"], &Value::Bool(true));
                return Ok(());
            };
            let edited: Value = serde_json::from_slice(&Edit::apply_all(&[edit], text.as_bytes())).unwrap();
            if !body["stream_options"].is_object() {
                body["stream_options"] = json!({});
            }
            body["stream_options"]["include_usage"] = Value::Bool(true);
            prop_assert_eq!(edited, body);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_json_makes_the_reader_panic(
            names in prop::collection::vec(
                prop::sample::select(vec!["model", "messages", "tools", "functions", "stream", "stream_options", "n", "max_tokens", "response_format"]), 0..5),
            values in prop::collection::vec(any_json(), 5),
        ) {
            let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let _ = read(format!("{{{}}}", members.join(",")).as_bytes());
        }
    }
}
