//! A completions request: the input of the model and the bound on its output.
//!
//! In: a body of either API. Out: a [`Request`], and edits that bound the output. Not here: the
//! prompt (`prompts`), and the members that only llama.cpp has (`llama`).
//!
//! Source: OpenAI's API reference, "Create completion"; Mistral's, "Fim".

use super::llama;
use crate::api::bound::allowed;
use crate::api::openai::n_predict;
use crate::api::openai::parts::Reading;
use crate::api::openai::prompts;
use crate::api::outline::{Members, Outline};
use crate::api::{Bounded, Piece, Prompt, Request, Unread};

pub(super) use n_predict::N_PREDICT;

/// OpenAI's name of the bound.
pub(super) const MAX_TOKENS: &str = "max_tokens";

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 14] = [
    "model",
    "prompt",
    "suffix",
    MAX_TOKENS,
    N_PREDICT,
    "n",
    "n_cmpl",
    "best_of",
    "stream",
    "stream_options",
    llama::INFILL[0],
    llama::INFILL[1],
    llama::INFILL[2],
    llama::RESPONSE_FIELDS,
];

/// Reads a body of either API.
///
/// # Errors
/// [`Unread`] if it is no JSON object, or has a counted member of a wrong type.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut reading = Reading { pieces: llama::infill(&members), more: false };
    let prompts = match members.raw("prompt") {
        Some(prompt) => prompts::read(prompt, &mut reading)?,
        None => {
            // The default prompt is the token that begins a text.
            reading.pieces.push(Piece::Tokens(1));
            1
        }
    };
    reading.texts(members.typed("suffix")?);
    let choices = tries(&members).saturating_mul(prompts.max(1));
    Ok(Request {
        prompt: Prompt(reading.pieces),
        more_input: reading.more,
        max_output: n_predict::bound(&members, &[MAX_TOKENS]).map(|bound| bound.saturating_mul(choices)),
        choices: Some(choices),
        model: members.text("model")?,
        ..Request::default()
    })
}

/// Bounds the output of each completion. Servers differ in their default bound (16 tokens, or all
/// that the model can write), so the edit can raise it.
pub(super) fn bounded(outline: &Outline<'_>, absent: &str, each: u64) -> Bounded {
    let object = outline.members(&[MAX_TOKENS, N_PREDICT])?;
    allowed(n_predict::lowered(&object, &[MAX_TOKENS], absent, each), each, 1, None)
}

/// Returns how often the model completes each prompt: `best_of` times, of which the API returns
/// `n`. llama.cpp's `n_cmpl` is `n`.
fn tries(members: &Members<'_>) -> u64 {
    ["n", "n_cmpl", "best_of"].iter().filter_map(|name| members.whole(name)).fold(1, u64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Edit;
    use crate::api::openai::completions::FORMAT;
    use crate::api::outline::{outline, read_body};
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
        read_body(super::read, body)
    }

    #[test]
    fn the_prompt_and_what_comes_behind_the_gap_are_read() {
        let body = br#"{"model":"codestral-latest","prompt":"def f(","suffix":"return a + b"}"#;
        let request = read(body).unwrap();
        assert_eq!(request.prompt.0, [Piece::Text("def f(".into()), Piece::Text("return a + b".into())]);
        assert_eq!(request.model.as_deref(), Some("codestral-latest"));
        assert_eq!(read(b"{}").unwrap().prompt.0, [Piece::Tokens(1)]);
    }

    #[test]
    fn the_output_bound_covers_all_prompts_and_all_tries() {
        let bound = |body: &str| read(body.as_bytes()).unwrap().max_output;
        assert_eq!(bound(r#"{"prompt":"a","max_tokens":10}"#), Some(10));
        assert_eq!(bound(r#"{"prompt":["a","b"],"max_tokens":10,"n":2,"best_of":5}"#), Some(100));
        assert_eq!(bound(r#"{"prompt":[1,2,3],"max_tokens":10,"n":3}"#), Some(30));
        assert_eq!(bound(r#"{"prompt":[],"max_tokens":10}"#), Some(10));
        assert_eq!(bound(r#"{"prompt":["a","b"],"max_tokens":18446744073709551615,"n":9}"#), Some(u64::MAX));
        assert_eq!(bound(r#"{"prompt":"a","n":9}"#), None);
    }

    #[test]
    fn usage_is_asked_for_where_a_stream_would_not_tell() {
        let asked = |body: &str| {
            let model = read(body.as_bytes()).unwrap().model.unwrap_or_default();
            let edit = (FORMAT.ask_for_usage)(&outline(body), &model)?;
            String::from_utf8(Edit::apply_all(&[edit], body.as_bytes())).ok()
        };
        assert_eq!(
            asked(r#"{"prompt":"a","stream":true}"#).as_deref(),
            Some(r#"{"stream_options":{"include_usage":true},"prompt":"a","stream":true}"#)
        );
        assert_eq!(asked(r#"{"prompt":"a"}"#), None);
        assert_eq!(asked(r#"{"model":"codestral-2508","prompt":"a","stream":true}"#), None);
    }

    #[test]
    fn bodies_of_another_shape_are_malformed() {
        for body in [
            "",
            "[]",
            r#"{"prompt":7}"#,
            r#"{"prompt":[1,"a",null]}"#,
            r#"{"prompt":"a","suffix":7}"#,
            r#"{"model":[]}"#,
        ] {
            assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
        }
        let twice = br#"{"best_of":1,"best_of":20}"#;
        assert_eq!(read(twice).err(), Some(Unread::Ambiguous { member: "best_of" }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), prompt in "[\\[\\]{}\",0-9a-z. -]{0,30}") {
            let _ = read(&bytes);
            let _ = read(format!("{{\"prompt\":{prompt}}}").as_bytes());
        }
    }
}
