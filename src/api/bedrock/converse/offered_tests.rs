use super::*;
use crate::api::outline::outline;

fn edited(body: &str, hidden: &[&str]) -> String {
    let edits = without(&outline(body), &|name| hidden.contains(&name));
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

const MAIL: &str = r#"{"toolSpec":{"name":"mail","inputSchema":{"json":{"name":"x"}}}}"#;
const PAY: &str = r#"{"toolSpec":{"name":"pay"}}"#;
const MARK: &str = r#"{"cachePoint":{"type":"default"}}"#;

#[test]
fn tools_of_the_client_and_of_the_model_are_offered() {
    let body = format!(
        r#"{{"toolConfig":{{"tools":[{MAIL},{MARK},{{"systemTool":{{"name":"nova_grounding"}}}}]}}}}"#
    );
    assert_eq!(offered(&outline(&body)), ["mail", "nova_grounding"]);
}

#[test]
fn a_choice_of_a_hidden_tool_is_left_to_the_model() {
    let with = |tools: &str, choice: &str| {
        format!(r#"{{"toolConfig":{{"tools":[{tools}],"toolChoice":{choice}}},"messages":[]}}"#)
    };
    let both = format!("{MAIL},{PAY}");
    assert_eq!(edited(&with(&both, r#"{"tool":{"name":"mail"}}"#), &["mail"]), with(PAY, r#"{"auto":{}}"#));
    for choice in [r#"{"tool":{"name":"pay"}}"#, r#"{"any":{}}"#] {
        assert_eq!(edited(&with(&both, choice), &["mail"]), with(PAY, choice));
    }
}

#[test]
fn a_mark_goes_with_the_last_tool_before_it() {
    let with = |tools: &str| format!(r#"{{"toolConfig":{{"tools":[{tools}]}}}}"#);
    assert_eq!(edited(&with(&format!("{MAIL},{MARK},{PAY}")), &["mail"]), with(PAY));
    assert_eq!(edited(&with(&format!("{PAY},{MAIL},{MARK}")), &["mail"]), with(&format!("{PAY},{MARK}")));
    assert_eq!(edited(&with(&format!("{MAIL},{MARK}")), &["mail"]), "{}");
}

#[test]
fn where_the_history_needs_tools_one_that_does_nothing_stands_in_for_them() {
    for block in [r#"{"toolUse":{"name":"mail"}}"#, r#"{"toolResult":{"toolUseId":"a"}}"#] {
        let messages = format!(r#""messages":[{{"content":[{{"text":"a"}},{block}]}}]"#);
        let body =
            format!(r#"{{"toolConfig":{{"toolChoice":{{"any":{{}}}},"tools":[{MAIL},{MARK}]}},{messages}}}"#);
        assert_eq!(
            edited(&body, &["mail"]),
            format!(r#"{{"toolConfig":{{"tools":{STAND_IN}}},{messages}}}"#)
        );
    }
    assert!(serde_json::from_str::<serde_json::Value>(STAND_IN).is_ok());
    let text =
        format!(r#"{{"messages":[{{"content":[{{"text":"toolUse"}}]}}],"toolConfig":{{"tools":[{MAIL}]}}}}"#);
    assert_eq!(edited(&text, &["mail"]), r#"{"messages":[{"content":[{"text":"toolUse"}]}]}"#);
}
