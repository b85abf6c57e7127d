//! OpenAI's moderations: `POST */moderations`.
//!
//! In: text, a list of texts, or a list of parts. Out: a result for each text, or one for all
//! parts, that flags nothing; no usage, because the API has none. Wire format: OpenAI's API
//! reference, "Moderations". Not here: judging the text.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Format, openai};

/// `POST */moderations`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/moderations"),
    answer: |behaviour, received| match openai::object(&received.body) {
        Ok(request) => Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), moderated(&request)),
        Err(refusal) => refusal,
    },
    error: openai::error,
};

const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

fn moderated(request: &Value) -> String {
    let each = |value: Value| CATEGORIES.map(|name| (name.to_owned(), value.clone())).into_iter().collect();
    let result = json!({
        "flagged": false,
        "categories": Value::Object(each(false.into())),
        "category_scores": Value::Object(each(0.0.into())),
        "category_applied_input_types": Value::Object(each(json!(["text"]))),
    });
    let texts = match &request["input"] {
        Value::Array(list) if list.iter().all(Value::is_string) => list.len(),
        _ => 1,
    };
    let model = request["model"].as_str().unwrap_or("omni-moderation-latest");
    json!({ "id": "modr-mock", "model": model, "results": vec![result; texts] }).to_string()
}
