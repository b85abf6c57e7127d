//! Calls, whatever they use.

use super::{Resource, Unit};
use crate::units::Amount;

pub(super) static REQUESTS: Resource =
    Resource { name: "requests", meaning: "calls", unit: Unit::Requests, amount: |_, _| Amount(1) };
