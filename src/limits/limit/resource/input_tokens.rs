//! Tokens that the model reads, cached or not, without weights.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static INPUT_TOKENS: Resource = Resource {
    name: "input_tokens",
    meaning: "tokens that the model reads, cached or not",
    unit: &Unit::TOKENS,
    amount: |usage, _| Amount(usage.all_input()),
};
