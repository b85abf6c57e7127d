//! Properties of budgets of any shape under any history.

use proptest::prelude::*;

use super::tests::{later, second};
use super::*;

/// An event some nanoseconds after the previous one.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct Step {
    pub(in crate::limits) after: u64,
    pub(in crate::limits) amount: Amount,
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::TokenBucket), Just(Algorithm::SlidingWindow), Just(Algorithm::FixedWindow)]
}

/// Limits with windows and amounts small enough for histories to cross them, and odd enough to
/// round.
pub(in crate::limits) fn shape() -> impl Strategy<Value = Shape> {
    (algorithm(), 1_u64..500, 1_u64..700, 1_u64..5_000).prop_map(|(algorithm, max, burst, window)| Shape {
        algorithm,
        max: Amount(max),
        burst: Amount(burst),
        window: Span(window),
    })
}

pub(in crate::limits) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (prop_oneof![0_u64..200, 0_u64..6_000], 0_u64..300)
        .prop_map(|(after, amount)| Step { after, amount: Amount(amount) });
    prop::collection::vec(step, 1..40)
}

/// Returns the budget after these charges, including debts.
pub(in crate::limits) fn charged(shape: Shape, steps: &[Step]) -> Budget {
    let mut budget = Budget::open(shape, None, second(0));
    for step in steps {
        budget = later(&budget, budget.now + Span(step.after));
        budget.charge(step.amount);
    }
    budget
}

/// Returns the charges of these steps that fit, with their moments.
fn admitted(shape: Shape, steps: &[Step]) -> Vec<(Timestamp, Amount)> {
    let mut budget = Budget::open(shape, None, second(0));
    let mut admitted = Vec::new();
    for step in steps {
        budget = later(&budget, budget.now + Span(step.after));
        if budget.reserve(step.amount).is_ok() {
            admitted.push((budget.counted_at(), step.amount));
        }
    }
    admitted
}

fn window_of(shape: &Shape, at: Timestamp) -> u64 {
    at.0 / shape.window.0
}

