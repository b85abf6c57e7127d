//! OpenAI completions, the older API: `POST …/completions`, also as Azure and vLLM speak it, and Mistral for
//! code (`fim`).
//!
//! In: request bodies, and JSON documents of answers. Out: what the shared types of `api` say. Not here:
//! answers, which are read as those of chat (`chat`).
//!
//! Source: OpenAI's API reference, "Create completion"; Mistral's, "Fim".

use super::parts::Reading;
use super::stream_options::ask_for_usage;
use super::{chat, prompts};
use crate::api::bound::{Bound, Object, allowed};
use crate::api::members::Members;
use crate::api::{Bounded, Format, Piece, Prompt, Request, Unread, ending, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_completions",
    endpoints: &[post("/openai/deployments/{model}/completions"), post("/completions")],
    read,
    answer_members: &chat::ANSWER_MEMBERS,
    answer: chat::read_answer,
    with_model: model::with_model,
    with_max_output,
    ending: Some(ending::openai::Chunks::completions),
    ..Format::DEFAULT
};

/// The members looked at. A body that names one of them twice is ambiguous.
const NAMES: [&str; 8] =
    ["model", "prompt", "suffix", "max_tokens", "n", "best_of", "stream", "stream_options"];

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    let members = Members::read(body, &NAMES)?;
    let mut reading = Reading::default();
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
    let stream = members.is_true("stream");
    let model = members.text("model")?;
    Ok(Request {
        prompt: Prompt(reading.pieces),
        more_input: reading.more,
        max_output: members.whole("max_tokens").map(|bound| bound.saturating_mul(choices)),
        choices: Some(choices),
        ask_for_usage: if stream { ask_for_usage(&members, model.as_deref()) } else { None },
        model,
        ..Request::default()
    })
}

/// How often each prompt is completed: `best_of` times, of which `n` are returned.
fn tries(members: &Members<'_>) -> u64 {
    ["n", "best_of"].iter().filter_map(|name| members.whole(name)).fold(1, u64::max)
}

/// The edits that bound the output of each completion. Where it has no bound, servers differ in what they take for it (16 tokens, or all
/// that the model can write), so that the one set may be higher.
fn with_max_output(body: &[u8], _: Option<&str>, each: u64) -> Bounded {
    let object = Object::outermost(body, &["max_tokens"])?;
    allowed(Bound::named(&["max_tokens"]).lowered(&object, "max_tokens", each), each, 1, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Edit;
    use proptest::prelude::*;

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
            let edit = read(body.as_bytes()).unwrap().ask_for_usage?;
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
            r#"{"prompt":[1,"a"]}"#,
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
