//! Cohere chat: `POST …/v2/chat`.
//!
//! In: request bodies, and JSON documents of answers. Out: what the shared types of `api` say. Not here: the tokens of anything.

pub(super) mod answer;
pub(super) mod request;
