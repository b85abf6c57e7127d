//! Text to speech: `POST …/audio/speech`.
//!
//! In: request bodies, and events of answers. Out: the shared types of `api`: characters, and for
//! models billed by tokens the expected audio. Not here: the audio itself, which reports nothing;
//! only a stream with `stream_format: sse` reports usage.
//!
//! Source: OpenAI's API reference, "Create speech" and `speech.audio.done`.

use super::usage::answer_with;
use crate::api::outline::Outline;
use crate::api::{Answer, Format, Piece, Prompt, ReportedUsage, Request, Unread, Usage, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_speech",
    endpoints: &[post("/openai/deployments/{model}/audio/speech"), post("/audio/speech")],
    read,
    answer_members: &["usage"],
    answer,
    with_model: model::with_model,
    ..Format::DEFAULT
};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 3] = ["model", "input", "instructions"];

/// Audio tokens of `gpt-4o-mini-tts`: OpenAI's pricing page puts a minute at 0.015 USD, which is
/// 1,250 tokens at 12 USD per million.
const TOKENS_PER_MINUTE: u64 = 1_250;
/// The estimate for a minute of speech: 150 words of six characters with their spaces. Reported
/// usage replaces it.
const LETTERS_PER_MINUTE: u64 = 900;
/// The estimate for a character of Chinese, Japanese or Korean, which is a syllable or more:
/// speaking it takes as long as three letters.
const LETTERS_PER_SYLLABLE: u64 = 3;
/// The first character (CJK Radicals Supplement) of those in Unicode that stand for syllables or
/// words.
const FIRST_SYLLABIC: char = '\u{2e80}';

fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let model = members.text("model")?;
    let input = members.text("input")?.ok_or(Unread::Malformed)?;
    let letters = letters(&input);
    let tokens = letters.saturating_mul(TOKENS_PER_MINUTE).div_ceil(LETTERS_PER_MINUTE);
    let audio_output = if is_billed_by_tokens(model.as_deref()) { tokens } else { 0 };
    let audio_ms = letters.saturating_mul(60_000).div_ceil(LETTERS_PER_MINUTE);
    let characters = input.chars().count() as u64;
    let known = Usage { characters, audio_output, audio_ms, ..Usage::default() };
    let texts = [Some(input), members.text("instructions")?];
    Ok(Request {
        model,
        prompt: Prompt(texts.into_iter().flatten().map(Piece::Text).collect()),
        known: Some(known),
        ..Request::default()
    })
}

/// Returns whether audio is billed by tokens, as for OpenAI's `gpt-…-tts` models, and not by
/// characters, as for `tts-1` and other servers' models. A model named only in the path, as on
/// Azure, counts as billed by tokens.
fn is_billed_by_tokens(model: Option<&str>) -> bool {
    model.is_none_or(|model| model.contains("gpt-") && model.contains("-tts"))
}

/// Returns the length of a text in letters that take as long to speak.
fn letters(text: &str) -> u64 {
    let letters = |character| if character < FIRST_SYLLABIC { 1 } else { LETTERS_PER_SYLLABLE };
    text.chars().map(letters).fold(0, u64::saturating_add)
}

fn answer(json: &[u8]) -> Answer<'_> {
    answer_with(json, |usage| usage.told().map(as_sound))
}

/// Counts all output of such a model as audio.
fn as_sound(told: ReportedUsage) -> ReportedUsage {
    let sound = [told.output, told.reasoning, told.audio_output].into_iter().flatten();
    let sound = sound.reduce(u64::saturating_add);
    ReportedUsage { output: None, reasoning: None, audio_output: sound, ..told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::read_body;
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
        read_body(super::read, body)
    }

    fn known(body: &str) -> Usage {
        read(body.as_bytes()).unwrap().known.unwrap()
    }

    #[test]
    fn characters_are_counted_as_people_do() {
        let body = r#"{"model":"tts-1","voice":"alloy","input":"Grüße, 世界\n","instructions":"Slowly."}"#;
        // 8 letters and 2 syllables are 14 letters: 14 x 60,000 / 900 = 934 ms.
        assert_eq!(known(body), Usage { characters: 10, audio_ms: 934, ..Usage::default() });
        let pieces = read(body.as_bytes()).unwrap().prompt.0;
        assert_eq!(pieces, [Piece::Text("Grüße, 世界\n".into()), Piece::Text("Slowly.".into())]);
    }

    #[test]
    fn models_billed_by_tokens_are_expected_to_speak_the_text() {
        let letters = "a".repeat(900);
        let minute =
            |model: &str| known(&format!(r#"{{"model":"{model}","input":"{letters}"}}"#)).audio_output;
        assert_eq!(minute("gpt-4o-mini-tts"), 1_250);
        assert_eq!(minute("openai/gpt-4o-mini-tts-2025-12-15"), 1_250);
        assert_eq!([minute("tts-1"), minute("tts-1-hd"), minute("kokoro")], [0, 0, 0]);
        assert_eq!(known(&format!(r#"{{"input":"{letters}"}}"#)).audio_output, 1_250);
        // Six syllables are 18 letters: 18 x 1,250 / 900 = 25.
        assert_eq!(known(r#"{"model":"gpt-4o-mini-tts","input":"今日は天気が"}"#).audio_output, 25);
    }

    #[test]
    fn what_the_stream_tells_is_sound() {
        let json = br#"{"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}"#;
        let told = answer(json).told;
        assert_eq!((told.input, told.output, told.audio_output), (Some(14), None, Some(101)));
        assert_eq!(answer(br#"{"type":"speech.audio.delta","audio":"UklGRg=="}"#), Answer::default());
        assert!(answer(br#"{"usage":{"input_tokens":"many"}}"#).unreadable);
    }

    #[test]
    fn bodies_of_another_shape_are_malformed() {
        for body in [
            "",
            "{}",
            r#"{"input":["a"]}"#,
            r#"{"input":"a","model":7}"#,
            r#"{"input":"a","instructions":{}}"#,
        ] {
            assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
        }
        assert_eq!(read(br#"{"input":"a","input":"b"}"#).err(), Some(Unread::Ambiguous { member: "input" }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), input in any::<String>()) {
            let _ = (read(&bytes), answer(&bytes));
            let body = serde_json::json!({ "input": input, "usage": input }).to_string();
            prop_assert_eq!(known(&body).characters, input.chars().count() as u64);
            let _ = answer(body.as_bytes());
        }
    }
}
