//! Calls that providers do not charge for, and that cost no more than their request here:
//! moderations and lists of models.
//!
//! In: nothing; neither their bodies nor their answers are read. Out: rows of
//! [`FORMATS`](super::FORMATS). Not here: counting tokens, which is no call at all
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

/// Lists of models. Only behind the versions that providers have in their paths: `models` alone is
/// a common word.
pub(super) static MODELS: Format = Format {
    name: "models",
    endpoints: &[get("/v1/models"), get("/openai/models")],
    body: Body::Free,
    ..Format::DEFAULT
};