/// Returns the most that a bucket can give: burst + rate * time, in units of 1 / window.
pub(in crate::limits) fn bucket_bound(shape: &Shape, time: Span) -> u128 {
    u128::from(shape.burst.0) * u128::from(shape.window.0) + u128::from(shape.max.0) * u128::from(time.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_wait_is_exact(shape in shape(), steps in steps(), behind in 0_u64..4_000, amount in 1_u64..700) {
        let budget = charged(shape, &steps);
        let amount = Amount(amount);
        let now = Timestamp(budget.now.0 - behind);
        let opened = later(&budget, now);

        let Wait::For(wait) = opened.wait_for(amount) else {
            prop_assert!(amount > shape.capacity());
            return Ok(());
        };

        prop_assert_eq!(later(&budget, now + wait).reserve(amount), Ok(()));
        if wait.is_zero() {
            return Ok(());
        }
        let refused = later(&budget, Timestamp(now.0 + wait.0 - 1)).reserve(amount).unwrap_err();
        prop_assert_eq!(refused.wait, Wait::For(Span(1)));
    }

    #[test]
    fn a_wait_is_exact_at_any_scale(
        algorithm in algorithm(),
        sizes in (1..=u64::MAX, 1..=u64::MAX, 1..=Span::from_secs(365 * 86_400).0),
        scale in (0_u32..64, 0_u32..64, 0_u32..50),
        charges in prop::array::uniform3((any::<u64>(), 0_u64..3)),
        amount in any::<u64>(),
    ) {
        let shape = Shape {
            algorithm,
            max: Amount((sizes.0 >> scale.0).max(1)),
            burst: Amount((sizes.1 >> scale.1).max(1)),
            window: Span((sizes.2 >> scale.2).max(1)),
        };
        let capacity = shape.capacity().0;
        let mut budget = Budget::open(shape, None, second(0));
        for (number, windows) in charges {
            budget.charge(Amount(number % capacity));
            budget = later(&budget, budget.now + Span(number % shape.window.0) + shape.window.times(windows));
        }
        let amount = Amount((amount % capacity).max(1));

        let Wait::For(wait) = budget.wait_for(amount) else {
            return Err(TestCaseError::fail("never, though it is less than the capacity"));
        };
        // Times after the year 2554, where the clock ends, cannot be tested.
        prop_assume!(wait < Span(u64::MAX - budget.now.0));

        prop_assert_eq!(later(&budget, budget.now + wait).reserve(amount), Ok(()));
        if !wait.is_zero() {
            let refused = later(&budget, Timestamp(budget.now.0 + wait.0 - 1)).reserve(amount).unwrap_err();
            prop_assert_eq!(refused.wait, Wait::For(Span(1)));
        }
    }

    #[test]
    fn from_idle_on_a_budget_equals_an_untouched_one(
        shape in shape(), steps in steps(), more in steps(), late in 0_u64..100,
    ) {
        let budget = charged(shape, &steps);
        let idle_at = budget.idle_at();
        if idle_at > budget.now {
            prop_assert!(!later(&budget, Timestamp(idle_at.0 - 1)).spent().is_zero());
        }

        let mut used = later(&budget, idle_at + Span(late));
        let mut fresh = Budget::open(shape, None, used.now);
        for step in more {
            prop_assert_eq!(used.available(), fresh.available());
            prop_assert_eq!(used.idle_at(), fresh.idle_at());
            prop_assert_eq!(used.reserve(step.amount), fresh.reserve(step.amount));
            let now = used.now + Span(step.after);
            (used, fresh) = (later(&used, now), later(&fresh, now));
        }
    }

    #[test]
    fn looking_often_is_as_looking_once(shape in shape(), steps in steps(), looks in steps()) {
        let budget = charged(shape, &steps);
        let mut looked = budget;
        for look in &looks {
            looked = later(&looked, looked.now + Span(look.after));
        }
        let once = later(&budget, looked.now);

        prop_assert_eq!(looked.spent(), once.spent());
        prop_assert_eq!(looked.wait_for(Amount(1)), once.wait_for(Amount(1)));
        prop_assert_eq!(looked.idle_at(), once.idle_at());
    }

    #[test]
    fn a_bucket_admits_at_most_its_burst_and_refill_over_any_time(shape in shape(), steps in steps()) {
        let shape = Shape { algorithm: Algorithm::TokenBucket, ..shape };
        let admitted = admitted(shape, &steps);

        for (index, (start, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (end, amount) in &admitted[index..] {
                sum += u128::from(amount.0) * u128::from(shape.window.0);
                prop_assert!(sum <= bucket_bound(&shape, end.since(*start)));
            }
        }
    }

    #[test]
    fn a_bucket_that_is_asked_all_the_time_gives_its_full_rate(
        max in 1_u64..500, burst in 2_u64..700, window in 1_u64..5_000, time in 0_u64..3_000,
    ) {
        let shape = Shape {
            algorithm: Algorithm::TokenBucket, max: Amount(max), burst: Amount(burst), window: Span(window),
        };
        // At most one a nanosecond, into a bucket of two or more that was emptied below one, so
        // that nothing overflows.
        prop_assume!(max <= window);
        let mut budget = Budget::open(shape, None, second(0));
        let mut sum = 0;
        for nanos in 0..=time {
            budget = later(&budget, second(0) + Span(nanos));
            while budget.reserve(Amount(1)).is_ok() {
                sum += 1;
            }
        }

        prop_assert_eq!(sum, bucket_bound(&shape, Span(time)) / u128::from(window));
    }

    #[test]
    fn a_fixed_window_admits_at_most_its_maximum(shape in shape(), steps in steps()) {
        let shape = Shape { algorithm: Algorithm::FixedWindow, ..shape };
        let admitted = admitted(shape, &steps);

        for (at, _) in &admitted {
            let same = admitted.iter().filter(|(other, _)| window_of(&shape, *other) == window_of(&shape, *at));
            prop_assert!(same.map(|(_, amount)| *amount).sum::<Amount>() <= shape.max);
        }
    }

    #[test]
    fn a_sliding_window_admits_only_while_its_estimate_is_within_the_maximum(
        shape in shape(), steps in steps(),
    ) {
        let shape = Shape { algorithm: Algorithm::SlidingWindow, ..shape };
        let length = u128::from(shape.window.0);
        let admitted = admitted(shape, &steps);

        for (index, (at, _)) in admitted.iter().enumerate() {
            let window = window_of(&shape, *at);
            let sum = |wanted| -> u128 {
                let so_far = admitted[..=index].iter().filter(|(other, _)| window_of(&shape, *other) == wanted);
                so_far.map(|(_, amount)| u128::from(amount.0)).sum()
            };
            let reach = length - u128::from(at.0) % length;
            prop_assert!(sum(window - 1) * reach + sum(window) * length <= u128::from(shape.max.0) * length);
        }
    }

    #[test]
    fn a_reservation_settled_is_as_if_only_the_usage_had_been_charged(
        shape in shape(), before in steps(), held in 1_u64..400, unused in 0_u64..400, after in 0_u64..8_000,
        meanwhile in 0_u64..300,
    ) {
        let unused = unused.min(held);
        let start = charged(shape, &before);
        let reserved_at = start.counted_at();
        let (mut held_first, mut charged_only) = (start, start);
        held_first.charge(Amount(held));
        charged_only.charge(Amount(held - unused));

        let now = start.now + Span(after);
        let mut settled = later(&held_first, now);
        let mut expected = later(&charged_only, now);
        if shape.algorithm != Algorithm::TokenBucket {
            settled.charge(Amount(meanwhile));
            expected.charge(Amount(meanwhile));
        }
        settled.refund(Amount(unused), reserved_at);

        // Two windows later, a debt may be left that the refund came too late for.
        let windows = window_of(&shape, now) - window_of(&shape, reserved_at);
        if shape.algorithm != Algorithm::TokenBucket && windows > 1 {
            prop_assert!(settled.spent() >= expected.spent());
            return Ok(());
        }
        for later_on in [0, 1, 77, 1_000, 10_000] {
            let (settled, expected) = (later(&settled, now + Span(later_on)), later(&expected, now + Span(later_on)));
            prop_assert_eq!(settled.spent(), expected.spent());
            prop_assert_eq!(settled.idle_at(), expected.idle_at());
        }
    }

    /// Reservations settled at any time, in any order, each to any part of its amount.
    #[test]
    fn what_is_used_keeps_within_the_limit_however_reservations_are_settled(
        shape in shape(), steps in prop::collection::vec((0_u64..800, 1_u64..300, 0_u64..300, any::<u8>()), 1..60),
    ) {
        prop_assume!(shape.algorithm != Algorithm::SlidingWindow);
        let start = second(0);
        let mut budget = Budget::open(shape, None, start);
        // Moment, counted amount (held until settled, then used).
        let mut calls = Vec::<(Timestamp, Amount, bool)>::new();

        for (after, amount, unused, pick) in steps {
            budget = later(&budget, budget.now + Span(after));
            if budget.reserve(Amount(amount)).is_ok() {
                calls.push((budget.counted_at(), Amount(amount), false));
            }
            if let Some((at, counts, settled @ false)) = calls.get_mut(usize::from(pick) % 8) {
                let unused = Amount(unused).min(*counts);
                budget.refund(unused, *at);
                (*counts, *settled) = (*counts - unused, true);
            }
            if shape.algorithm == Algorithm::TokenBucket {
                let used: u128 = calls.iter().map(|(_, counts, _)| u128::from(counts.0)).sum();
                prop_assert!(used * u128::from(shape.window.0) <= bucket_bound(&shape, budget.now.since(start)));
            }
        }
        if shape.algorithm == Algorithm::FixedWindow {
            for (at, ..) in &calls {
                let same = calls.iter().filter(|(other, ..)| window_of(&shape, *other) == window_of(&shape, *at));
                prop_assert!(same.map(|(_, counts, _)| *counts).sum::<Amount>() <= shape.max);
            }
        }
    }

    #[test]
    fn no_numbers_and_no_bytes_make_it_panic(
        algorithm in algorithm(),
        numbers in prop::array::uniform7(prop_oneof![
            Just(0), Just(1), Just(u64::MAX - 1), Just(u64::MAX), Just(Span::from_secs(365 * 86_400).0), any::<u64>(),
        ]),
        mut stored in prop::array::uniform(any::<u8>()),
        kind in 0_u8..4,
    ) {
        let [max, burst, window, now, amount, reserved_at, then] = numbers;
        let shape = Shape { algorithm, max: Amount(max), burst: Amount(burst), window: Span(window) };
        stored[..8].copy_from_slice(&u64::from(kind).to_le_bytes());

        for stored in [None, Some(&stored)] {
            let mut budget = Budget::open(shape, stored, Timestamp(now));
            for now in [now, then, now, u64::MAX, 0] {
                budget = later(&budget, Timestamp(now));
                let fits = budget.wait_for(Amount(amount)) == Wait::For(Span::ZERO);
                prop_assert_eq!(budget.reserve(Amount(amount)).is_ok(), fits);
                budget.charge(Amount(amount));
                budget.refund(Amount(amount), Timestamp(reserved_at));
                prop_assert!(budget.available() <= shape.capacity());
                prop_assert!(budget.idle_at() >= budget.now);
                let _ = (budget.reset_in(), budget.entry());
            }
        }
    }
}
