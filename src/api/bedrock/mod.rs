//! Amazon Bedrock's runtime API: the same call for all models (`converse`), and each model's own
//! (`invoke`).
//!
//! In: request bodies, JSON documents of answers, and their heads. Out: rows of
//! [`FORMATS`](super::FORMATS). Not here: the frames of event streams, whose payloads come here one
//! by one; counting tokens, which is free; signatures. This filter changes a request only to lower
//! its cost or to hide tools, and can do so only if the request is signed behind this filter, or
//! not at all (API keys).
//!
//! The model is in the path (`routes`), so the count before the call omits the system prompt that
//! some models add for tools.

pub(super) mod converse;
pub(super) mod invoke;

/// Returns the model as the configuration names it: for an Amazon resource name, the part after the
/// last slash (`foundation-model/…`, `inference-profile/…`), so one pattern fits all addresses of a
/// model. It keeps the region before an inference profile's model (`us.`, `eu.`, `apac.`,
/// `global.`), because prices depend on it.
fn model_in_path(name: &str) -> &str {
    if name.starts_with("arn:") { name.rsplit('/').next().unwrap_or(name) } else { name }
}
