use super::*;
use crate::api::outline::outline;

fn edited(body: &str, hidden: &[&str]) -> String {
    let edits = without(&outline(body), &|name| hidden.contains(&name));
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

const MAIL: &str = r#"{"name":"mail","parameters":{"name":"x"}}"#;

#[test]
fn functions_are_offered_in_both_spellings() {
    let body = format!(
        r#"{{"tools":[{{"functionDeclarations":[{MAIL}]}},{{"googleSearch":{{}}}},{{"function_declarations":[{{"name":"pay"}}]}}]}}"#
    );
    assert_eq!(offered(&outline(&body)), ["mail", "pay"]);
}

#[test]
fn a_tool_whose_functions_are_gone_goes_unless_something_else_is_in_it() {
    let with = |tools: &str| format!(r#"{{"contents":[],"tools":[{tools}]}}"#);
    let body = with(&format!(
        r#"{{"functionDeclarations":[{MAIL}]}},{{"functionDeclarations":[{MAIL}],"googleSearch":{{}}}},{{"functionDeclarations":[{{"name":"pay"}},{MAIL}],"codeExecution":null}}"#
    ));
    let left = r#"{"googleSearch":{}},{"functionDeclarations":[{"name":"pay"}],"codeExecution":null}"#;
    assert_eq!(edited(&body, &["mail"]), with(left));
    assert_eq!(edited(&body, &["mail", "pay"]), with(r#"{"googleSearch":{}}"#));
}

#[test]
fn allowed_functions_lose_the_hidden_ones_and_without_any_the_model_is_free() {
    let with = |declared: &str, calling: &str| {
        format!(
            r#"{{"tool_config":{{"function_calling_config":{{{calling}}}}},"tools":[{{"functionDeclarations":[{declared}]}}]}}"#
        )
    };
    let all = format!(r#"{MAIL},{{"name":"pay"}},{{"name":"sql"}}"#);
    let body = with(&all, r#""mode":"ANY","allowed_function_names":["mail","pay"]"#);
    assert_eq!(
        edited(&body, &["mail"]),
        with(r#"{"name":"pay"},{"name":"sql"}"#, r#""mode":"ANY","allowed_function_names":["pay"]"#)
    );
    assert_eq!(edited(&body, &["mail", "pay"]), with(r#"{"name":"sql"}"#, r#""mode":"AUTO""#));
    let camel = r#"{"tools":{"functionDeclarations":[{"name":"a"},{"name":"b"}]},"toolConfig":{"functionCallingConfig":{"allowedFunctionNames":"a","mode":"VALIDATED"}}}"#;
    assert_eq!(
        edited(camel, &["a"]),
        r#"{"tools":{"functionDeclarations":[{"name":"b"}]},"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}"#
    );
}

#[test]
fn a_configuration_of_calls_goes_with_the_last_function() {
    let with = |tools: &str, config: &str| {
        format!(r#"{{"contents":[],"tools":[{tools}],"toolConfig":{{{config}}}}}"#)
    };
    let calling = r#""functionCallingConfig":{"mode":"ANY"}"#;
    let retrieval = r#""retrievalConfig":{"languageCode":"de"}"#;
    let functions = format!(r#"{{"functionDeclarations":[{MAIL}]}}"#);
    let search = r#"{"googleSearch":{}}"#;
    assert_eq!(edited(&with(&functions, calling), &["mail"]), r#"{"contents":[]}"#);
    assert_eq!(
        edited(&with(&format!("{functions},{search}"), &format!("{calling},{retrieval}")), &["mail"]),
        with(search, retrieval)
    );
    assert_eq!(
        edited(&with(&format!("{functions},{search}"), calling), &["mail"]),
        format!(r#"{{"contents":[],"tools":[{search}]}}"#)
    );
}
