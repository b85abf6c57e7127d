//! Cohere's API: version 2 of chat, and embeddings.
//!
//! In: request bodies, and JSON documents of answers. Out: rows of [`FORMATS`](super::FORMATS). Not
//! here: version 1 of chat, which is withdrawn; reranking; Cohere behind OpenAI's paths, which is
//! [`openai`](super::openai). Every answer reports usage, so there is no option to request it.
//!
//! Source: Cohere's API reference, "Chat API (v2)", "Chat with Streaming (v2)" and "Embed API
//! (v2)".

pub(super) mod chat;
pub(super) mod embed;
mod parts;
mod usage;
