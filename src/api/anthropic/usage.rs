//! `usage` in Anthropic's form: three classes of input that do not overlap, and an output total
//! that includes thinking.
//!
//! In: JSON. Out: [`ReportedUsage`]. Not here: which document has which usage (`answer`).
//!
//! Source: Anthropic's API reference, "Create a Message", `usage`; guides "Prompt caching"
//! ("Tracking cache performance") and "Streaming messages", which says that the numbers of a
//! `message_delta` are cumulative.

use serde::Deserialize;

use crate::api::ReportedUsage;
use crate::api::number::{Whole, parts};

/// The member `usage`.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageMember {
    input_tokens: Whole,
    cache_read_input_tokens: Whole,
    cache_creation_input_tokens: Whole,
    cache_creation: Option<CacheCreation>,
    output_tokens: Whole,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Whole,
    ephemeral_1h_input_tokens: Whole,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Whole,
}

impl UsageMember {
    /// Returns the usage of a whole message; none if it reports neither total, or an invalid one.
    pub(super) fn told(self) -> Option<ReportedUsage> {
        let totals = [
            self.input_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
            self.output_tokens,
        ];
        if totals.contains(&Whole::Invalid) {
            return None;
        }
        self.input_tokens.count().or_else(|| self.output_tokens.count())?;
        let mut told = ReportedUsage {
            input: self.input_tokens.count(),
            cached_input: self.cache_read_input_tokens.count(),
            cache_write: self.cache_creation_input_tokens.count(),
            ..ReportedUsage::default()
        };
        if let Some(CacheCreation { ephemeral_5m_input_tokens, ephemeral_1h_input_tokens }) =
            self.cache_creation
        {
            let count = |part: Whole| part.count().unwrap_or(0);
            let both = count(ephemeral_5m_input_tokens).saturating_add(count(ephemeral_1h_input_tokens));
            let [for_an_hour, other] = parts(told.cache_write.unwrap_or(both), [ephemeral_1h_input_tokens]);
            (told.cache_write, told.cache_write_1h) = (other, for_an_hour);
        }
        if let Some(output) = self.output_tokens.count() {
            let details = self.output_tokens_details.unwrap_or_default();
            let [thinking, other] = parts(output, [details.thinking_tokens]);
            (told.output, told.reasoning) = (other, thinking);
        }
        Some(told)
    }

    /// Returns the usage reported at the start of a stream. There the output is a placeholder, and
    /// zero tokens written to caches may mean that the number is not known yet.
    pub(super) fn told_at_start(self) -> Option<ReportedUsage> {
        let told = Self { output_tokens: Whole::Absent, ..self }.told()?;
        let is_nothing = [told.cache_write, told.cache_write_1h].iter().all(|it| it.unwrap_or(0) == 0);
        Some(if is_nothing {
            ReportedUsage { cache_write: None, cache_write_1h: None, ..told }
        } else {
            told
        })
    }

    /// Returns the usage reported later in a stream. It reports tokens written to caches as one
    /// total, with less detail than the start, so [`Self::written_in_all`] returns them.
    pub(super) fn told_so_far(self) -> Option<ReportedUsage> {
        let told = self.told()?;
        Some(if self.cache_creation.is_some() { told } else { ReportedUsage { cache_write: None, ..told } })
    }

    /// Returns the tokens written to caches, for streams whose start does not report them: some
    /// gateways know them only at the end.
    pub(super) fn written_in_all(self) -> ReportedUsage {
        ReportedUsage { cache_write: self.cache_creation_input_tokens.count(), ..ReportedUsage::default() }
    }
}
