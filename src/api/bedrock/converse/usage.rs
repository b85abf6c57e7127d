//! `usage` in Converse's form: three classes of input that do not overlap, and an output total.
//! Reasoning has no count of its own.
//!
//! In: JSON. Out: [`ReportedUsage`]. Not here: the counts of InvokeModel (`invoke`).
//!
//! Source: Amazon Bedrock API reference, "TokenUsage" and "CacheDetail"; its user guide, "Prompt
//! caching", which adds the tokens read from and written to caches to `inputTokens`. Nova's own
//! form has `…TokenCount` in place of `…Tokens`; some answers have both.

use serde::Deserialize;

use crate::api::ReportedUsage;
use crate::api::number::{Whole, parts};
use crate::api::raw::Text;

/// The member `usage`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageMember<'a> {
    input_tokens: Whole,
    output_tokens: Whole,
    cache_read_input_tokens: Whole,
    cache_read_input_token_count: Whole,
    cache_write_input_tokens: Whole,
    cache_write_input_token_count: Whole,
    #[serde(borrow)]
    cache_details: Option<Vec<CacheDetail<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CacheDetail<'a> {
    #[serde(borrow)]
    ttl: Option<Text<'a>>,
    input_tokens: Whole,
}

impl UsageMember<'_> {
    /// Returns the reported usage; none if it has neither total, or an invalid one.
    pub(super) fn told(self) -> Option<ReportedUsage> {
        let either = |one: Whole, other: Whole| if one == Whole::Absent { other } else { one };
        let read = either(self.cache_read_input_tokens, self.cache_read_input_token_count);
        let written = either(self.cache_write_input_tokens, self.cache_write_input_token_count);
        if [self.input_tokens, self.output_tokens, read, written].contains(&Whole::Invalid) {
            return None;
        }
        self.input_tokens.count().or_else(|| self.output_tokens.count())?;
        let told = ReportedUsage {
            input: self.input_tokens.count(),
            cached_input: read.count(),
            output: self.output_tokens.count(),
            ..ReportedUsage::default()
        };
        let Some(written) = written.count() else { return Some(told) };
        let for_an_hour = self.cache_details.iter().flatten();
        let for_an_hour =
            for_an_hour.filter(|detail| detail.ttl.as_ref().is_some_and(|Text(ttl)| ttl == "1h"));
        let for_an_hour = for_an_hour.filter_map(|detail| detail.input_tokens.count());
        let for_an_hour = for_an_hour.fold(0_u64, u64::saturating_add);
        let [for_an_hour, other] = parts(written, [Whole::Count(for_an_hour)]);
        Some(ReportedUsage { cache_write: other, cache_write_1h: for_an_hour, ..told })
    }
}
