//! Calls in flight: each counts from its headers to its end.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static CONCURRENT_REQUESTS: Resource = Resource {
    name: "concurrent_requests",
    meaning: "calls in flight, from headers to end; it has no `window`",
    unit: &Unit::IN_FLIGHT,
    amount: |_, _| Amount(1),
};
