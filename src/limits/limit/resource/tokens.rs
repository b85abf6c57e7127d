//! All tokens of a call, each class by its weight.

use super::{Resource, Unit};

pub(super) static TOKENS: Resource = Resource {
    name: "tokens",
    meaning: "input and output tokens together, each class times its weight in `counting.weights`, and all times the model's `multiplier`",
    unit: Unit::Tokens,
    amount: |usage, rates| rates.tokens(usage),
};
