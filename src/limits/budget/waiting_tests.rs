//! Properties of amounts that waiting calls reserve in advance.

use proptest::prelude::*;

use super::properties::{Step, bucket_bound, charged, shape, steps};
use super::tests::{later, second};
use super::*;

/// Calls that come one after the other, wait, and go on when they are due.
struct Queue {
    budget: Budget,
    patience: Span,
    /// For each its due time, amount, the rest before it, and its arrival.
    waiting: Vec<(Timestamp, Amount, Amount, Timestamp)>,
    /// The time and amount of each that went on.
    gone_on: Vec<(Timestamp, Amount)>,
}

impl Queue {
    fn new(shape: Shape, patience: u64) -> Self {
        let budget = Budget::open(shape, None, second(0));
        Self { budget, patience: Span(patience), waiting: Vec::new(), gone_on: Vec::new() }
    }

    fn wait(&mut self, span: Span) {
        let until = self.budget.now + span;
        let due: Vec<_> = self.waiting.extract_if(.., |(due, ..)| *due <= until).collect();
        for (due, amount, rest, booked_at) in due {
            self.budget = later(&self.budget, due);
            self.budget.go_on(amount, rest, booked_at);
            self.gone_on.push((due, amount));
        }
        self.budget = later(&self.budget, until);
    }

    fn call(&mut self, amount: Amount) {
        if let Ok(Booked { rest, wait }) = self.budget.reserve_within(amount, self.patience) {
            let due = self.budget.now + wait;
            self.waiting.push((due, amount, rest, self.budget.counted_at()));
            self.wait(Span::ZERO);
        }
    }

