use super::*;
use crate::api::outline::outline;

fn edited(body: &str, hidden: &[&str]) -> String {
    let edits = without(&outline(body), &|name| hidden.contains(&name));
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

const TOOLS: &str = r#"{"name":"mail","input_schema":{"properties":{"name":{}}}},{"type":"web_search_20250305","name":"web_search"}"#;
const SEARCH: &str = r#"{"type":"web_search_20250305","name":"web_search"}"#;

#[test]
fn all_tools_with_a_name_are_offered() {
    let body = format!(r#"{{"tools":[{TOOLS},{{"type":"mcp_toolset","mcp_server_name":"s"}}]}}"#);
    assert_eq!(offered(&outline(&body)), ["mail", "web_search"]);
}

#[test]
fn a_choice_of_a_hidden_tool_is_left_to_the_model_and_keeps_its_other_members() {
    let with =
        |tools: &str, choice: &str| format!(r#"{{"messages":[],"tools":[{tools}],"tool_choice":{choice}}}"#);
    let cases = [
        (r#"{"type":"tool","name":"mail"}"#, r#"{"type":"auto"}"#),
        (
            r#"{"name":"mail", "disable_parallel_tool_use":true, "type":"tool"}"#,
            r#"{"disable_parallel_tool_use":true, "type":"auto"}"#,
        ),
        (r#"{"type":"tool","name":"web_search"}"#, r#"{"type":"tool","name":"web_search"}"#),
        (r#"{"type":"any"}"#, r#"{"type":"any"}"#),
    ];
    for (choice, left) in cases {
        assert_eq!(edited(&with(TOOLS, choice), &["mail"]), with(SEARCH, left));
    }
}

#[test]
fn the_last_tool_goes_with_the_choice() {
    let body = format!(
        r#"{{"tools":[{TOOLS}],"tool_choice":{{"type":"any"}},"messages":[{{"content":[{{"type":"text","text":"tool_use"}}]}}]}}"#
    );
    let left = r#"{"messages":[{"content":[{"type":"text","text":"tool_use"}]}]}"#;
    assert_eq!(edited(&body, &["mail", "web_search"]), left);
}

#[test]
fn definitions_that_the_history_needs_stay_and_none_may_be_called() {
    let histories = [
        r#"[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"mail","input":{}}]}]"#,
        r#"[{"role":"user","content":"a"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}]"#,
    ];
    let none = r#""tool_choice":{"type":"none"}"#;
    for messages in histories {
        let rest = format!(r#""messages":{messages},"tools":[{TOOLS}]"#);
        assert_eq!(edited(&format!("{{ {rest}}}"), &["mail", "web_search"]), format!("{{ {none},{rest}}}"));
        for choice in [r#"{"type":"tool","name":"mail"}"#, "null"] {
            let body = format!(r#"{{{rest},"tool_choice":{choice}}}"#);
            assert_eq!(edited(&body, &["mail", "web_search"]), format!("{{{rest},{none}}}"));
        }
        let some = edited(&format!("{{{rest}}}"), &["mail"]);
        assert_eq!(some, format!(r#"{{"messages":{messages},"tools":[{SEARCH}]}}"#));
    }
}
