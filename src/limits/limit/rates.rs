//! The rates of tokens: weights that turn classes into `tokens`, and prices that turn them into
//! money.
//!
//! In: [`Usage`]. Out: weighted tokens and [`NanoUsd`], in integers, rounded up once per call,
//! against the caller. Not here: the configuration of the numbers (`settings`).

use crate::api::{CLASSES, Classes, Side, Usage};
use crate::config::{Glob, Ratio};
use crate::units::{Amount, NanoUsd, Product};

/// The weight of each class in limits on `tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights(pub Classes<Ratio>);

impl Default for Weights {
    /// Counts every token as one.
    fn default() -> Self {
        Self(CLASSES.map(|(_, side)| if side == Side::Other { Ratio::ZERO } else { Ratio::ONE }))
    }
}

impl Weights {
    /// Returns the weighted tokens, rounded up.
    #[must_use]
    pub fn tokens(&self, usage: &Usage) -> Amount {
        Amount(weighed(usage, self.0.map(|ratio| ratio.ppm)))
    }
}

/// Prices in nano-dollars per million, so that every price in a provider's list is a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price(pub Classes<u64>);

impl Price {
    /// Returns the cost of a call, rounded up to the next nano-dollar.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> NanoUsd {
        NanoUsd(weighed(usage, self.0))
    }
}

/// Returns the sum of each class times its factor in millionths, rounded up.
fn weighed(usage: &Usage, factors: Classes<u64>) -> u64 {
    let (counts, factors) = (usage.values(), factors.values());
    let used = counts.iter().zip(&factors).filter(|(count, _)| **count > 0);
    let sum = used.fold(Product::of(0, 0), |sum, (count, factor)| sum.and(Product::of(*count, *factor)));
    sum.div_ceil(1_000_000)
}

/// The price list: the first row whose pattern matches a model has its price.
#[derive(Clone, Debug, Default)]
pub struct Prices(pub Vec<(Glob, Price)>);

impl Prices {
    /// Returns the price of a model. A model without a row gets the highest price of each class, so
    /// that a new or misspelled name does not evade a budget in money.
    #[must_use]
    pub fn of(&self, model: &str) -> Price {
        self.listed(model).unwrap_or_else(|| self.highest())
    }

    /// Returns the price of a model that a row matches.
    #[must_use]
    pub fn listed(&self, model: &str) -> Option<Price> {
        self.0.iter().find(|(pattern, _)| pattern.matches(model)).map(|(_, price)| *price)
    }

    fn highest(&self) -> Price {
        self.0.iter().fold(Price::default(), |high, (_, price)| {
            Price(high.0.zip(price.0).map(|(high, price)| high.max(price)))
        })
    }
}

/// The rates of one call's model.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Weights for limits on `tokens`.
    pub weights: Weights,
    /// The tokens that one weighted token of this model counts as.
    pub multiplier: Ratio,
    /// Prices for limits on `cost_usd`.
    pub price: Price,
}

impl Rates {
    /// Returns the weighted tokens of a call.
    #[must_use]
    pub fn tokens(&self, usage: &Usage) -> Amount {
        Amount(self.multiplier.of(self.weights.tokens(usage).0))
    }

    /// Returns the cost of a call.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        self.price.of(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Usage {
        Usage { input: 1_000, cached_input: 2_000, output: 300, reasoning: 200, ..Usage::default() }
    }

    /// Returns a glob of the price list.
    fn glob(pattern: &str) -> Glob {
        Glob::new(pattern)
    }

    #[test]
    fn money_agrees_with_a_bill_made_by_hand() {
        // gpt-4o-mini as listed by OpenAI: 0.15, cached 0.075 and 0.60 USD per million tokens.
        let price = Price(Classes {
            input: 150_000_000,
            cached_input: 75_000_000,
            output: 600_000_000,
            reasoning: 600_000_000,
            ..Classes::default()
        });
        // 1,000 x 0.15 + 2,000 x 0.075 + 500 x 0.60 = 600 micro-dollars
        assert_eq!(price.of(&sample()), NanoUsd(600_000));
    }

    #[test]
    fn fractions_of_a_nano_dollar_are_rounded_up_once() {
        let price = Price(Classes { input: 37_500, output: 37_500, ..Classes::default() });
        assert_eq!(price.of(&Usage { input: 1, output: 1, ..Usage::default() }), NanoUsd(1));
        assert_eq!(
            price.of(&Usage { input: u64::MAX, output: u64::MAX, ..Usage::default() }),
            NanoUsd(1_383_505_805_528_216_372)
        );
    }

    #[test]
    fn weights_make_tokens_of_the_classes() {
        assert_eq!(Weights::default().tokens(&sample()), Amount(3_500));
        let weights = Weights(Classes {
            cached_input: Ratio { ppm: 100_000 },
            reasoning: Ratio { ppm: 4_000_000 },
            ..Weights::default().0
        });
        assert_eq!(weights.tokens(&sample()), Amount(1_000 + 200 + 300 + 800));
    }

    #[test]
    fn what_is_no_token_has_a_price_but_no_weight() {
        let spoken = Usage { characters: 2_000, requests: 1, ..Usage::default() };
        // tts-1 as listed by OpenAI: 15 USD per million characters; a call at 0.01 USD besides.
        let price =
            Price(Classes { characters: 15_000_000_000, requests: 10_000_000_000_000, ..Classes::default() });
        assert_eq!(price.of(&spoken), NanoUsd(30_000_000 + 10_000_000));
        assert_eq!(Weights::default().tokens(&spoken), Amount(0));
    }

    #[test]
    fn a_multiplier_makes_a_model_count_more() {
        let rates = Rates {
            weights: Weights::default(),
            multiplier: Ratio { ppm: 2_500_000 },
            price: Price::default(),
        };
        assert_eq!(rates.tokens(&Usage { input: 3, ..Usage::default() }), Amount(8));
    }

    #[test]
    fn a_model_without_a_row_has_the_highest_prices() {
        let dear = Price(Classes { input: 9, output: 1, ..Classes::default() });
        let cheap = Price(Classes { input: 1, output: 5, ..Classes::default() });
        let prices = Prices(vec![(glob("dear*"), dear), (glob("cheap*"), cheap)]);
        assert_eq!(prices.of("cheap-1"), cheap);
        assert_eq!(prices.of("unheard-of"), Price(Classes { input: 9, output: 5, ..Classes::default() }));
        assert_eq!(prices.listed("unheard-of"), None);
    }
}
