//! Calls of tools, by their names: those that models make in their answers, and `tools/call` of
//! MCP.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static TOOL_CALLS: Resource = Resource {
    name: "tool_calls",
    meaning: "calls of the limit's `tools`: those that models make in their responses, and MCP `tools/call` \
             requests",
    unit: &Unit::TOOL_CALLS,
    // They are counted by name, which usage does not have: see `Limit::used`.
    amount: |_, _| Amount::ZERO,
};
