use super::*;
use crate::api::outline::outline;

fn edited(body: &str, hidden: &[&str]) -> String {
    let edits = without(&outline(body), &|name| hidden.contains(&name));
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

const MAIL: &str = r#"{"type":"function","function":{"name":"mail"}}"#;
const PAY: &str = r#"{"type":"function","function":{"name":"pay"}}"#;
const SQL: &str = r#"{"type":"custom","custom":{"name":"sql"}}"#;

#[test]
fn functions_custom_tools_and_functions_in_the_older_form_are_offered() {
    let body = format!(
        r#"{{"tools":[{MAIL},{SQL},{{"type":"other"}}],"functions":[{{"name":"older","description":"name"}}]}}"#
    );
    assert_eq!(offered(&outline(&body)), ["mail", "sql", "older"]);
}

#[test]
fn a_choice_of_a_hidden_tool_is_left_to_the_model() {
    let with = |choice: &str| format!(r#"{{"tools":[{MAIL},{PAY},{SQL}], "tool_choice": {choice} ,"n":1}}"#);
    let without_mail = |choice: &str| format!(r#"{{"tools":[{PAY},{SQL}], "tool_choice": {choice} ,"n":1}}"#);
    let without_sql = |choice: &str| format!(r#"{{"tools":[{MAIL},{PAY}], "tool_choice": {choice} ,"n":1}}"#);
    assert_eq!(edited(&with(MAIL), &["mail"]), without_mail("\"auto\""));
    assert_eq!(edited(&with(SQL), &["sql"]), without_sql("\"auto\""));
    for choice in [PAY, "\"required\"", "\"none\"", "null"] {
        assert_eq!(edited(&with(choice), &["mail"]), without_mail(choice));
    }
}

#[test]
fn allowed_tools_lose_the_hidden_ones() {
    let with = |tools: &str, allowed: &str| {
        format!(
            r#"{{"tool_choice":{{"type":"allowed_tools","allowed_tools":{{"mode":"required","tools":[{allowed}]}}}},"tools":[{tools}]}}"#
        )
    };
    let body = with(&format!("{MAIL},{PAY},{SQL}"), &format!("{MAIL}, {PAY}"));
    assert_eq!(edited(&body, &["mail"]), with(&format!("{PAY},{SQL}"), PAY));
    assert_eq!(edited(&body, &["mail", "pay"]), format!(r#"{{"tool_choice":"auto","tools":[{SQL}]}}"#));
}

#[test]
fn the_last_tool_takes_with_it_what_stands_only_with_tools() {
    let body = format!(
        r#"{{"tools":[{MAIL}, {MAIL}],"parallel_tool_calls":false,"model":"m","tool_choice":"required","messages":[{{"role":"tool","content":"x"}}]}}"#
    );
    assert_eq!(edited(&body, &["mail"]), r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#);
}

#[test]
fn functions_in_the_older_form_go_by_themselves() {
    let body = format!(
        r#"{{"functions":[{{"name":"a"}},{{"name":"b"}}],"function_call":{{"name":"a"}},"tools":[{MAIL}],"tool_choice":"auto"}}"#
    );
    assert_eq!(
        edited(&body, &["a"]),
        format!(
            r#"{{"functions":[{{"name":"b"}}],"function_call":"auto","tools":[{MAIL}],"tool_choice":"auto"}}"#
        )
    );
    assert_eq!(edited(&body, &["a", "b"]), format!(r#"{{"tools":[{MAIL}],"tool_choice":"auto"}}"#));
    assert_eq!(
        edited(&body, &["mail"]),
        r#"{"functions":[{"name":"a"},{"name":"b"}],"function_call":{"name":"a"}}"#
    );
}

#[test]
fn a_tool_that_some_parsers_know_by_a_hidden_name_goes() {
    let twice = r#"{"tools":[{"function":{"name":"pay","name":"mail"}},{"function":{"name":"pay"},"function":{"name":"mail","\ud800":1}}],"n":1}"#;
    assert_eq!(edited(twice, &["pay"]), r#"{"n":1}"#);
    assert_eq!(edited(twice, &["mail"]), r#"{"n":1}"#);
    let list_named_twice = format!(r#"{{"tools":[{MAIL}],"tools":[{MAIL},{PAY}],"tools":{MAIL}}}"#);
    assert_eq!(edited(&list_named_twice, &["mail"]), format!(r#"{{"tools":[{PAY}]}}"#));
}
