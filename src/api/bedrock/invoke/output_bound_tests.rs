use super::*;
use crate::api::bound::edited;
use crate::api::outline::outline;

const CLAUDE: Option<&str> = Some("us.anthropic.claude-sonnet-4-5-20250929-v1:0");

#[test]
fn forms_that_others_have_are_bounded_as_theirs() {
    for (body, expected) in [
        (
            r#"{"anthropic_version":"x","messages":[],"max_tokens":500}"#,
            r#"{"anthropic_version":"x","messages":[],"max_tokens":9}"#,
        ),
        (
            r#"{"schemaVersion":"messages-v1","messages":[]}"#,
            r#"{"inferenceConfig":{"maxTokens":9},"schemaVersion":"messages-v1","messages":[]}"#,
        ),
        (r#"{"messages":[]}"#, r#"{"max_tokens":9,"messages":[]}"#),
    ] {
        assert_eq!(edited(with_max_output, body, None, 9).as_deref(), Ok(expected), "{body}");
    }
    let gpt = edited(with_max_output, r#"{"messages":[]}"#, Some("openai.gpt-oss-20b-1:0"), 9);
    assert_eq!(gpt.as_deref(), Ok(r#"{"max_completion_tokens":9,"messages":[]}"#));
    let thinking =
        r#"{"anthropic_version":"x","messages":[],"thinking":{"type":"enabled","budget_tokens":9}}"#;
    assert_eq!(edited(with_max_output, thinking, CLAUDE, 9), Err(Unbounded::Thinking));
}

#[test]
fn a_bound_that_is_there_is_lowered_whatever_the_model() {
    for (body, expected) in [
        (r#"{"prompt":"x","max_gen_len":500}"#, r#"{"prompt":"x","max_gen_len":9}"#),
        (r#"{"prompt":"x","max_gen_len":null}"#, r#"{"prompt":"x","max_gen_len":9}"#),
        (
            r#"{"prompt":"x","maxTokens":5,"max_tokens_to_sample":500}"#,
            r#"{"prompt":"x","maxTokens":5,"max_tokens_to_sample":9}"#,
        ),
        (
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":128}}"#,
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":9}}"#,
        ),
        (
            r#"{"inputText":"x","textGenerationConfig":{}}"#,
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":9}}"#,
        ),
    ] {
        assert_eq!(edited(with_max_output, body, None, 9).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn a_bound_that_is_not_there_is_set_where_the_model_tells_its_name() {
    let prompt = r#"{"prompt":"x"}"#;
    for (model, expected) in [
        ("us.meta.llama3-3-70b-instruct-v1:0", r#"{"max_gen_len":9,"prompt":"x"}"#),
        ("anthropic.claude-v2:1", r#"{"max_tokens_to_sample":9,"prompt":"x"}"#),
        ("mistral.mistral-7b-instruct-v0:2", r#"{"max_tokens":9,"prompt":"x"}"#),
        ("amazon.titan-text-express-v1", r#"{"textGenerationConfig":{"maxTokenCount":9},"prompt":"x"}"#),
    ] {
        assert_eq!(edited(with_max_output, prompt, Some(model), 9).as_deref(), Ok(expected), "{model}");
    }
    let cohere = edited(with_max_output, r#"{"message":"x"}"#, None, 9);
    assert_eq!(cohere.as_deref(), Ok(r#"{"max_tokens":9,"message":"x"}"#));
}

#[test]
fn what_is_of_no_known_form_is_left_alone() {
    for (body, model) in [
        (r#"{"prompt":"x"}"#, None),
        (r#"{"prompt":"x"}"#, Some("new.model-v1")),
        (r#"{"inputText":"x"}"#, Some("amazon.titan-embed-text-v2:0")),
        (r#"{"texts":["x"],"input_type":"search_query"}"#, Some("cohere.embed-english-v3")),
        (r#"{"inputText":"x","textGenerationConfig":7}"#, None),
    ] {
        assert_eq!(with_max_output(&outline(body), model, 9), Err(Unbounded::Unknown), "{body}");
    }
}
