//! Amazon Bedrock's runtime API: the same call for all models (`converse`), and each model's own
//! (`invoke`).
//!
//! In: request bodies, JSON documents of answers, and their heads. Out: rows of
//! [`FORMATS`](super::FORMATS). Not here: the frames of event streams, which give the payloads that
//! are read here one by one; counting tokens, which is free; signatures: no request is
//! changed unless it is to be softer, which can only be where it is signed behind this filter, or
//! not at all (API keys).
//!
//! The model stands in the path (`routes`); so the system prompt that some models add for tools is
//! not counted before the call.

pub(super) mod converse;
pub(super) mod invoke;

/// Gives the model as the configuration names it: of an Amazon resource name, the part behind the
/// last slash (`foundation-model/…`, `inference-profile/…`), so that one pattern fits a model
/// however it is addressed. The region in front of an inference profile's model (`us.`, `eu.`,
/// `apac.`, `global.`) stays, because prices depend on it.
fn model_in_path(name: &str) -> &str {
    if name.starts_with("arn:") { name.rsplit('/').next().unwrap_or(name) } else { name }
}
