//! Amazon Bedrock's runtime API: the same call for all models (`converse`), and each model's own
//! (`invoke`).
//!
//! In: request bodies, JSON documents of answers, and their heads. Out: rows of
//! [`FORMATS`](super::FORMATS). Not here: the frames of event streams, which give the payloads that
//! are read here one by one; counting tokens, which is free (`routes`); signatures: no request is
//! changed unless it is to be softer, which can only be where it is signed behind this filter, or
//! not at all (API keys).
//!
//! The model stands in the path (`routes`); so the system prompt that some models add for tools is
//! not counted before the call.

pub(super) mod converse;
pub(super) mod invoke;
