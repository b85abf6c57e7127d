//! Tokens that the model reads, cached or not, without weights.

use super::{Resource, Unit};
use crate::units::Amount;

pub(super) static INPUT_TOKENS: Resource = Resource {
    name: "input_tokens",
    meaning: "tokens that the model reads, cached or not",
    unit: Unit::Tokens,
    amount: |usage, _| Amount(usage.all_input()),
};
