//! The table of dialects: one file and one row for each.
//!
//! In: a [`Dialect`]. Out: its [`Words`]. Not here: the content of replies (`problem`, `ietf`).

use super::problem::Problem;
use super::{Fields, anthropic, bedrock, cohere, gemini, mcp, ollama, openai};
use crate::api::Dialect;
use crate::limits::Standing;
use crate::settings::Family;
use crate::units::Timestamp;

/// An API's wording of errors and budgets.
pub(super) struct Words {
    /// The body of an error.
    pub(super) body: fn(&Problem<'_>) -> String,
    /// The header fields that its clients read in an error, besides the content type and
    /// `retry-after`.
    pub(super) error_fields: fn(&Problem<'_>) -> Fields,
    /// The budget headers that its clients read.
    pub(super) own: &'static OwnFields,
}

/// A family of budget headers that belongs to some APIs.
pub(super) struct OwnFields {
    pub(super) family: Family,
    /// Adds the current standing of budgets, for the resources that it has names for.
    pub(super) add: fn(&[Standing], Timestamp, &mut Fields),
}

impl Dialect {
    /// Returns its row.
    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::OpenAi => &openai::WORDS,
            Self::Anthropic => &anthropic::WORDS,
            Self::Gemini => &gemini::WORDS,
            Self::Bedrock => &bedrock::WORDS,
            Self::Cohere => &cohere::WORDS,
            Self::Ollama => &ollama::WORDS,
            Self::Mcp => &mcp::WORDS,
        }
    }
}

/// Returns no fields; most APIs put everything in the body of an error.
pub(super) const fn no_fields(_: &Problem<'_>) -> Fields {
    Vec::new()
}
