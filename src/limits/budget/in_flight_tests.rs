//! Properties of calls in flight under any history.

use proptest::prelude::*;

use super::tests::{later, second};
use super::*;
use crate::limits::RENEW_EVERY;

const MAX: u64 = 3;
const SHAPE: Shape = Shape::in_flight(Amount(MAX));
const TERM: Span = super::TERM;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call of a worker asks for a slot.
    Begin(usize),
    /// One of a worker's calls ends.
    End(usize, usize),
    /// A worker renews the slots of its calls.
    Renew(usize),
    /// A worker's VM traps.
    Trap(usize),
}

const WORKERS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        4 => (0..WORKERS).prop_map(Step::Begin),
        3 => (0..WORKERS, 0_usize..4).prop_map(|(worker, call)| Step::End(worker, call)),
        1 => (0..WORKERS).prop_map(Step::Renew),
        1 => (0..WORKERS).prop_map(Step::Trap),
    ];
    let after = prop_oneof![3 => 0..Span::from_secs(3).0, 1 => 0..Span::from_secs(45).0];
    prop::collection::vec((after, step), 1..80)
}

/// A budget, and its calls: for each worker the last renewal of each.
struct World {
    budget: Budget,
    calls: [Vec<Timestamp>; WORKERS],
    /// The calls of trapped workers.
    dead: Vec<Timestamp>,
    renewed_at: Timestamp,
}

impl World {
    fn new() -> Self {
        let budget = Budget::open(SHAPE, None, second(0));
        Self { budget, calls: Default::default(), dead: Vec::new(), renewed_at: second(0) }
    }

    fn live(&self) -> u64 {
        self.calls.iter().map(|calls| calls.len() as u64).sum()
    }

    fn renew(&mut self, worker: usize) {
        for renewed_at in &mut self.calls[worker] {
            self.budget.renew(Amount(1), *renewed_at);
            *renewed_at = self.budget.counted_at();
        }
    }

    /// Lets time pass; every worker renews its slots on schedule.
    fn wait(&mut self, span: Span) {
        let until = self.budget.now + span;
        while self.renewed_at + RENEW_EVERY <= until {
            self.renewed_at = self.renewed_at + RENEW_EVERY;
            self.budget = later(&self.budget, self.renewed_at);
            (0..WORKERS).for_each(|worker| self.renew(worker));
        }
        self.budget = later(&self.budget, until);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(worker) => {
                if self.budget.reserve(Amount(1)).is_ok() {
                    self.calls[worker].push(self.budget.counted_at());
                }
            }
            Step::End(worker, call) if call < self.calls[worker].len() => {
                let renewed_at = self.calls[worker].swap_remove(call);
                assert_eq!(self.budget.refund(Amount(1), renewed_at), Amount(1));
            }
            Step::End(..) => {}
            Step::Renew(worker) => self.renew(worker),
            Step::Trap(worker) => self.dead.append(&mut self.calls[worker]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn calls_count_while_somebody_speaks_for_them_and_at_most_two_terms_longer(steps in steps()) {
        let mut world = World::new();
        for (after, step) in steps {
            world.wait(Span(after));
            world.take(step);

            let dead_for = |at_least: Span| {
                let now = world.budget.now;
                world.dead.iter().filter(|renewed_at| now.since(**renewed_at) < at_least).count() as u64
            };
            let counted = world.budget.spent().0;
            prop_assert!(world.live() <= MAX);
            prop_assert!(counted <= MAX, "{counted} calls are counted");
            prop_assert!(counted >= world.live() + dead_for(TERM), "calls are forgotten too soon");
            prop_assert!(counted <= world.live() + dead_for(TERM.times(2)), "calls are forgotten too late");
            prop_assert_eq!(world.budget.reserve(Amount(1)).is_ok(), counted < MAX);
            world.budget = later(&world.budget, world.budget.now);
            if counted < MAX {
                let at = world.budget.counted_at();
                world.budget.refund(Amount(1), at);
            }
        }
        world.calls = Default::default();
        world.wait(TERM.times(2));
        prop_assert_eq!(world.budget.spent(), Amount(0));
        prop_assert_eq!(world.budget.idle_at(), world.budget.now);
    }

    /// After the clock is set, calls can count twice or be forgotten for a while, but not for good.
    #[test]
    fn soon_after_a_clock_was_set_calls_are_counted_once_each(
        steps in steps(), jumps in prop::collection::vec((0_usize..80, any::<bool>(), 0..Span::from_secs(7_200).0), 0..6),
    ) {
        let mut world = World::new();
        for (number, (after, step)) in steps.into_iter().enumerate() {
            for (_, back, by) in jumps.iter().filter(|(at, ..)| *at == number) {
                let now = world.budget.now.0;
                let now = Timestamp(if *back { now - by } else { now + by });
                world.budget = later(&world.budget, now);
                world.renewed_at = now;
                (0..WORKERS).for_each(|worker| world.renew(worker));
            }
            world.wait(Span(after));
            match step {
                // It may have been forgotten, or never moved on.
                Step::End(worker, call) if call < world.calls[worker].len() => {
                    let renewed_at = world.calls[worker].swap_remove(call);
                    world.budget.refund(Amount(1), renewed_at);
                }
                Step::End(..) => {}
                step => world.take(step),
            }
        }
        let long = TERM.times(3) + CLOCK_DISORDER;
        world.wait(long);
        prop_assert_eq!(world.budget.spent(), Amount(world.live()));
        world.calls = Default::default();
        world.wait(long);
        prop_assert_eq!(world.budget.available(), Amount(MAX));
    }

    /// The table must find the budget again as long as any calls are counted.
    #[test]
    fn a_budget_with_calls_in_flight_makes_way_for_nobody(calls in 1_u64..4, at in 0_u64..120, later_on in 0_u64..120) {
        let mut budget = Budget::open(SHAPE, None, second(at));
        budget.charge(Amount(calls));
        let seen = later(&budget, second(at + later_on));
        prop_assert_eq!(seen.fill(), if seen.spent().is_zero() { 0 } else { u8::MAX });
        prop_assert_eq!(budget.idle_at() > seen.now, !seen.spent().is_zero());
    }
}

#[test]
fn a_refusal_says_when_to_try_again_since_nobody_knows_when_calls_end() {
    let mut budget = Budget::open(SHAPE, None, second(7));
    budget.charge(Amount(MAX));

    let refused = budget.reserve(Amount(1)).unwrap_err();

    let wait = Wait::For(Span::from_secs(1));
    assert_eq!(refused, Refused { asked: Amount(1), available: Amount(0), wait });
    // The same if the clock was set back a little, because calls end anyway.
    assert_eq!(later(&budget, second(0)).reserve(Amount(1)).unwrap_err().wait, wait);
}

#[test]
fn a_lower_maximum_waits_for_calls_that_are_on_their_way() {
    let mut budget = Budget::open(SHAPE, None, second(0));
    budget.charge(Amount(3));
    let mut lowered = Budget::open(Shape::in_flight(Amount(2)), Some(&budget.encode()), second(1));

    assert_eq!(lowered.available(), Amount(0));
    lowered.refund(Amount(1), second(0));
    assert_eq!(lowered.available(), Amount(0));
    lowered.refund(Amount(1), second(0));
    assert_eq!(lowered.available(), Amount(1));
}
