use super::*;
use crate::api::outline::outline;
use crate::api::{FORMATS, Format};

fn cut(json: &str, gone: &[bool]) -> String {
    let body = outline(json);
    let elements = if json.trim_start().starts_with('{') { body } else { body.list(json) };
    String::from_utf8(Edit::apply_all(&elements.without(gone), json.as_bytes())).unwrap()
}

#[test]
fn elements_go_with_the_commas_that_belong_to_them() {
    let list = "[ 1 , 2,3 ]";
    let cases: [(&[bool], &str); 7] = [
        (&[false, false, false], "[ 1 , 2,3 ]"),
        (&[true, false, false], "[ 2,3 ]"),
        (&[false, true, false], "[ 1,3 ]"),
        (&[false, false, true], "[ 1 , 2 ]"),
        (&[true, true, false], "[ 3 ]"),
        (&[true, false, true], "[ 2 ]"),
        (&[true, true, true], "[  ]"),
    ];
    for (gone, left) in cases {
        assert_eq!(cut(list, gone), left, "{gone:?}");
    }
    let object = " {\"a\" : [\",\"] ,\n\"b\":{},\"c\":3}";
    assert_eq!(cut(object, &[true, false, false]), " {\"b\":{},\"c\":3}");
    assert_eq!(cut(object, &[false, true, false]), " {\"a\" : [\",\"],\"c\":3}");
    assert_eq!(cut(object, &[true, true, true]), " {}");
}

