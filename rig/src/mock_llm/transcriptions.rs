//! OpenAI's transcriptions: `POST */audio/transcriptions`, whole or streamed.
//!
//! In: a form whose fields name the model; of the file only the length counts. Out: a text, with
//! the usage in tokens or, for `whisper-1`, in seconds. Wire format: OpenAI's API reference,
//! "Create transcription"; RFC 7578 for the form. Not here: translations, segments, log
//! probabilities.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, azure, openai};

/// `POST */audio/transcriptions`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/audio/transcriptions"),
    answer,
    error: openai::error,
};

/// A second of sound: 16,000 samples of 16 bits.
const BYTES_PER_SECOND: usize = 32_000;
/// OpenAI's guide to audio: a token of input for each tenth of a second.
const TOKENS_PER_SECOND: usize = 10;

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let form = &received.body;
    let Some(model) = field(form, "model").or_else(|| azure::deployment(received.uri.path())) else {
        return openai::error(StatusCode::BAD_REQUEST, "a form with a field 'model' is required");
    };
    let prompt = field(form, "prompt").unwrap_or_default();
    let text = Text::of(behaviour, None);
    let seconds = form.len().div_ceil(BYTES_PER_SECOND);
    // whisper-1 neither streams nor counts tokens.
    let whisper = model == "whisper-1";
    let usage = Usage::of(behaviour, || {
        if whisper {
            return json!({ "type": "duration", "seconds": seconds });
        }
        let counter = Counter::for_model(model);
        let (prompt, audio) = (counter.text(prompt), seconds * TOKENS_PER_SECOND);
        let output = counter.text(&text.whole());
        json!({
            "type": "tokens",
            "input_tokens": prompt + audio,
            "input_token_details": { "text_tokens": prompt, "audio_tokens": audio },
            "output_tokens": output,
            "total_tokens": prompt + audio + output,
        })
    });
    if field(form, "stream") == Some("true") && !whisper {
        return Answer::events(status, events(&text, &usage, behaviour));
    }
    let whole = text.whole();
    match field(form, "response_format") {
        Some("text") => plain(status, format!("{whole}\n")),
        Some("srt") => plain(status, format!("1\n00:00:00,000 --> 00:00:01,000\n{whole}\n\n")),
        Some("vtt") => plain(status, format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{whole}\n\n")),
        Some("verbose_json") => {
            let body =
                json!({ "task": "transcribe", "language": "english", "duration": seconds, "text": whole });
            Answer::whole(status, usage.write(&usage.within(body)))
        }
        _ => Answer::whole(status, usage.write(&usage.within(json!({ "text": whole })))),
    }
}

fn events(text: &Text, usage: &Usage, behaviour: &Behaviour) -> Vec<String> {
    let delta = |piece: String| json!({ "type": "transcript.text.delta", "delta": piece });
    let mut events: Vec<_> =
        text.pieces(behaviour).map(|piece| openai::data(&delta(piece).to_string())).collect();
    let done: Value = usage.within(json!({ "type": "transcript.text.done", "text": text.whole() }));
    events.push(openai::data(&usage.write(&done)));
    events.push(openai::DONE.to_owned());
    events
}

/// Returns a plain text answer, which has no usage.
fn plain(status: StatusCode, text: String) -> Answer {
    Answer { content_type: "text/plain; charset=utf-8", ..Answer::whole(status, text) }
}

/// Returns the value of a text field of a form. The file is not skipped, so a file that contains
/// such a field would be mistaken for it.
fn field<'a>(form: &'a [u8], name: &str) -> Option<&'a str> {
    let mark = format!("name=\"{name}\"");
    let at = form.windows(mark.len()).position(|window| window == mark.as_bytes())?;
    let part = form.get(at..)?;
    let value = part.get(part.windows(4).position(|window| window == b"\r\n\r\n")? + 4..)?;
    let end = value.windows(4).position(|window| window == b"\r\n--")?;
    core::str::from_utf8(value.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_wherever_it_is_in_the_form() {
        let form =
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\xff\r\n\
            --b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
        assert_eq!(field(form, "model"), Some("whisper-1"));
        assert_eq!(field(form, "file"), None);
        assert_eq!(field(form, "stream"), None);
    }
}
