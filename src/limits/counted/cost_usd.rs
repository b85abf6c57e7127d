//! Money by the price list.

use super::{Counted, Unit};
use crate::units::Amount;

pub(super) static COST_USD: Counted = Counted {
    name: "cost_usd",
    meaning: "US dollars by `prices`",
    unit: Unit::NanoUsd,
    amount: |usage, rates| Amount(rates.cost(usage).0),
};
