//! Calls, whatever they use.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static REQUESTS: Resource =
    Resource { name: "requests", meaning: "calls", unit: &Unit::REQUESTS, amount: |_, _| Amount(1) };
