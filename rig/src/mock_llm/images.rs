//! OpenAI's images: `POST */images/generations`, whole or streamed.
//!
//! In: a prompt, a size, a quality and the requested [`Behaviour`]. Out: images, with the usage in
//! tokens for the GPT image models and without usage for DALL-E; `x-mock-output-tokens` applies to
//! each image. Wire format: OpenAI's API reference, "Create image"; the tokens of an image: its
//! guide "Image generation". Not here: edits and variations, and meaningful images.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::{Answer, Behaviour, Format, Received, azure, openai};

/// `POST */images/generations`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/images/generations"),
    answer,
    error: openai::error,
};

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let Some(prompt) = request["prompt"].as_str() else {
        return openai::error(StatusCode::BAD_REQUEST, "a string 'prompt' is required");
    };
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let model = request["model"].as_str().or_else(|| azure::deployment(received.uri.path()));
    let n = openai::number(&request, "n").unwrap_or(1).max(1);
    // DALL-E, the default model, has no token usage.
    if !model.is_some_and(|model| model.starts_with("gpt-image")) {
        let image = json!({ "url": "https://images.example/mock.png", "revised_prompt": prompt });
        let body = json!({ "created": super::CREATED, "data": vec![image; n] });
        return Answer::whole(status, body.to_string());
    }
    let size = chosen(&request["size"], "1024x1024");
    let quality = chosen(&request["quality"], "high");
    let usage = Usage::of(behaviour, || {
        let input = Counter::for_model("gpt-4o").text(prompt);
        let output = n * behaviour.output_tokens.unwrap_or_else(|| image_tokens(size, quality));
        json!({
            "input_tokens": input,
            "input_tokens_details": { "text_tokens": input, "image_tokens": 0 },
            "output_tokens": output,
            "output_tokens_details": { "text_tokens": 0, "image_tokens": output },
            "total_tokens": input + output,
        })
    });
    let about = json!({ "background": "opaque", "output_format": "png", "quality": quality, "size": size });
    if request["stream"] == true {
        let partial = openai::number(&request, "partial_images").unwrap_or(0);
        return Answer::events(status, events(&about, partial, &usage));
    }
    let mut body = about;
    body["created"] = super::CREATED.into();
    body["data"] = vec![json!({ "b64_json": PIXEL }); n].into();
    Answer::whole(status, usage.write(&usage.within(body)))
}

fn events(about: &Value, partial: usize, usage: &Usage) -> Vec<String> {
    let event = |kind: &str| {
        let mut event = about.clone();
        event["type"] = kind.into();
        event["b64_json"] = PIXEL.into();
        event["created_at"] = super::CREATED.into();
        event
    };
    let name = "image_generation.partial_image";
    let mut events: Vec<_> = (0..partial)
        .map(|index| {
            let mut event = event(name);
            event["partial_image_index"] = index.into();
            openai::named(name, &event.to_string())
        })
        .collect();
    let name = "image_generation.completed";
    events.push(openai::named(name, &usage.write(&usage.within(event(name)))));
    events
}

/// Returns the request's value, or `automatic` for "auto".
fn chosen<'a>(value: &'a Value, automatic: &'a str) -> &'a str {
    value.as_str().filter(|said| *said != "auto").unwrap_or(automatic)
}

/// The guide's table for gpt-image-1: square, portrait, landscape.
fn image_tokens(size: &str, quality: &str) -> usize {
    let [square, portrait, landscape] = match quality {
        "low" => [272, 408, 400],
        "medium" => [1056, 1584, 1568],
        _ => [4160, 6240, 6208],
    };
    match size {
        "1024x1536" => portrait,
        "1536x1024" => landscape,
        _ => square,
    }
}
