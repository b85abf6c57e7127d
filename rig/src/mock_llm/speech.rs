//! OpenAI's speech: `POST */audio/speech`, as audio or as events.
//!
//! In: a text to speak and the requested [`Behaviour`]. Out: binary bytes, in chunks and without
//! usage; with `stream_format: "sse"` the same bytes in base64, and a last event with the usage.
//! Wire format: OpenAI's API reference, "Create speech". Not here: real sound.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, azure, openai};

/// `POST */audio/speech`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/audio/speech"),
    answer,
    error: openai::error,
};

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let model = request["model"].as_str().or_else(|| azure::deployment(received.uri.path()));
    let (Some(model), Some(input)) = (model, request["input"].as_str()) else {
        return openai::error(StatusCode::BAD_REQUEST, "a string 'model' and a string 'input' are required");
    };
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let chunks: Vec<_> = Text::of(behaviour, None).pieces(behaviour).map(|piece| sound(&piece)).collect();
    if request["stream_format"] != "sse" {
        let content_type = content_type(&request["response_format"]);
        return Answer::stream(status, content_type, chunks);
    }
    let usage = Usage::of(behaviour, || {
        let counter = Counter::for_model(model);
        let instructions = request["instructions"].as_str().unwrap_or_default();
        let input = counter.text(input) + counter.text(instructions);
        let output = counter.text(&Text::of(behaviour, None).whole());
        json!({ "input_tokens": input, "output_tokens": output, "total_tokens": input + output })
    });
    let delta = |chunk: &Bytes| json!({ "type": "speech.audio.delta", "audio": STANDARD.encode(chunk) });
    let mut events: Vec<_> = chunks.iter().map(|chunk| openai::data(&delta(chunk).to_string())).collect();
    let done = usage.within(json!({ "type": "speech.audio.done" }));
    events.push(openai::data(&usage.write(&done)));
    Answer::events(status, events)
}

/// Returns a frame that begins like MP3 and is not UTF-8.
fn sound(piece: &str) -> Bytes {
    [&[0xff, 0xfb, 0x90, 0x00], piece.as_bytes(), &[0; 60]].concat().into()
}

fn content_type(format: &Value) -> &'static str {
    match format.as_str() {
        Some("opus") => "audio/opus",
        Some("aac") => "audio/aac",
        Some("flac") => "audio/flac",
        Some("wav") => "audio/wav",
        Some("pcm") => "audio/pcm",
        _ => "audio/mpeg",
    }
}
