//! What OpenAI's APIs have in common: the error body and the list of models.
//!
//! In: a status and a message. Out: JSON. The formats themselves have a file each.

use hyper::{Method, StatusCode};
use serde_json::json;

use super::{Answer, Format};

/// `GET */models`.
pub(super) const MODELS: Format = Format {
    serves: |method, path| method == Method::GET && path.ends_with("/models"),
    answer: |_, _| {
        let models = ["gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-3.5-turbo"]
            .map(|id| json!({ "id": id, "object": "model", "created": super::CREATED, "owned_by": "mock" }));
        Answer::whole(StatusCode::OK, json!({ "object": "list", "data": models }).to_string())
    },
    error,
};

/// An error as OpenAI words it.
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
