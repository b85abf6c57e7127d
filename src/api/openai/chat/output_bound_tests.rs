use super::*;
use crate::api::Unbounded;
use crate::api::bound::edited;

fn bounded(body: &str, model: Option<&str>) -> Result<String, Unbounded> {
    edited(with_max_output, body, model, 9)
}

#[test]
fn whichever_name_is_there_is_lowered() {
    for (body, expected) in [
        (r#"{"messages":[],"max_tokens":50}"#, r#"{"messages":[],"max_tokens":9}"#),
        (r#"{"messages":[],"max_completion_tokens":50}"#, r#"{"messages":[],"max_completion_tokens":9}"#),
        (
            r#"{"max_tokens":50,"messages":[],"max_completion_tokens":60}"#,
            r#"{"max_tokens":9,"messages":[],"max_completion_tokens":9}"#,
        ),
        (
            r#"{"max_tokens":null,"messages":[],"max_completion_tokens":4}"#,
            r#"{"max_tokens":null,"messages":[],"max_completion_tokens":4}"#,
        ),
        (
            r#"{"max_tokens":5,"messages":[],"n_predict":-1}"#,
            r#"{"max_tokens":5,"messages":[],"n_predict":9}"#,
        ),
    ] {
        assert_eq!(bounded(body, Some("o3")).as_deref(), Ok(expected), "{body}");
        assert_eq!(bounded(body, None).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn a_name_that_the_model_knows_is_set_where_there_is_none() {
    for model in
        ["o3", "o1-preview", "o4-mini", "gpt-5", "gpt-5.1-codex", "ft:gpt-5-mini:x", "openai.gpt-oss-20b-1:0"]
    {
        let expected = Ok(r#"{"max_completion_tokens":9,"messages":[]}"#);
        assert_eq!(bounded(r#"{"messages":[]}"#, Some(model)).as_deref(), expected, "{model}");
    }
    for model in [
        "gpt-4o",
        "gpt-35-turbo",
        "chatgpt-4o-latest",
        "gpt-oss:20b",
        "olmo-2",
        "openai/gpt-5",
        "mistral-large",
        "",
    ] {
        let expected = Ok(r#"{"max_tokens":9,"messages":[]}"#);
        assert_eq!(bounded(r#"{"messages":[]}"#, Some(model)).as_deref(), expected, "{model}");
    }
}

#[test]
fn the_model_that_will_be_asked_comes_before_the_one_in_the_body() {
    let body = r#"{"model":"gpt-4o"}"#;
    assert_eq!(bounded(body, Some("o3")).as_deref(), Ok(r#"{"max_completion_tokens":9,"model":"gpt-4o"}"#));
    assert_eq!(bounded(body, None).as_deref(), Ok(r#"{"max_tokens":9,"model":"gpt-4o"}"#));
}

#[test]
fn the_older_name_left_empty_is_not_what_a_newer_model_is_given() {
    let body = r#"{"model":"o3","max_tokens":null}"#;
    let expected = r#"{"max_completion_tokens":9,"model":"o3","max_tokens":null}"#;
    assert_eq!(bounded(body, None).as_deref(), Ok(expected));
}

#[test]
fn thinking_that_would_not_fit_stays_as_it_is() {
    for thinking in [r#""thinking":{"type":"enabled","budget_tokens":9}"#, r#""reasoning":{"max_tokens":9}"#]
    {
        let body = format!(r#"{{"messages":[],"max_tokens":50,{thinking}}}"#);
        assert_eq!(bounded(&body, None), Err(Unbounded::Thinking), "{thinking}");
        assert!(edited(with_max_output, &body, None, 10).is_ok(), "{thinking}");
    }
}

#[test]
fn a_body_that_names_a_bound_twice_is_left_alone() {
    assert_eq!(bounded(r#"{"max_tokens":50,"max_tokens":1}"#, None), Err(Unbounded::Unknown));
    assert_eq!(bounded("[", None), Err(Unbounded::Unknown));
}
