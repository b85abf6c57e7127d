//! Tests of the edits that bound a request's output, for all formats.

use crate::api::outline::outline;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Readable requests without any bound, by format.
const BODIES: [(&str, &str); 13] = [
    ("openai_chat", r#""messages":[{"role":"user","content":"Hi"}]"#),
    ("openai_completions", r#""prompt":["a","b"]"#),
    ("llama_completion", r#""prompt":["a",[1,"b"]]"#),
    ("openai_responses", r#""input":"Hi""#),
    ("anthropic_messages", r#""messages":[{"role":"user","content":"Hi"}]"#),
    ("bedrock_converse", r#""messages":[{"role":"user","content":[{"text":"Hi"}]}]"#),
    ("bedrock_invoke", r#""anthropic_version":"x","messages":[{"role":"user","content":"Hi"}]"#),
    ("bedrock_invoke", r#""schemaVersion":"x","messages":[{"role":"user","content":[{"text":"Hi"}]}]"#),
    ("bedrock_invoke", r#""prompt":"Hi""#),
    ("gemini", r#""contents":[{"parts":[{"text":"Hi"}]}]"#),
    ("cohere_chat", r#""messages":[{"role":"user","content":"Hi"}]"#),
    ("ollama_chat", r#""messages":[{"role":"user","content":"Hi"}]"#),
    ("ollama_generate", r#""prompt":"Hi""#),
];

/// Further members, including all that bound output.
const NAMES: [&str; 24] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_gen_len",
    "maxTokens",
    "max_tokens_to_sample",
    "n_predict",
    "n",
    "n_cmpl",
    "best_of",
    "num_generations",
    "model",
    "stream",
    "stream_options",
    "thinking",
    "temperature",
    "textGenerationConfig",
    "inferenceConfig",
    "generationConfig",
    "generation_config",
    "options",
    "additionalModelRequestFields",
    "mod\\u0065l",
    "user",
];

/// Members of the objects among those.
const INNER: [&str; 10] = [
    "maxTokenCount",
    "maxTokens",
    "max_new_tokens",
    "maxOutputTokens",
    "max_output_tokens",
    "candidateCount",
    "num_predict",
    "include_usage",
    "budget_tokens",
    "thinkingConfig",
];

const VALUES: [&str; 14] =
    ["null", "0", "1", "7", "16", "40", "40.5", "4096", "1e30", "-1", "\"50\"", "\"gpt-5\"", "true", "{}"];

/// A model that determines the name of its bound; a plain `prompt` does not.
const LLAMA: &str = "meta.llama3-8b-instruct-v1:0";

fn format(name: &str) -> &'static Format {
    FORMATS.iter().copied().find(|format| format.name == name).unwrap()
}

fn apply(edits: &[Edit], body: &str) -> String {
    String::from_utf8(Edit::apply_all(edits, body.as_bytes())).unwrap()
}

/// Returns a document without its bounds on output, and without objects that this empties.
fn unbounded(mut value: Value) -> Value {
    const CONFIGS: [&str; 5] =
        ["textGenerationConfig", "inferenceConfig", "generationConfig", "generation_config", "options"];
    let without_bounds = |members: &mut serde_json::Map<String, Value>| {
        members.retain(|name, _| {
            let is_bound = NAMES[..7].contains(&name.as_str()) || INNER[..5].contains(&name.as_str());
            !is_bound && name != "num_predict"
        });
    };
    let members = value.as_object_mut().unwrap();
    without_bounds(members);
    for name in CONFIGS {
        if let Some(inner) = members.get_mut(name).and_then(Value::as_object_mut) {
            without_bounds(inner);
        }
    }
    members.retain(|name, value| {
        !CONFIGS.contains(&name.as_str()) || value.as_object().is_some_and(|inner| !inner.is_empty())
    });
    value
}

fn member(name: &'static str, space: &'static str) -> impl Strategy<Value = String> {
    let inner =
        prop::collection::vec((prop::sample::select(&INNER[..]), prop::sample::select(&VALUES[..])), 1..4);
    let inner = inner.prop_map(|members| {
        let members: Vec<_> =
            members.into_iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(" ,"))
    });
    let value = prop_oneof![3 => prop::sample::select(&VALUES[..]).prop_map(str::to_owned), 2 => inner];
    value.prop_map(move |value| format!("{space}\"{name}\":{space}{value}"))
}

/// Generates a body of one of `BODIES`, with further members before and after its own.
fn body() -> impl Strategy<Value = (&'static str, String)> {
    let space = prop::sample::select(vec!["", " ", "\n\t"]);
    let members = || {
        (prop::sample::select(&NAMES[..]), space.clone()).prop_flat_map(|(name, space)| member(name, space))
    };
    let members = || prop::collection::vec(members(), 0..3);
    (prop::sample::select(&BODIES[..]), members(), members()).prop_map(|((format, known), before, after)| {
        let all: Vec<_> = before.into_iter().chain([known.to_owned()]).chain(after).collect();
        (format, format!(" {{{}}}", all.join(",")))
    })
}

#[test]
fn every_format_that_bounds_output_takes_a_bound_of_each_choice() {
    for (name, members) in BODIES {
        let model = Some(LLAMA);
        let body = format!("{{{members}}}");
        let edits = (format(name).with_max_output)(&outline(&body), model, 99).unwrap();
        let edited = apply(&edits, &body);
        let request = (format(name).read)(&outline(&edited)).unwrap();
        assert_eq!(request.max_output, Some(99 * request.choices.unwrap_or(1)), "{edited}");
        assert_eq!((format(name).with_max_output)(&outline(&edited), model, 99), Ok(vec![]), "{edited}");
    }
}

#[test]
fn every_format_whose_bodies_name_a_model_takes_another() {
    for (name, members) in BODIES.into_iter().filter(|(name, _)| *name != "bedrock_converse").chain([
        ("openai_embeddings", r#""input":"Hi""#),
        ("openai_images", r#""prompt":"Hi""#),
        ("openai_speech", r#""input":"Hi""#),
        ("gemini_embed", r#""content":{"parts":[{"text":"Hi"}]}"#),
        ("cohere_embed", r#""texts":["Hi"]"#),
        ("ollama_embed", r#""input":"Hi""#),
    ]) {
        let body = format!(r#"{{{members},"model":"a"}}"#);
        let edit = (format(name).with_model)(&outline(&body), "b").unwrap();
        assert_eq!(apply(&[edit], &body), format!(r#"{{{members},"model":"b"}}"#), "{name}");
    }
}

#[test]
fn a_stream_can_be_asked_for_usage_and_bounded_at_once() {
    let body = r#"{"model":"gpt-5","messages":[],"stream":true}"#;
    let chat = format("openai_chat");
    let mut edits = (chat.with_max_output)(&outline(body), Some("gpt-5-mini"), 99).unwrap();
    edits.extend((chat.with_model)(&outline(body), "gpt-5-mini"));
    edits.extend((chat.ask_for_usage)(&outline(body), "gpt-5-mini"));
    let front = r#"{"max_completion_tokens":99,"stream_options":{"include_usage":true},"#;
    assert_eq!(apply(&edits, body), format!(r#"{front}"model":"gpt-5-mini","messages":[],"stream":true}}"#));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_softer_request_is_the_same_request_within_its_bound(
        (name, body) in body(),
        each in prop_oneof![0_u64..64, 0_u64..10_000],
        model in prop::sample::select(vec![None, Some("gpt-5"), Some(LLAMA), Some("amazon.titan-text-express-v1")]),
    ) {
        let format = format(name);
        let outline_of_body = outline(&body);
        let Ok(request) = (format.read)(&outline_of_body) else { return Ok(()) };
        let Ok(edits) = (format.with_max_output)(&outline_of_body, model, each) else { return Ok(()) };
        let bounded = apply(&edits, &body);
        let again = (format.read)(&outline(&bounded)).unwrap();
        let bound = again.max_output.unwrap();
        prop_assert!(bound <= each.saturating_mul(again.choices.unwrap_or(1)), "{bounded}");
        // Among plain members, a bound written as text, and a model's name, count as text.
        let is_plain = name == "bedrock_invoke" && body.contains("prompt");
        prop_assert!(is_plain || again.prompt.0 == request.prompt.0, "{bounded}");
        prop_assert_eq!((&again.model, again.choices), (&request.model, request.choices));
        let value = |body: &str| serde_json::from_str::<Value>(body).map(unbounded);
        // Numbers too large for a float make a document readable only to parsers of single members.
        prop_assert_eq!(value(&bounded).ok(), value(&body).ok());
        prop_assert_eq!((format.with_max_output)(&outline(&bounded), model, each), Ok(vec![]));

        let other = "other \"model\"";
        let renamed = (format.with_model)(&outline_of_body, other);
        prop_assert!(renamed.is_some() || request.model.is_none());
        let asking = (format.ask_for_usage)(&outline_of_body, "");
        let all: Vec<Edit> = asking.into_iter().chain(renamed.clone()).chain(edits).collect();
        let changed: usize = all.iter().map(|edit| edit.range.len()).sum();
        let softer = apply(&all, &body);
        let added: usize = all.iter().map(|edit| edit.text.len()).sum();
        prop_assert_eq!(softer.len(), body.len() - changed + added, "edits overlap");
        let outline_of_softer = outline(&softer);
        let again = (format.read)(&outline_of_softer).unwrap();
        prop_assert!((format.ask_for_usage)(&outline_of_softer, "").is_none());
        prop_assert_eq!(again.max_output, Some(bound));
        prop_assert!(is_plain || again.prompt.0 == request.prompt.0, "{softer}");
        if renamed.is_some() && request.model.is_some() {
            prop_assert_eq!(again.model.as_deref(), Some(other));
        }
    }

    #[test]
    fn no_json_makes_the_edits_panic(
        text in r#"\{("[a-z_]{0,9}":([0-9]|[\[\]{}",:]){0,12},?){0,4}\}"#,
        model in any::<String>(),
        each in any::<u64>(),
    ) {
        let Ok(outline) = Outline::of(&text) else { return Ok(()) };
        for format in FORMATS.iter().copied() {
            let _ = (format.with_model)(&outline, &model);
            let _ = (format.with_max_output)(&outline, Some(&model), each);
        }
    }
}
