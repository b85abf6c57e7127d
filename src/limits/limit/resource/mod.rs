//! Resources that a limit can count: one file and one row of [`RESOURCES`] each.
//!
//! In: a call's usage (real, or expected before the call) and the [`Rates`] of its model. Out: an
//! [`Amount`] in the thing's own unit. Not here: budgets.

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

/// Everything that can be counted, in the order of the reference.
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

/// One thing that a limit can count.
#[derive(Debug)]
pub struct Resource {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its meaning, for the reference.
    pub meaning: &'static str,
    /// The unit of its budgets, for headers and messages.
    pub unit: Unit,
    /// How much of it a call with this usage is.
    pub amount: fn(&Usage, &Rates) -> Amount,
}

/// The units of budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Calls.
    Requests,
    /// Tokens, weighted where weights are configured.
    Tokens,
    /// Billionths of a US dollar.
    NanoUsd,
    /// Characters of text.
    Characters,
    /// Calls that are on their way at the same time.
    InFlight,
    /// Calls of tools.
    ToolCalls,
}

impl Resource {
    /// Whether a call's amount is known before its body has been read.
    #[must_use]
    pub const fn is_known_at_once(&self) -> bool {
        matches!(self.unit, Unit::Requests | Unit::InFlight)
    }

    /// Whether what is held is given back when the call ends, whatever it used.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        matches!(self.unit, Unit::InFlight)
    }

    /// Whether it can be counted by a rate limit service, which knows nothing but amounts that are
    /// spent.
    #[must_use]
    pub const fn can_be_global(&self) -> bool {
        !matches!(self.unit, Unit::InFlight | Unit::ToolCalls)
    }
}

/// The row with this name.
#[must_use]
pub fn resource(name: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|counted| counted.name == name).copied()
}
