//! What tokens are worth: weights that make `tokens` out of the classes, and prices that make money.
//!
//! In: [`Usage`]. Out: weighted tokens and [`NanoUsd`], in integers, rounded up once per call, against the caller.
//! Not here: where the numbers are configured (`settings`).

use crate::api::Usage;
use crate::config::{Glob, Ratio};
use crate::units::{Amount, NanoUsd};

/// What each class of tokens counts in limits on `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Input that no cache was used for.
    pub input: Ratio,
    /// Input read from a cache.
    pub cached_input: Ratio,
    /// Input written to a cache.
    pub cache_write: Ratio,
    /// Output that is not reasoning.
    pub output: Ratio,
    /// Reasoning.
    pub reasoning: Ratio,
}

impl Default for Weights {
    /// Every token is one token.
    fn default() -> Self {
        Self {
            input: Ratio::ONE,
            cached_input: Ratio::ONE,
            cache_write: Ratio::ONE,
            output: Ratio::ONE,
            reasoning: Ratio::ONE,
        }
    }
}

impl Weights {
    /// Weighted tokens, rounded up.
    #[must_use]
    pub fn tokens(&self, usage: &Usage) -> Amount {
        let Self { input, cached_input, cache_write, output, reasoning } = self;
        let factors = [input, cached_input, cache_write, output, reasoning].map(|ratio| ratio.ppm);
        Amount(weighed(usage, factors))
    }
}

/// Prices in nano-dollars per million tokens, so that every price a provider lists is a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Input that no cache was used for.
    pub input: u64,
    /// Input read from a cache.
    pub cached_input: u64,
    /// Input written to a cache.
    pub cache_write: u64,
    /// Output that is not reasoning.
    pub output: u64,
    /// Reasoning.
    pub reasoning: u64,
}

impl Price {
    /// The cost of a call, rounded up to the next nano-dollar.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> NanoUsd {
        let Self { input, cached_input, cache_write, output, reasoning } = *self;
        NanoUsd(weighed(usage, [input, cached_input, cache_write, output, reasoning]))
    }
}

/// The sum of each class times its factor in millionths, rounded up.
fn weighed(usage: &Usage, factors: [u64; 5]) -> u64 {
    let Usage { input, cached_input, cache_write, output, reasoning } = *usage;
    let sum = [input, cached_input, cache_write, output, reasoning]
        .into_iter()
        .zip(factors)
        .map(|(tokens, factor)| u128::from(tokens).saturating_mul(u128::from(factor)))
        .fold(0_u128, u128::saturating_add);
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The price list: the first row whose pattern matches a model has its price.
#[derive(Clone, Debug, Default)]
pub struct Prices(pub Vec<(Glob, Price)>);

impl Prices {
    /// The price of a model. A model that no row matches has, class by class, the highest price of the list, so
    /// that a new or misspelled name is no way around a budget in money.
    #[must_use]
    pub fn of(&self, model: &str) -> Price {
        self.listed(model).unwrap_or_else(|| self.highest())
    }

    /// The price of a model that a row matches.
    #[must_use]
    pub fn listed(&self, model: &str) -> Option<Price> {
        self.0.iter().find(|(pattern, _)| pattern.matches(model)).map(|(_, price)| *price)
    }

    fn highest(&self) -> Price {
        self.0.iter().map(|(_, price)| price).fold(Price::default(), |high, price| Price {
            input: high.input.max(price.input),
            cached_input: high.cached_input.max(price.cached_input),
            cache_write: high.cache_write.max(price.cache_write),
            output: high.output.max(price.output),
            reasoning: high.reasoning.max(price.reasoning),
        })
    }
}

/// What the tokens of one call's model are worth.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Weights for limits on `tokens`.
    pub weights: Weights,
    /// Prices for limits on `cost_usd`.
    pub price: Price,
}

impl Rates {
    /// The cost of a call.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        self.price.of(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage =
        Usage { input: 1_000, cached_input: 2_000, cache_write: 0, output: 300, reasoning: 200 };

    /// A glob of the price list.
    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern)
    }

    #[test]
    fn money_agrees_with_a_bill_made_by_hand() {
        // gpt-4o-mini as listed by OpenAI: 0.15, cached 0.075 and 0.60 USD per million tokens.
        let price = Price {
            input: 150_000_000,
            cached_input: 75_000_000,
            cache_write: 150_000_000,
            output: 600_000_000,
            reasoning: 600_000_000,
        };
        // 1,000 x 0.15 + 2,000 x 0.075 + 500 x 0.60 = 600 micro-dollars
        assert_eq!(price.of(&USAGE), NanoUsd(600_000));
    }

    #[test]
    fn fractions_of_a_nano_dollar_are_rounded_up_once() {
        let price = Price { input: 37_500, output: 37_500, ..Price::default() };
        assert_eq!(price.of(&Usage { input: 1, output: 1, ..Usage::default() }), NanoUsd(1));
        assert_eq!(
            price.of(&Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() }),
            NanoUsd(1_383_505_805_528_216_372)
        );
    }

    #[test]
    fn weights_make_tokens_of_the_classes() {
        assert_eq!(Weights::default().tokens(&USAGE), Amount(3_500));
        let weights = Weights {
            cached_input: Ratio { ppm: 100_000 },
            reasoning: Ratio { ppm: 4_000_000 },
            ..Weights::default()
        };
        assert_eq!(weights.tokens(&USAGE), Amount(1_000 + 200 + 300 + 800));
    }

    #[test]
    fn a_model_without_a_row_has_the_highest_prices() {
        let dear = Price { input: 9, output: 1, ..Price::default() };
        let cheap = Price { input: 1, output: 5, ..Price::default() };
        let prices = Prices(vec![(glob("dear*"), dear), (glob("cheap*"), cheap)]);
        assert_eq!(prices.of("cheap-1"), cheap);
        assert_eq!(prices.of("unheard-of"), Price { input: 9, output: 5, ..Price::default() });
        assert_eq!(prices.listed("unheard-of"), None);
    }
}
