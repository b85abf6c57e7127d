use super::*;
use crate::api::Classes;
use crate::config::Ratio;
use crate::limits::{Price, Rates, Weights};
use crate::units::Tokens;
use proptest::prelude::*;

fn estimate(input: u64, max_output: u64, weight: u64) -> Estimate {
    let weights = Weights(Classes {
        output: Ratio { ppm: weight },
        reasoning: Ratio { ppm: weight },
        ..Weights::default().0
    });
    Estimate {
        known: Usage { input, ..Usage::default() },
        output_is_known: false,
        exact: true,
        max_output: Some(max_output),
        expected_output: Tokens(100).into(),
        at_most: Ratio::ONE,
        rates: Rates { weights, multiplier: Ratio::ONE, price: Price::default() },
    }
}

proptest! {
    #[test]
    fn there_is_room_for_exactly_as_much_output_as_fits(input in 0_u64..2_000, weight in 1_u64..9_000_000, available in 0_u64..3_000) {
        let limit = Limit::example("tpm", "tokens", 10_000);
        let estimate = estimate(input, 1_000_000, weight);
        let room = limit.room_for_output(&estimate, Amount(available));
        let amount = |output| {
            let usage = estimate.known.plus(Usage { output, ..Usage::default() });
            (limit.counts.amount)(&usage, &estimate.rates)
        };
        prop_assert!(room == 0 || amount(room) <= Amount(available));
        prop_assert!(amount(room + 1) > Amount(available));
    }
}
