//! The resources that a limit can count: one file and one row of [`RESOURCES`] each.
//!
//! In: a call's usage (real, or expected before the call) and the [`Rates`] of its model. Out: an
//! [`Amount`] in the resource's own unit. Not here: budgets.

mod audio_seconds;
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
use crate::limits::limit::unit::{Source, Unit};
use crate::units::Amount;

/// All resources, in the order of the reference.
pub const RESOURCES: &[&Resource] = &[
    &requests::REQUESTS,
    &tokens::TOKENS,
    &input_tokens::INPUT_TOKENS,
    &output_tokens::OUTPUT_TOKENS,
    &cost_usd::COST_USD,
    &characters::CHARACTERS,
    &audio_seconds::AUDIO_SECONDS,
    &concurrent_requests::CONCURRENT_REQUESTS,
    &tool_calls::TOOL_CALLS,
];

/// The names of all resources, in the same order.
pub const RESOURCE_NAMES: [&str; RESOURCES.len()] = names();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only runs at compile time, where a panic is a build error; iterators are not const"
)]
const fn names() -> [&'static str; RESOURCES.len()] {
    let mut names = [""; RESOURCES.len()];
    let mut index = 0;
    while index < RESOURCES.len() {
        names[index] = RESOURCES[index].name;
        index += 1;
    }
    names
}

/// A resource that a limit can count.
#[derive(Debug)]
pub struct Resource {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its meaning, for the reference.
    pub meaning: &'static str,
    /// The unit of its budgets.
    pub unit: &'static Unit,
    /// Returns its amount for a call with this usage.
    pub amount: fn(&Usage, &Rates) -> Amount,
}

impl Resource {
    /// Returns whether a call's amount is known before its body is read.
    #[must_use]
    pub const fn is_known_at_once(&self) -> bool {
        matches!(self.unit.source, Source::Head | Source::InFlight)
    }

    /// Returns whether the amount held is given back when the call ends, whatever it used.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        matches!(self.unit.source, Source::InFlight)
    }

    /// Returns whether it counts calls of tools, by their names.
    #[must_use]
    pub const fn is_of_tools(&self) -> bool {
        matches!(self.unit.source, Source::Tools)
    }

    /// Returns whether a rate limit service can count it; a service only knows amounts that are
    /// spent.
    #[must_use]
    pub const fn can_be_global(&self) -> bool {
        matches!(self.unit.source, Source::Head | Source::Usage)
    }
}

/// Returns the row with this name.
#[must_use]
pub fn resource(name: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|counted| counted.name == name).copied()
}
