//! OpenAI chat completions: `POST …/chat/completions`, also as Azure, vLLM and other servers speak it.
//!
//! In: request bodies, and JSON documents of answers. Out: what the shared types of `api` say. Not here: how many
//! tokens anything is, and the framing of event streams (`sse`).
//!
//! Source: OpenAI's API reference, "Create chat completion" and "The chat completion chunk object".

mod answer;
mod members;
mod request;

use super::{Answer, Dialect, Format, Request, Unread};

/// The row of [`super::FORMATS`] for chat completions.
#[derive(Debug)]
pub(super) struct OpenAiChat;

impl Format for OpenAiChat {
    fn name(&self) -> &'static str {
        "openai_chat"
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }

    fn path_ends(&self) -> &'static [&'static str] {
        &["/chat/completions"]
    }

    fn read<'a>(&self, body: &'a [u8]) -> Result<Request<'a>, Unread> {
        request::read(body)
    }

    fn answer_members(&self) -> &'static [&'static str] {
        &["choices", "usage"]
    }

    fn answer<'a>(&self, json: &'a [u8]) -> Answer<'a> {
        answer::read(json)
    }
}
