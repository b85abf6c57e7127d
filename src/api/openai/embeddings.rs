//! OpenAI embeddings: `POST …/embeddings`, also as Azure, vLLM and other servers implement it, and
//! llama.cpp's `…/embedding`, which calls its input `content`.
//!
//! In: request bodies, and answers. Out: the shared types of `api`. Embeddings have no billed
//! output. Not here: the native APIs of Gemini, Cohere and Ollama.
//!
//! Source: OpenAI's API reference, "Create embeddings"; llama.cpp, `tools/server/README.md`, "POST
//! `/embedding`".

use super::parts::Reading;
use super::prompts;
use super::usage::{UsageMember, answer_with};
use crate::api::outline::Outline;
use crate::api::{Answer, Format, Prompt, Request, Unread, Usage, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "openai_embeddings",
    endpoints: &[post("/openai/deployments/{model}/embeddings"), post("/embeddings"), post("/embedding")],
    read,
    answer_members: &["usage"],
    answer,
    with_model: model::with_model,
    ..Format::DEFAULT
};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 3] = ["model", "input", "content"];

fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let mut reading = Reading::default();
    let input = members.raw("input").or_else(|| members.raw("content"));
    prompts::read(input.ok_or(Unread::Malformed)?, &mut reading)?;
    Ok(Request {
        model: members.text("model")?,
        prompt: Prompt(reading.pieces),
        more_input: reading.more,
        known: Some(Usage::default()),
        ..Request::default()
    })
}

fn answer(json: &[u8]) -> Answer<'_> {
    answer_with(json, UsageMember::told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Piece;
    use crate::api::outline::read_body;
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
        read_body(super::read, body)
    }

    #[test]
    fn texts_and_token_ids_are_read_and_no_output_is_expected() {
        let request =
            read(br#"{"model":"text-embedding-3-small","input":["a",[1,2]],"dimensions":256}"#).unwrap();
        assert_eq!(request.prompt.0, [Piece::Text("a".into()), Piece::Tokens(2)]);
        assert_eq!(request.known, Some(Usage::default()));
        assert_eq!(request.max_output, None);
        let llama = read(br#"{"content":"a"}"#).unwrap();
        assert_eq!((llama.prompt.0, llama.known), (vec![Piece::Text("a".into())], Some(Usage::default())));
    }

    #[test]
    fn the_prompt_is_all_that_is_used() {
        let json = br#"{"object":"list","data":[],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        assert_eq!(answer(json).told.or(Usage::default()), Usage { input: 8, ..Usage::default() });
        assert!(answer(br#"{"usage":{"prompt_tokens":-8}}"#).unreadable);
        assert_eq!(answer(b"{\"data\":["), Answer::default());
    }

    #[test]
    fn bodies_of_another_shape_are_malformed() {
        for body in [
            "",
            "{}",
            r#"{"input":null}"#,
            r#"{"input":7}"#,
            r#"{"input":{"a":1}"#,
            r#"{"input":"a","model":7}"#,
        ] {
            assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
        }
        assert_eq!(read(br#"{"input":"a","input":"b"}"#).err(), Some(Unread::Ambiguous { member: "input" }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), input in "[\\[\\]{}\",:0-9a-z. -]{0,30}") {
            let _ = (read(&bytes), answer(&bytes));
            let body = format!("{{\"input\":{input},\"usage\":{input}}}");
            let _ = (read(body.as_bytes()), answer(body.as_bytes()));
        }
    }
}
