//! OpenAI's embeddings: `POST */embeddings`.
//!
//! In: text, token ids, or a list of either. Out: a vector for each, and the usage. Wire format:
//! OpenAI's API reference, "Embeddings". Not here: meaningful vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::completions::prompts;
use super::tokens::Counter;
use super::usage::Usage;
use super::{Answer, Behaviour, Format, Received, azure, openai};

/// `POST */embeddings`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/embeddings"),
    answer,
    error: openai::error,
};

/// Far fewer than a model's, to keep tests readable.
const DIMENSIONS: usize = 8;

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let model = request["model"].as_str().or_else(|| azure::deployment(received.uri.path()));
    let inputs = Some(&request["input"]).filter(|input| !input.is_null()).and_then(prompts);
    let (Some(model), Some(inputs)) = (model, inputs) else {
        let missing = "a string 'model' and an 'input' of text, token ids or a list of either are required";
        return openai::error(StatusCode::BAD_REQUEST, missing);
    };
    let usage = Usage::of(behaviour, || {
        let counter = Counter::for_model(model);
        let tokens: usize = inputs.iter().map(|input| input.tokens(counter)).sum();
        json!({ "prompt_tokens": tokens, "total_tokens": tokens })
    });
    let dimensions = openai::number(&request, "dimensions").unwrap_or(DIMENSIONS);
    let vector = vector(dimensions, request["encoding_format"] == "base64");
    let data: Vec<_> = (0..inputs.len())
        .map(|index| json!({ "object": "embedding", "index": index, "embedding": vector }))
        .collect();
    let body = usage.within(json!({ "object": "list", "model": model, "data": data }));
    Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), usage.write(&body))
}

/// Returns a vector of length one. OpenAI's own client requests little-endian floats in base64.
fn vector(dimensions: usize, base64: bool) -> Value {
    let values = core::iter::once(1.0_f32).chain(core::iter::repeat(0.0)).take(dimensions);
    if base64 {
        STANDARD.encode(values.flat_map(f32::to_le_bytes).collect::<Vec<_>>()).into()
    } else {
        values.collect::<Vec<_>>().into()
    }
}
