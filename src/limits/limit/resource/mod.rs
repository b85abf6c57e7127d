//! The resources that a limit can count: one file and one row of [`RESOURCES`] each.
//!
//! In: a call's usage (real, or expected before the call) and the [`Rates`] of its model. Out: an
//! [`Amount`] in the resource's own unit. Not here: budgets.

mod characters;
mod concurrent_requests;
mod cost_usd;
mod input_tokens;
mod output_tokens;
mod requests;
mod tokens;
mod tool_calls;

use crate::api::Usage;
use crate::limits::limit::rates::Rates;
use crate::units::Amount;

/// All resources, in the order of the reference.
pub static RESOURCES: &[&Resource] = &[
    &requests::REQUESTS,
    &tokens::TOKENS,
    &input_tokens::INPUT_TOKENS,
    &output_tokens::OUTPUT_TOKENS,
    &cost_usd::COST_USD,
    &characters::CHARACTERS,
    &concurrent_requests::CONCURRENT_REQUESTS,
    &tool_calls::TOOL_CALLS,
];

/// A resource that a limit can count.
#[derive(Debug)]
pub struct Resource {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its meaning, for the reference.
    pub meaning: &'static str,
    /// The unit of its budgets, for headers and messages.
    pub unit: Unit,
    /// Returns its amount for a call with this usage.
    pub amount: fn(&Usage, &Rates) -> Amount,
}

/// The units of budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calls.
    Requests,
    /// Tokens, weighted if weights are configured.
    Tokens,
    /// Billionths of a US dollar.
    NanoUsd,
    /// Characters of text.
    Characters,
    /// Calls under way at the same time.
    InFlight,
    /// Calls of tools.
    ToolCalls,
}

impl Resource {
    /// Returns whether a call's amount is known before its body is read.
    #[must_use]
    pub const fn is_known_at_once(&self) -> bool {
        matches!(self.unit, Unit::Requests | Unit::InFlight)
    }

    /// Returns whether the amount held is given back when the call ends, whatever it used.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        matches!(self.unit, Unit::InFlight)
    }

    /// Returns whether a rate limit service can count it; a service only knows amounts that are
    /// spent.
    #[must_use]
    pub const fn can_be_global(&self) -> bool {
        !matches!(self.unit, Unit::InFlight | Unit::ToolCalls)
    }
}

/// Returns the row with this name.
#[must_use]
pub fn resource(name: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|counted| counted.name == name).copied()
}
