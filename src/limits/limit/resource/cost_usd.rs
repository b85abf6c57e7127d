//! Money by the price list.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static COST_USD: Resource = Resource {
    name: "cost_usd",
    meaning: "US dollars by `prices`",
    unit: &Unit::NANO_USD,
    amount: |usage, rates| Amount(rates.cost(usage).0),
};
