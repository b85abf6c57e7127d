//! Money by the price list.

use super::{Resource, Unit};
use crate::units::Amount;

pub(super) static COST_USD: Resource = Resource {
    name: "cost_usd",
    meaning: "US dollars by `prices`",
    unit: Unit::NanoUsd,
    amount: |usage, rates| Amount(rates.cost(usage).0),
};
