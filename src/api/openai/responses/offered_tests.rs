use super::*;
use crate::api::outline::outline;

fn edited(body: &str, hidden: &[&str]) -> String {
    let edits = without(&outline(body), &|name| hidden.contains(&name));
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

const TOOLS: &str = r#"{"type":"function","name":"mail"},{"type":"web_search","filters":{"name":"x"}},{"type":"mcp","server_label":"s"}"#;

#[test]
fn tools_of_the_providers_own_are_offered_by_their_type() {
    assert_eq!(offered(&outline(&format!("{{\"tools\":[{TOOLS}]}}"))), ["mail", "web_search", "mcp"]);
}

#[test]
fn a_choice_of_a_hidden_tool_is_left_to_the_model() {
    let body = |choice: &str| format!(r#"{{"tools":[{TOOLS}],"tool_choice":{choice},"input":"a"}}"#);
    let left = r#"{"type":"function","name":"mail"},{"type":"mcp","server_label":"s"}"#;
    let without_search = |choice: &str| format!(r#"{{"tools":[{left}],"tool_choice":{choice},"input":"a"}}"#);
    assert_eq!(edited(&body(r#"{"type":"web_search"}"#), &["web_search"]), without_search("\"auto\""));
    for choice in
        [r#"{"type":"function","name":"mail"}"#, "\"required\"", r#"{"type":"mcp","server_label":"s"}"#]
    {
        assert_eq!(edited(&body(choice), &["web_search"]), without_search(choice));
    }
}

#[test]
fn allowed_tools_lose_the_hidden_ones() {
    let with = |tools: &str, choice: &str| format!(r#"{{"tools":[{tools}],"tool_choice":{choice}}}"#);
    let allowed = r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"mail"},{"type":"web_search"}]}"#;
    let mcp = r#"{"type":"mcp","server_label":"s"}"#;
    let less = r#"{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"mail"}]}"#;
    let left = format!(r#"{{"type":"function","name":"mail"}},{mcp}"#);
    assert_eq!(edited(&with(TOOLS, allowed), &["web_search"]), with(&left, less));
    assert_eq!(edited(&with(TOOLS, allowed), &["web_search", "mail"]), with(mcp, "\"auto\""));
}

#[test]
fn the_last_tool_takes_with_it_what_stands_only_with_tools() {
    let body = format!(
        r#"{{"input":[{{"type":"function_call","name":"mail"}}],"tools":[{TOOLS}],"tool_choice":"required","parallel_tool_calls":true}}"#
    );
    assert_eq!(
        edited(&body, &["mail", "web_search", "mcp"]),
        r#"{"input":[{"type":"function_call","name":"mail"}]}"#
    );
}
