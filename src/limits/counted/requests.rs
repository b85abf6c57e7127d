//! Calls, whatever they use.

use super::{Counted, Unit};
use crate::units::Amount;

pub(super) static REQUESTS: Counted =
    Counted { name: "requests", meaning: "calls", unit: Unit::Requests, amount: |_, _| Amount(1) };
