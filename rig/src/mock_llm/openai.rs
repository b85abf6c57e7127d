//! The common parts of OpenAI's APIs: the error body, the shapes of usage and events, the list of
//! models.
//!
//! In: parts of answers. Out: JSON, and events as OpenAI writes them. Wire format: OpenAI's API
//! reference, "Error codes", "Models", "Streaming". Not here: the formats themselves, which have a
//! file each.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Format};

/// `GET */models` and `GET */models/{model}`.
pub(super) const MODELS: Format = Format {
    serves: |method, path| {
        method == Method::GET
            && (path.ends_with("/models")
                || path.rsplit_once('/').is_some_and(|(head, _)| head.ends_with("/models")))
    },
    answer: |_, received| {
        let path = received.uri.path();
        let body = match path.rsplit_once("/models/") {
            Some((_, id)) => model(id),
            None => json!({ "object": "list", "data": MODEL_IDS.map(model) }),
        };
        Answer::whole(StatusCode::OK, body.to_string())
    },
    error,
};

const MODEL_IDS: [&str; 4] = ["gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-3.5-turbo"];

fn model(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": super::CREATED, "owned_by": "mock" })
}

/// Returns an error in OpenAI's format.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let (kind, code) = match status.as_u16() {
        401 => ("authentication_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("unknown_url")),
        429 => ("requests", Some("rate_limit_exceeded")),
        400..500 => ("invalid_request_error", None),
        _ => ("server_error", None),
    };
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    Answer::whole(status, json!({ "error": error }).to_string())
}

/// Parses a request body as JSON, or returns the error for other bodies.
pub(super) fn object(body: &[u8]) -> Result<Value, Answer> {
    serde_json::from_slice(body)
        .map_err(|wrong| error(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {wrong}")))
}

/// Returns the member `name`, if it is a whole number.
pub(super) fn number(request: &Value, name: &str) -> Option<usize> {
    request[name].as_u64().and_then(|n| usize::try_from(n).ok())
}

/// Returns the usage of chat completions and completions.
pub(super) fn usage(prompt: usize, completion: usize) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

/// Returns an event without a name.
pub(super) fn data(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// Returns an event with a name.
pub(super) fn named(name: &str, json: &str) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

/// The last event of the older APIs' streams.
pub(super) const DONE: &str = "data: [DONE]\n\n";