#[test]
fn every_value_of_a_member_named_twice_counts_and_keys_need_not_be_text() {
    assert_eq!(name(r#"{"name":"a","n\u0061me":"b","name":null}"#), ["a", "b"]);
    assert_eq!(name(r#"{"\ud800":1,"name":"a"}"#), ["a"]);
    assert_eq!(name(r#"{"name":"\ud800"}"#), [r#""\ud800""#]);
    assert_eq!(name(r#"{"name":7}"#), ["7"]);
    assert_eq!(name("[]"), [""; 0]);
}

#[test]
fn thousands_of_tools_are_no_burden() {
    let tools: Vec<_> = (0..50_000).map(|n| format!(r#"{{"function":{{"name":"f{n}"}}}}"#)).collect();
    let body = format!(r#"{{"messages":[],"tools":[{}]}}"#, tools.join(","));
    let format = format_of("openai_chat");
    assert_eq!(format.tools_offered(&outline(&body)).len(), 50_000);
    let edits = (format.without_tools)(&outline(&body), &|name| name.ends_with('7'));
    let edited = Edit::apply_all(&edits, body.as_bytes());
    assert_eq!(format.tools_offered(&outline(&edited)).len(), 45_000);
}

#[test]
fn bodies_of_another_shape_offer_nothing_and_stay() {
    let deep = format!("{{\"tools\":{}{}}}", "[".repeat(300_000), "]".repeat(300_000));
    for format in FORMATS.iter().copied() {
        for body in ["null", "[]", "{}", r#"{"tools":7}"#, r#"{"tools":[7,null,"x",[]]}"#, &deep] {
            assert_eq!(format.tools_offered(&outline(body)), [""; 0], "{}: {body:.20}", format.name);
            assert_eq!((format.without_tools)(&outline(body), &|_| true), [], "{}: {body:.20}", format.name);
        }
    }
}

fn format_of(name: &str) -> &'static Format {
    FORMATS.iter().copied().find(|format| format.name == name).unwrap()
}

mod properties {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// A format's form of one tool, the choice of it, some allowed ones, and the members of a
    /// request around them.
    struct Dialect {
        format: &'static str,
        tool: fn(&str) -> Value,
        chosen: fn(&str) -> Value,
        allowed: fn(&[String]) -> Value,
        body: fn(Value, Value) -> Value,
    }

    const DIALECTS: [Dialect; 7] = [
        Dialect {
            format: "openai_chat",
            tool: |name| json!({ "type": "function", "function": { "name": name, "parameters": { "name": "p" } } }),
            chosen: |name| json!({ "type": "function", "function": { "name": name } }),
            allowed: |names| {
                let tools: Vec<_> = names
                    .iter()
                    .map(|name| json!({ "type": "function", "function": { "name": name } }))
                    .collect();
                json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": tools } })
            },
            body: |tools, choice| json!({ "model": "m", "tools": tools, "tool_choice": choice, "parallel_tool_calls": true, "zebra": [1] }),
        },
        Dialect {
            format: "openai_responses",
            tool: |name| json!({ "type": "function", "name": name, "parameters": {} }),
            chosen: |name| json!({ "type": "function", "name": name }),
            allowed: |names| {
                let tools: Vec<_> =
                    names.iter().map(|name| json!({ "type": "function", "name": name })).collect();
                json!({ "type": "allowed_tools", "mode": "auto", "tools": tools })
            },
            body: |tools, choice| json!({ "input": "a", "tools": tools, "tool_choice": choice }),
        },
        Dialect {
            format: "anthropic_messages",
            tool: |name| json!({ "name": name, "input_schema": { "type": "object" } }),
            chosen: |name| json!({ "type": "tool", "name": name, "disable_parallel_tool_use": true }),
            allowed: |_| json!({ "type": "any" }),
            body: |tools, choice| json!({ "messages": [{ "role": "user", "content": "a" }], "tools": tools, "tool_choice": choice }),
        },
        Dialect {
            format: "bedrock_converse",
            tool: |name| json!({ "toolSpec": { "name": name, "inputSchema": { "json": {} } } }),
            chosen: |name| json!({ "tool": { "name": name } }),
            allowed: |_| json!({ "any": {} }),
            body: |tools, choice| json!({ "messages": [], "toolConfig": { "tools": tools, "toolChoice": choice }, "system": [] }),
        },
        Dialect {
            format: "gemini",
            tool: |name| json!({ "functionDeclarations": [{ "name": name }] }),
            chosen: |name| json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": [name] } }),
            allowed: |names| json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": names } }),
            body: |tools, choice| json!({ "contents": [], "tools": tools, "toolConfig": choice }),
        },
        Dialect {
            format: "cohere_chat",
            tool: |name| json!({ "type": "function", "function": { "name": name } }),
            chosen: |_| json!("REQUIRED"),
            allowed: |_| json!("NONE"),
            body: |tools, choice| json!({ "messages": [], "tools": tools, "tool_choice": choice, "strict_tools": true }),
        },
        Dialect {
            format: "ollama_chat",
            tool: |name| json!({ "type": "function", "function": { "name": name } }),
            chosen: |_| Value::Null,
            allowed: |_| Value::Null,
            body: |tools, choice| json!({ "options": choice, "tools": tools, "model": "m" }),
        },
    ];

    /// The members that may change.
    const OURS: [&str; 7] = [
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "toolConfig",
        "strict_tools",
        "functions",
        "function_call",
    ];

    /// Collects all texts of a value.
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Object(members) => members.values().for_each(|member| texts(member, found)),
            _ => {}
        }
    }

    /// Generates names without meaning in any dialect, some with arbitrary characters.
    fn names() -> impl Strategy<Value = Vec<(String, bool)>> {
        let name = prop_oneof!["tool_[a-f]", "tool_\\PC{0,6}", "tool_[\"\\\\,\\[\\]{}: \n]{0,4}"];
        prop::collection::vec((name, any::<bool>()), 1..8)
    }

    proptest! {
        #[test]
        fn exactly_the_hidden_tools_go(
            dialect in 0..DIALECTS.len(), tools in names(), chosen in any::<prop::sample::Index>(), choice in 0..3, pretty in any::<bool>(),
        ) {
            let dialect = &DIALECTS[dialect];
            let format = format_of(dialect.format);
            let hidden: Vec<_> = tools.iter().filter(|(_, hide)| *hide).map(|(name, _)| name.clone()).collect();
            let names: Vec<_> = tools.iter().map(|(name, _)| name.clone()).collect();
            let others: Vec<_> = names.iter().filter(|name| !hidden.contains(name)).cloned().collect();
            let list = names.iter().map(|name| (dialect.tool)(name)).collect();
            let choice = match choice {
                0 => (dialect.chosen)(chosen.get::<String>(&names)),
                1 => (dialect.allowed)(&names),
                _ => Value::Null,
            };
            let body = (dialect.body)(list, choice.clone());
            let text = if pretty { serde_json::to_string_pretty(&body).unwrap() } else { body.to_string() };
            prop_assert_eq!(format.tools_offered(&outline(&text)), names.clone());

            let edits = (format.without_tools)(&outline(&text), &|name| hidden.iter().any(|hidden| hidden == name));

            let edited = Edit::apply_all(&edits, text.as_bytes());
            if hidden.is_empty() {
                prop_assert_eq!(edits, []);
                return Ok(());
            }
            prop_assert_eq!(format.tools_offered(&outline(&edited)), others.clone());
            let mut after: Value = serde_json::from_slice(&edited).unwrap();
            let mut left = Vec::new();
            OURS.iter().for_each(|ours| texts(&after[ours], &mut left));
            prop_assert!(left.iter().all(|text| !hidden.contains(text)), "{:?}", after);
            let named = choice.to_string();
            if !others.is_empty() && !hidden.iter().any(|name| named.contains(&json!(name).to_string())) {
                let expected = (dialect.body)(others.iter().map(|name| (dialect.tool)(name)).collect(), choice);
                prop_assert_eq!(&after, &expected);
            }
            if others.is_empty() {
                OURS.iter().for_each(|ours| assert!(after.get(ours).is_none_or(Value::is_null), "{ours} is left: {after}"));
            }
            let mut before = body;
            for members in [&mut before, &mut after] {
                members.as_object_mut().unwrap().retain(|name, _| !OURS.contains(&name.as_str()));
            }
            prop_assert_eq!(before, after);
        }

        #[test]
        fn no_json_makes_a_format_panic(format in 0..FORMATS.len(), tools in "[\\[\\]{}\",:0-9a-z. -]{0,40}") {
            let format = FORMATS[format];
            for body in [format!("{{\"tools\":{tools}}}"), format!("{{\"toolConfig\":{tools}}}")] {
                let Ok(outline) = Outline::of(&body) else { continue };
                let _ = format.tools_offered(&outline);
                let _ = (format.without_tools)(&outline, &|_| true);
            }
        }
    }
}
