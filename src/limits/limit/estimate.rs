//! The expected usage of a call, before it is sent.
//!
//! In: what its request says and what is known of calls like it. Out: an [`Estimate`]. Not here:
//! how much of a budget is held for it (`limit`), how outputs are learned (`remembered`).

use super::rates::Rates;
use crate::api::Usage;
use crate::config::Ratio;
use crate::units::Tokens;

/// The expected usage of a call.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Its input, and whatever else follows from its request; nothing of an output that does not.
    pub known: Usage,
    /// Whether its output is among what is known.
    pub output_is_known: bool,
    /// Whether the input was counted rather than guessed.
    pub exact: bool,
    /// The bound that the request sets on its output.
    pub max_output: Option<u64>,
    /// The output that such calls have lately had.
    pub expected_output: ExpectedOutput,
    /// The largest share of a budget that is held for output.
    pub at_most: Ratio,
    /// The tokens' worth.
    pub rates: Rates,
}

impl Estimate {
    /// A call that uses this and nothing else.
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

    /// The usage to be reported where nothing better is known.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let most = self.expected_output.most.0;
        self.with_output(self.max_output.map_or(most, |bound| bound.min(most)))
    }

    /// The usage to expect in the mean.
    pub(super) fn mean(&self) -> Usage {
        self.with_output(self.expected_output.within(self.max_output))
    }

    /// Its usage with so much output, unless its output is known.
    fn with_output(&self, output: u64) -> Usage {
        if self.output_is_known { self.known } else { Usage { output, ..self.known } }
    }
}

/// The output to expect of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedOutput {
    /// The output that most calls stay within, with a bound or without.
    pub most: Tokens,
    /// Which part of their bounds calls use: all, until something is learned.
    pub of_bound: Ratio,
}

impl ExpectedOutput {
    /// The mean output of a call with such a bound; without a bound, the output that most
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
