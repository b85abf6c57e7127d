//! The expected usage of a call, before it is sent.
//!
//! In: its request, and the history of similar calls. Out: an [`Estimate`]. Not here: the amount
//! held in a budget (`limit`), learning of outputs (`remembered`).

use super::rates::Rates;
use crate::api::Usage;
use crate::config::Ratio;
use crate::units::Tokens;

/// The expected usage of a call.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The usage that follows from its request: its input, and its output only if that follows too.
    pub known: Usage,
    /// Whether `known` includes its output.
    pub output_is_known: bool,
    /// Whether the input was counted rather than guessed.
    pub exact: bool,
    /// The bound that the request sets on its output.
    pub max_output: Option<u64>,
    /// The recent output of similar calls.
    pub expected_output: ExpectedOutput,
    /// The largest share of a budget that is held for output.
    pub at_most: Ratio,
    /// The rates of its tokens.
    pub rates: Rates,
}

impl Estimate {
    /// Returns the estimate of a call that uses exactly this.
    #[must_use]
    pub const fn known(known: Usage, rates: Rates) -> Self {
        Self {
            known,
            output_is_known: true,
            exact: true,
            max_output: None,
            expected_output: ExpectedOutput { most: Tokens(0), of_bound: Ratio::ONE },
            at_most: Ratio::ONE,
            rates,
        }
    }

    /// Returns the usage to report if nothing better is known.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let most = self.expected_output.most.0;
        self.with_output(self.max_output.map_or(most, |bound| bound.min(most)))
    }

    /// Returns the mean of the expected usage.
    pub(super) fn mean(&self) -> Usage {
        self.with_output(self.expected_output.within(self.max_output))
    }

    /// Returns its usage with this output, unless its output is known.
    fn with_output(&self, output: u64) -> Usage {
        if self.output_is_known { self.known } else { Usage { output, ..self.known } }
    }
}

/// The output to expect of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedOutput {
    /// The output that most calls stay within, with or without a bound.
    pub most: Tokens,
    /// The part of their bounds that calls use: all, until something is learned.
    pub of_bound: Ratio,
}

impl ExpectedOutput {
    /// Returns the mean output of a call with this bound; without a bound, the output that most
    /// calls stay within.
    pub(in crate::limits) fn within(&self, bound: Option<u64>) -> u64 {
        bound.map_or(self.most.0, |bound| self.of_bound.of(bound))
    }
}

impl From<Tokens> for ExpectedOutput {
    fn from(most: Tokens) -> Self {
        Self { most, of_bound: Ratio::ONE }
    }
}
