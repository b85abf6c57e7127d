//! The table of dialects: one file and one row for each.
//!
//! In: a [`Dialect`]. Out: its [`Words`]. Not here: what is said (`problem`, `ietf`), only how an
//! API says it.

use super::problem::Problem;
use super::{Fields, anthropic, bedrock, cohere, gemini, mcp, ollama, openai};
use crate::api::Dialect;
use crate::limits::Standing;
use crate::units::Timestamp;

/// How an API words errors and budgets.
pub(super) struct Words {
    /// The body of an error.
    pub(super) body: fn(&Problem<'_>) -> String,
    /// What its clients look for in the header of an error, besides the content type and when to
    /// come back.
    pub(super) error_fields: fn(&Problem<'_>) -> Fields,
    /// Where budgets stand now, as far as it has words for what they count.
    pub(super) standing_fields: fn(&[Standing], Timestamp) -> Fields,
}

impl Dialect {
    /// Its row.
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

/// Most APIs say everything in the body of an error.
pub(super) const fn no_fields(_: &Problem<'_>) -> Fields {
    Vec::new()
}
