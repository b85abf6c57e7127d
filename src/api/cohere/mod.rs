//! Cohere's API: chat in its second version, and embeddings.
//!
//! In: request bodies, and JSON documents of answers. Out: rows of [`FORMATS`](super::FORMATS). Not
//! here: the first version of chat, which is withdrawn, reranking, and Cohere behind OpenAI's
//! paths, which is [`openai`](super::openai). Nothing switches usage on: every answer has it.
//!
//! Source: Cohere's API reference, "Chat API (v2)", "Chat with Streaming (v2)" and "Embed API
//! (v2)".

pub(super) mod chat;
pub(super) mod embed;
mod parts;
mod usage;
