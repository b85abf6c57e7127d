//! Calls without token charges at their providers, which cost only their request here: moderations
//! and lists of models.
//!
//! In: nothing; the filter reads neither their bodies nor their answers. Out: rows of
//! [`FORMATS`](super::FORMATS). Not here: token counting, which does not count as a call
//! (`Format::free`).
//!
//! Source: OpenAI's API reference, "Create moderation" and "List models"; Google's "models.list";
//! Ollama's "List local models".

use super::{Body, Format, get, post};

/// Moderations.
pub(super) static MODERATIONS: Format = Format {
    name: "openai_moderations",
    endpoints: &[post("/moderations")],
    body: Body::Free,
    ..Format::DEFAULT
};

/// Lists of models. They match only after the version segments of providers' paths, because
/// `models` alone is a common word.
pub(super) static MODELS: Format = Format {
    name: "models",
    endpoints: &[get("/v1/models"), get("/openai/models")],
    body: Body::Free,
    ..Format::DEFAULT
};
