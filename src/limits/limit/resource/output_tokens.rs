//! Tokens that the model writes, reasoning among them, without weights.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static OUTPUT_TOKENS: Resource = Resource {
    name: "output_tokens",
    meaning: "tokens that the model writes, including reasoning",
    unit: &Unit::TOKENS,
    amount: |usage, _| Amount(usage.all_output()),
};