    fn run(mut self, steps: &[Step]) -> Self {
        for step in steps.iter().filter(|step| !step.amount.is_zero()) {
            self.wait(Span(step.after));
            self.call(step.amount);
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_waits_is_paid_exactly_when_it_was_told(
        shape in shape(), steps in steps(), amount in 1_u64..700, patience in 0_u64..20_000,
    ) {
        let mut budget = charged(shape, &steps);
        let (before, amount) = (budget, Amount(amount));
        let alone = before.wait_for(amount);

        match budget.reserve_within(amount, Span(patience)) {
            Ok(Booked { rest, wait }) => {
                prop_assert!(wait <= Span(patience));
                prop_assert!(matches!(alone, Wait::For(alone) if alone <= wait));
                if shape.algorithm == Algorithm::TokenBucket {
                    prop_assert_eq!((Wait::For(wait), rest), (alone, Amount(0)));
                }
                prop_assert_eq!(wait.is_zero(), alone == Wait::For(Span::ZERO));
                prop_assert!(later(&budget, budget.now + wait).spent() <= shape.capacity());
                if !wait.is_zero() {
                    let just_before = later(&budget, Timestamp(budget.now.0 + wait.0 - 1));
                    prop_assert!(just_before.spent() > shape.capacity());
                }
                prop_assert_eq!(budget.leave(amount, rest, budget.counted_at()), amount + rest);
                prop_assert_eq!(budget.spent(), before.spent());
            }
            Err(refused) => {
                prop_assert_eq!(budget, before);
                prop_assert_eq!(refused, Refused { asked: amount, available: before.available(), wait: alone });
                prop_assert!(alone != Wait::For(Span::ZERO));
                if shape.algorithm == Algorithm::TokenBucket {
                    prop_assert!(!matches!(alone, Wait::For(alone) if alone <= Span(patience)));
                }
            }
        }
    }

    #[test]
    fn whoever_comes_later_goes_on_later_however_little_it_needs(
        shape in shape(), steps in steps(), patience in 0_u64..20_000,
    ) {
        let queue = Queue::new(shape, patience).run(&steps);
        let due: Vec<_> = queue.gone_on.iter().map(|(at, _)| *at).chain(queue.waiting.iter().map(|(due, ..)| *due)).collect();
        prop_assert!(due.is_sorted(), "{due:?}");
    }

    /// Apart from a fraction of a unit, which a full bucket forgets and one in debt keeps.
    #[test]
    fn a_bucket_lets_go_on_at_most_its_burst_and_refill_over_any_time(
        shape in shape(), steps in steps(), patience in 0_u64..20_000,
    ) {
        let shape = Shape { algorithm: Algorithm::TokenBucket, ..shape };
        let queue = Queue::new(shape, patience).run(&steps);
        for (index, (start, _)) in queue.gone_on.iter().enumerate() {
            let mut sum = 0;
            for (end, amount) in &queue.gone_on[index..] {
                sum += u128::from(amount.0) * u128::from(shape.window.0);
                prop_assert!(sum < bucket_bound(&shape, end.since(*start)) + u128::from(shape.window.0));
            }
        }
    }

    #[test]
    fn had_a_call_come_only_when_it_went_on_its_window_would_have_had_room(
        shape in shape(), steps in steps(), patience in 0_u64..20_000,
    ) {
        prop_assume!(shape.algorithm != Algorithm::TokenBucket);
        let mut queue = Queue::new(shape, patience).run(&steps);
        queue.wait(Span(patience));
        prop_assert!(queue.waiting.is_empty());

        let mut direct = Budget::open(shape, None, second(0));
        for (at, amount) in &queue.gone_on {
            direct = later(&direct, *at);
            prop_assert_eq!(direct.reserve(*amount), Ok(()));
        }
        prop_assert!(queue.budget.spent() >= later(&direct, queue.budget.now).spent());
    }

    #[test]
    fn one_that_leaves_makes_all_others_as_early_as_if_it_had_never_come(
        shape in shape(), steps in steps(), leaver in 0_usize..8, amounts in prop::collection::vec(1_u64..60, 2..8),
    ) {
        let shape = Shape { algorithm: Algorithm::TokenBucket, ..shape };
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
        budget.leave(Amount(amounts[leaver]), Amount(0), budget.counted_at());
        prop_assert_eq!(budget.until_paid(Amount(1), Amount(1)), without.until_paid(Amount(1), Amount(1)));
    }
}

#[test]
fn a_call_that_waits_for_a_window_uses_nothing_of_the_one_before() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let shape = Shape { algorithm, max: Amount(300), burst: Amount(300), window: Span::from_secs(60) };
        let mut budget = Budget::open(shape, None, second(0));
        budget.reserve(Amount(80)).unwrap();
        let booked_at = budget.counted_at();

        let booked = budget.reserve_within(Amount(230), Span::from_secs(120)).unwrap();

        assert_eq!(booked.rest, Amount(220));
        let mut next = later(&budget, second(0) + booked.wait);
        next.go_on(Amount(230), booked.rest, booked_at);
        assert!(next.spent() >= Amount(230), "{algorithm:?}: {}", next.spent());
        // The unused part comes back, even a window later.
        let mut settled = later(&next, second(125));
        let before = settled.spent();
        settled.refund(Amount(200), next.counted_at());
        assert!(settled.spent() <= before);
        next.refund(Amount(200), next.counted_at());
        assert!(next.available() >= Amount(70), "{algorithm:?}: {}", next.available());
    }
}

#[test]
fn the_rest_of_a_window_comes_back_only_while_that_lasts() {
    let shape = Shape {
        algorithm: Algorithm::FixedWindow,
        max: Amount(300),
        burst: Amount(300),
        window: Span::from_secs(60),
    };
    let mut budget = Budget::open(shape, None, second(0));
    budget.reserve(Amount(80)).unwrap();
    let booked_at = budget.counted_at();
    let first = budget.reserve_within(Amount(230), Span::from_secs(120)).unwrap();
    let second_one = budget.reserve_within(Amount(50), Span::from_secs(120)).unwrap();
    assert_eq!((second_one.rest, second_one.wait), (Amount(0), first.wait));

    let mut left_at_once = budget;
    left_at_once.leave(Amount(230), first.rest, booked_at);
    assert_eq!(left_at_once.available(), Amount(170));

    let mut left_late = later(&budget, second(61));
    left_late.leave(Amount(230), first.rest, booked_at);
    assert_eq!(left_late.available(), Amount(250));
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
