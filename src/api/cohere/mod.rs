//! Cohere's API: chat in its second version, and embeddings.
//!
//! In: request bodies, and JSON documents of answers. Out: what the shared types of `api` say. Not here: the first version of chat, which is
//! withdrawn, reranking, and Cohere behind OpenAI's paths, which is [`openai`](super::openai). Nothing switches usage on: every
//! answer has it.
//!
//! Source: Cohere's API reference, "Chat API (v2)", "Chat with Streaming (v2)" and "Embed API (v2)".

mod chat;
mod embed;
mod parts;
mod usage;

use super::{Dialect, Format, post};

/// Chat.
pub(super) static CHAT: Format = Format {
    name: "cohere_chat",
    dialect: Dialect::Cohere,
    endpoints: &[post("/v2/chat")],
    read: chat::request::read,
    answer_members: &["delta", "message", "usage"],
    answer: chat::answer::read,
    ..Format::DEFAULT
};

/// Embeddings.
pub(super) static EMBED: Format = Format {
    name: "cohere_embed",
    dialect: Dialect::Cohere,
    endpoints: &[post("/v2/embed"), post("/v1/embed")],
    read: embed::read,
    answer_members: &["meta"],
    answer: embed::answer,
    ..Format::DEFAULT
};
