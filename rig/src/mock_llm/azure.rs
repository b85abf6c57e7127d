//! Chat completions of Azure OpenAI: `POST */openai/deployments/{deployment}/chat/completions`.
//!
//! In: OpenAI's request, whose model is the deployment in the path. Out: OpenAI's answer with
//! content filter results; a stream carries them in a first chunk without choices and usage. Wire
//! format: Microsoft's "Azure OpenAI REST API reference" and "Content filtering". Not here:
//! `/openai/v1/`, which is OpenAI's own API, and the other APIs of a deployment, which differ from
//! OpenAI's only in the path.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::chat_completions::Completion;
use super::{Answer, Behaviour, Format, Received, openai};

/// `POST */openai/deployments/{deployment}/chat/completions`.
pub(super) const CHAT: Format = Format {
    serves: |method, path| {
        method == Method::POST && deployment(path).is_some() && path.ends_with("/chat/completions")
    },
    answer,
    error,
};

/// Returns the deployment that `path` names.
pub(super) fn deployment(path: &str) -> Option<&str> {
    path.split_once("/openai/deployments/")?.1.split('/').next()
}

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = openai::object(&received.body).map(|mut request| {
        if request.is_object() && !request["model"].is_string() {
            request["model"] = deployment(received.uri.path()).into();
        }
        request
    });
    let completion = match request.and_then(|request| Completion::of(&request, behaviour)) {
        Ok(completion) => completion,
        Err(refusal) => return refusal,
    };
    let opening = json!({
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": prompt_filter_results(),
    });
    completion.answer(behaviour, Some(openai::data(&opening.to_string())), |whole| {
        whole["prompt_filter_results"] = prompt_filter_results();
        for choice in whole["choices"].as_array_mut().into_iter().flatten() {
            choice["content_filter_results"] = content_filter_results();
        }
    })
}

fn prompt_filter_results() -> Value {
    json!([{ "prompt_index": 0, "content_filter_results": content_filter_results() }])
}

fn content_filter_results() -> Value {
    let safe = || json!({ "filtered": false, "severity": "safe" });
    json!({ "hate": safe(), "self_harm": safe(), "sexual": safe(), "violence": safe() })
}

/// Returns an error in Azure's format, where the status is the code.
fn error(status: StatusCode, message: &str) -> Answer {
    let error = json!({ "code": status.as_str(), "message": message });
    Answer::whole(status, json!({ "error": error }).to_string())
}
