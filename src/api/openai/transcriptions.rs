//! Speech to text: `POST …/audio/transcriptions` and `…/audio/translations`.
//!
//! In: the length of an upload that passes unread, and answers. Out: the shared types of `api`. Not
//! here: audio in chat (`chat`), and the model's name in the upload (a form field, not JSON).
//!
//! Source: OpenAI's API reference, "Create transcription" and "Create translation",
//! `transcript.text.delta` and `transcript.text.done`; Mistral's, "Audio Transcriptions",
//! `transcription.text.delta` and `transcription.done`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::{AUDIO_TOKENS_PER_SECOND, UsageMember};
use crate::api::number::Whole;
use crate::api::raw::Text;
use crate::api::{Answer, Body, Format, Piece, Prompt, ReportedUsage, Request, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_transcriptions",
    endpoints: &[
        post("/openai/deployments/{model}/audio/transcriptions"),
        post("/openai/deployments/{model}/audio/translations"),
        post("/audio/transcriptions"),
        post("/audio/translations"),
    ],
    body: Body::Passed,
    guess: |bytes| Request { prompt: Prompt(vec![Piece::Audio { bytes, raw: false }]), ..Request::default() },
    answer_members: &["type", "delta", "text", "usage", "duration"],
    answer,
    ..Format::DEFAULT
};

/// Reads a transcription, or one event of it.
fn answer(json: &[u8]) -> Answer<'_> {
    let mut answer = Answer::default();
    let Ok(document) = serde_json::from_slice::<Document<'_>>(json) else { return answer };
    // The last event repeats all of the text, and segments repeat the deltas.
    let is_part = document.kind.is_none_or(|Text(kind)| kind.ends_with(".delta"));
    let texts = [document.delta, document.text].into_iter().flatten().filter(|_| is_part);
    answer.text.extend(texts.map(|Text(text)| text));
    // The verbose form of servers without usage reports at least the length of the audio.
    if let Some(seconds) = document.duration.count() {
        let sound = seconds.saturating_mul(AUDIO_TOKENS_PER_SECOND);
        let audio_ms = Some(seconds.saturating_mul(1_000));
        answer.told = Some(ReportedUsage { audio_input: Some(sound), audio_ms, ..ReportedUsage::default() })
            .filter(|told| !told.is_incredible())
            .unwrap_or_default();
    }
    answer.tell(document.usage, |usage: UsageMember| {
        let told = usage.told()?;
        let heard = told.audio_input.map(|tokens| tokens.saturating_mul(1_000) / AUDIO_TOKENS_PER_SECOND);
        Some(ReportedUsage { audio_ms: told.audio_ms.or(heard), ..told })
    });
    answer
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    delta: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    duration: Whole,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Usage;
    use proptest::prelude::*;

    fn usage(json: &str) -> Option<Usage> {
        let told = answer(json.as_bytes()).told;
        (!told.is_nothing()).then(|| told.or(Usage { output: 7, ..Usage::default() }))
    }

    #[test]
    fn usage_is_told_in_tokens_or_in_seconds() {
        let tokens = usage(
            r#"{"text":"Hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},
            "output_tokens":45,"total_tokens":59}}"#,
        );
        assert_eq!(
            tokens,
            Some(Usage { input: 4, audio_input: 10, output: 45, audio_ms: 1_000, ..Usage::default() })
        );
        let seconds = usage(r#"{"text":"Hi","duration":8.47,"usage":{"type":"duration","seconds":9}}"#);
        assert_eq!(seconds, Some(Usage { audio_input: 90, audio_ms: 9_000, ..Usage::default() }));
        let verbose = usage(r#"{"task":"transcribe","duration":"8.47","text":"Hi"}"#);
        assert_eq!(verbose, Some(Usage { audio_input: 90, output: 7, audio_ms: 9_000, ..Usage::default() }));
        assert_eq!(usage(r#"{"text":"Hi"}"#), None);
    }

    #[test]
    fn a_text_is_counted_once_however_often_it_is_told() {
        let text = |json: &str| answer(json.as_bytes()).text.concat();
        assert_eq!(text(r#"{"text":"Grüße"}"#), "Grüße");
        assert_eq!(text(r#"{"type":"transcript.text.delta","delta":" a","logprobs":[]}"#), " a");
        assert_eq!(text(r#"{"type":"transcription.text.delta","text":" b"}"#), " b");
        assert_eq!(text(r#"{"type":"transcript.text.segment","text":"a b","start":0.0}"#), "");
        assert_eq!(text(r#"{"type":"transcript.text.done","text":"a b"}"#), "");
    }

    #[test]
    fn nonsense_is_not_believed() {
        assert_eq!(usage(r#"{"duration":1e300}"#), None);
        assert_eq!(usage(r#"{"duration":-3}"#), None);
        assert!(answer(br#"{"usage":{"type":"duration","seconds":-1}}"#).unreadable);
        assert_eq!(answer(b"1\n00:00:00,000 --> 00:00:02,000\nHi\n"), Answer::default());
    }

    #[test]
    fn an_upload_is_guessed_at_by_its_length() {
        assert_eq!((FORMAT.guess)(16_000).prompt.0, [Piece::Audio { bytes: 16_000, raw: false }]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), value in "[\\[\\]{}\",:0-9a-z. -]{0,30}") {
            let _ = answer(&bytes);
            let _ = answer(format!("{{\"duration\":{value},\"usage\":{value}}}").as_bytes());
        }
    }
}
