//! Ollama's own API: chat, completions of a prompt, embeddings.
//!
//! In: request bodies, and JSON documents of answers, which stream as lines unless the request
//! disables that. Out: the shared types of `api`. Not here: Ollama behind OpenAI's and Anthropic's
//! paths, which belongs to their modules, and the management of models. The last line of every
//! answer reports usage, so there is no option to request it.
//!
//! Source: Ollama's API reference (`docs/api.md`).

mod answer;
mod ending;
mod offered;
mod request;
mod output_bound;

use super::{Dialect, Format, post};

/// Chat.
pub(super) static CHAT: Format = Format {
    name: "ollama_chat",
    dialect: Dialect::Ollama,
    endpoints: &[post("/api/chat")],
    read: request::chat,
    answer_members: answer::MEMBERS,
    written: answer::WRITTEN,
    answer: answer::read,
    with_model: output_bound::with_model,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Lines::chat),
    ..Format::DEFAULT
};

/// Completions of a prompt.
pub(super) static GENERATE: Format = Format {
    name: "ollama_generate",
    dialect: Dialect::Ollama,
    endpoints: &[post("/api/generate")],
    read: request::generate,
    answer_members: answer::MEMBERS,
    written: answer::WRITTEN,
    answer: answer::read,
    with_model: output_bound::with_model,
    with_max_output: output_bound::with_max_output,
    ending: Some(ending::Lines::generate),
    ..Format::DEFAULT
};

/// Embeddings; the older path takes one prompt and reports no usage.
pub(super) static EMBED: Format = Format {
    name: "ollama_embed",
    dialect: Dialect::Ollama,
    endpoints: &[post("/api/embed"), post("/api/embeddings")],
    read: request::embed,
    answer_members: answer::MEMBERS,
    answer: answer::read,
    with_model: output_bound::with_model,
    ..Format::DEFAULT
};
