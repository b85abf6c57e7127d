//! Cohere's usage: the model's tokens, or else the billed ones.
//!
//! In: JSON. Out: [`ReportedUsage`]. Not here: search units and classifications, which belong to
//! other calls.
//!
//! Source: Cohere's API reference, "Chat API (v2)", `usage`: `tokens` are the model's input and
//! output, including special tokens and preambles; `billed_units` exclude those; "Embed API (v2)",
//! `meta.billed_units`, with tokens of texts and of images. All are floats.

use serde::Deserialize;

use crate::api::ReportedUsage;
use crate::api::number::{Whole, parts};

/// The member `usage` of a chat, `meta` of an embedding.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageMember {
    tokens: Option<Units>,
    billed_units: Option<Units>,
    cached_tokens: Whole,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Units {
    input_tokens: Whole,
    output_tokens: Whole,
    text_tokens: Whole,
    image_tokens: Whole,
}

impl UsageMember {
    /// Returns the usage: none if a total is nonsense, an empty report if only other units are
    /// billed.
    pub(super) fn told(self) -> Option<ReportedUsage> {
        let (tokens, billed) = (self.tokens.unwrap_or_default(), self.billed_units.unwrap_or_default());
        let either = |total: fn(&Units) -> Whole| match total(&tokens) {
            Whole::Absent => total(&billed),
            told => told,
        };
        let totals = [
            either(|units| units.input_tokens),
            either(|units| units.text_tokens),
            either(|units| units.image_tokens),
            either(|units| units.output_tokens),
        ];
        if totals.contains(&Whole::Invalid) {
            return None;
        }
        let [input, text, pictures, output] = totals.map(Whole::count);
        let mut told = ReportedUsage { output, ..ReportedUsage::default() };
        let in_parts = text.or(input).into_iter().chain(pictures).reduce(u64::saturating_add);
        if let Some(in_parts) = in_parts {
            // The documentation does not say whether the total includes images.
            let [cached, other] = parts(in_parts.max(input.unwrap_or(0)), [self.cached_tokens]);
            told = ReportedUsage { input: other, cached_input: cached, ..told };
        }
        Some(told)
    }
}
