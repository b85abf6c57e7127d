//! What holds for amounts that are reserved in advance, by calls that wait for them.

use proptest::prelude::*;

use super::properties::{Step, bucket_bound, charged, shape, steps};
use super::tests::{later, second};
use super::*;

/// Calls that wait, one after the other: when each may go on, with its amount.
fn queue(budget: &mut Budget, steps: &[Step], patience: Span) -> Vec<(Timestamp, Amount)> {
    let mut due = Vec::new();
    for step in steps {
        *budget = later(budget, budget.now + Span(step.after));
        if let Ok(wait) = budget.reserve_within(step.amount, patience) {
            due.push((budget.now + wait, step.amount));
        }
    }
    due
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_waits_fits_exactly_when_it_was_told(
        shape in shape(), steps in steps(), amount in 1_u64..700, patience in 0_u64..20_000,
    ) {
        let mut budget = charged(shape, &steps);
        let (before, amount) = (budget, Amount(amount));
        let expected = before.wait_for(amount);

        match budget.reserve_within(amount, Span(patience)) {
            Ok(wait) => {
                prop_assert_eq!(Wait::For(wait), expected);
                prop_assert!(wait <= Span(patience));
                prop_assert_eq!(budget.until_paid(), wait);
                prop_assert!(later(&budget, budget.now + wait).spent() <= shape.capacity());
                if !wait.is_zero() {
                    let just_before = later(&budget, Timestamp(budget.now.0 + wait.0 - 1));
                    prop_assert!(just_before.spent() > shape.capacity());
                }
            }
            Err(refused) => {
                prop_assert_eq!(budget, before);
                prop_assert_eq!(refused, Refused { asked: amount, available: before.available(), wait: expected });
                prop_assert!(!matches!(expected, Wait::For(wait) if wait <= Span(patience)));
            }
        }
    }

    #[test]
    fn whoever_comes_later_goes_on_later_however_little_it_needs(
        shape in shape(), steps in steps(), patience in 0_u64..20_000,
    ) {
        let mut budget = Budget::open(shape, None, second(0));
        let due = queue(&mut budget, &steps, Span(patience));
        let due: Vec<_> = due.into_iter().filter(|(_, amount)| !amount.is_zero()).collect();
        prop_assert!(due.is_sorted_by_key(|(due, _)| *due), "{due:?}");
    }

    #[test]
    fn calls_that_have_waited_are_within_the_budget(shape in shape(), steps in steps(), patience in 0_u64..20_000) {
        let shape = Shape { algorithm: Algorithm::TokenBucket, ..shape };
        let mut budget = Budget::open(shape, None, second(0));
        let due = queue(&mut budget, &steps, Span(patience));
        for (index, (start, _)) in due.iter().enumerate() {
            let mut sum = 0;
            for (end, amount) in &due[index..] {
                sum += u128::from(amount.0) * u128::from(shape.window.0);
                prop_assert!(sum <= bucket_bound(&shape, end.since(*start)));
            }
        }
    }

    #[test]
    fn one_that_leaves_makes_all_others_as_early_as_if_it_had_never_come(
        shape in shape(), steps in steps(), leaver in 0_usize..8, amounts in prop::collection::vec(1_u64..60, 2..8),
    ) {
        let mut budget = charged(shape, &steps);
        let mut without = budget;
        let leaver = leaver % amounts.len();
        for (number, amount) in amounts.iter().enumerate() {
            let amount = Amount(*amount);
            budget.charge(amount);
            if number != leaver {
                without.charge(amount);
            }
        }
        budget.refund(Amount(amounts[leaver]), budget.counted_at());
        prop_assert_eq!(budget.until_paid(), without.until_paid());
    }
}

#[test]
fn places_among_calls_in_flight_are_not_waited_for() {
    let mut budget = Budget::open(Shape::in_flight(Amount(1)), None, second(0));
    budget.reserve(Amount(1)).unwrap();
    let before = budget;

    assert!(budget.reserve_within(Amount(1), Span::MAX).is_err());

    assert_eq!(budget, before);
}

#[test]
fn what_could_never_be_paid_is_not_waited_for() {
    let shape = Shape {
        algorithm: Algorithm::TokenBucket,
        max: Amount(10),
        burst: Amount(10),
        window: Span::from_secs(1),
    };
    let mut budget = Budget::open(shape, None, second(0));

    assert_eq!(budget.reserve_within(Amount(11), Span::MAX).unwrap_err().wait, Wait::Never);

    assert_eq!(budget.available(), Amount(10));
}
