//! `usage` as Anthropic words it: three classes of input that do not overlap, and an output total
//! of which thinking is a part.
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
    /// Returns the usage of a whole message. None if it tells neither total, or a total that is
    /// nonsense.
    pub(super) fn told(self) -> Option<ReportedUsage> {
        let totals = [
            self.input_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
            self.output_tokens,
        ];
        if totals.contains(&Whole::Nonsense) {
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

    /// Returns the usage told at the start of a stream, where the output is a placeholder, and
    /// nothing written to caches may mean nothing known yet.
    pub(super) fn told_at_start(self) -> Option<ReportedUsage> {
        let told = Self { output_tokens: Whole::Absent, ..self }.told()?;
        let is_nothing = [told.cache_write, told.cache_write_1h].iter().all(|it| it.unwrap_or(0) == 0);
        Some(if is_nothing {
            ReportedUsage { cache_write: None, cache_write_1h: None, ..told }
        } else {
            told
        })
    }

    /// Returns the usage told further on in a stream. Tokens written to caches are told as one
    /// total then, which says less than the start did, so they are left to
    /// [`Self::written_in_all`].
    pub(super) fn told_so_far(self) -> Option<ReportedUsage> {
        let told = self.told()?;
        Some(if self.cache_creation.is_some() { told } else { ReportedUsage { cache_write: None, ..told } })
    }

    /// Returns the tokens written to caches, for streams whose start does not tell them: some
    /// gateways know them only at the end.
    pub(super) fn written_in_all(self) -> ReportedUsage {
        ReportedUsage { cache_write: self.cache_creation_input_tokens.count(), ..ReportedUsage::default() }
    }
}
