//! All tokens of a call, each class by its weight.

use super::Resource;
use crate::limits::limit::unit::Unit;

pub(super) static TOKENS: Resource = Resource {
    name: "tokens",
    meaning: "input and output tokens, each class times its weight in `counting.weights`, and the sum times \
             the model's `multiplier`",
    unit: &Unit::TOKENS,
    amount: |usage, rates| rates.tokens(usage),
};
