//! Workers that share budgets in memory, and renew their slots under a controlled clock.

use std::rc::Rc;

use super::*;
use crate::api::Usage;
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::reserve::slot_list::FEW;
use crate::limits::{
    Granted, Limit, Price, Rates, Refusal, Reservation, Shape, Subject, Used, Wait, Weights, acquire_slots,
};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::Timestamp;
use core::cell::RefCell;

/// The start of a full term.
const START: Timestamp = Timestamp(1_800_000_000 * 1_000_000_000);

struct World {
    lines: MemoryLines,
    keys: KeyHasher,
    caller: Caller,
}

/// One worker's VM.
#[derive(Default)]
struct Worker(RefCell<Slots>);

impl World {
    fn new() -> Self {
        let caller = Caller::new(vec![("user".into(), b"ada".to_vec())]);
        Self { lines: MemoryLines::default(), keys: KeyHasher::new(&[3; 16]), caller }
    }

    fn at<T>(&self, worker: &Worker, seconds: u64, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, 64);
        let budgets = Budgets::new(&table, &self.keys, START + Span::from_secs(seconds));
        run(&budgets.with_slots(&worker.0))
    }

    fn begin(&self, worker: &Worker, seconds: u64, limit: &Rc<Limit>) -> Result<Granted, Refusal> {
        let subject = Subject { caller: &self.caller, model: "", api: "openai_chat", body: b"" };
        self.at(worker, seconds, |budgets| acquire_slots(std::slice::from_ref(limit), &subject, budgets))
    }

    fn begin_many(&self, worker: &Worker, seconds: u64, limit: &Rc<Limit>, count: u64) -> Vec<Reservation> {
        (0..count).map(|_| self.begin(worker, seconds, limit).unwrap().reservation).collect()
    }

    fn count(&self, seconds: u64, limit: &Rc<Limit>) -> u64 {
        let subject = Subject { caller: &self.caller, model: "", api: "openai_chat", body: b"" };
        self.at(&Worker::default(), seconds, |budgets| {
            let key = limit.key(budgets.keys, &subject);
            budgets.look(limit.shape, &key, |budget| budget.spent().0).unwrap()
        })
    }

    /// Renews a whole round; returns the number of ticks it takes.
    fn renew(&self, worker: &Worker, seconds: u64) -> u32 {
        self.at(worker, seconds, |budgets| {
            let mut slots = worker.0.borrow_mut();
            (1..).find(|_| slots.renew(budgets)).unwrap()
        })
    }
}

fn at_most(max: u64) -> Rc<Limit> {
    let limit = Limit::example("slot", "concurrent_requests", max);
    Rc::new(Limit { shape: Shape::in_flight(Amount(max)), ..limit })
}

#[test]
fn places_are_given_back_however_a_reservation_ends() {
    let (world, worker, two) = (World::new(), Worker::default(), at_most(2));
    for end in [
        (|reservation, budgets| Reservation::release(reservation, budgets)) as fn(Reservation, &Budgets<'_>),
        |reservation, budgets| reservation.keep(budgets),
        |reservation, budgets| {
            let rates =
                Rates { weights: Weights::default(), multiplier: Ratio::ONE, price: Price::default() };
            reservation.settle(
                &Used {
                    usage: &Usage::default(),
                    rates: &rates,
                    tools: &crate::api::answer::ToolsCalled::default(),
                },
                budgets,
            );
        },
    ] {
        let mut held = world.begin_many(&worker, 0, &two, 2);
        let refusal = world.begin(&worker, 0, &two).unwrap_err();
        assert_eq!((refusal.needed, refusal.wait), (Amount(1), Wait::For(Span::from_secs(1))));

        world.at(&worker, 40, |budgets| end(held.remove(0), budgets));

        assert_eq!(world.count(0, &two), 1);
        world.at(&worker, 0, |budgets| held.remove(0).release(budgets));
    }
}

#[test]
fn a_call_whose_worker_speaks_for_it_in_time_counts_for_as_long_as_it_lasts() {
    let (world, worker, one) = (World::new(), Worker::default(), at_most(1));
    let held = world.begin(&worker, 0, &one).unwrap().reservation;
    // On schedule, then as seldom as allowed.
    for seconds in (0..3_600).step_by(10).chain((3_600..7_200).step_by(29)) {
        assert_eq!(world.count(seconds, &one), 1, "after {seconds} s");
        assert!(world.begin(&Worker::default(), seconds, &one).is_err());
        world.renew(&worker, seconds);
    }
    world.at(&worker, 7_200, |budgets| held.release(budgets));
    assert_eq!(world.count(7_200, &one), 0);
}

#[test]
fn calls_of_a_dead_worker_are_forgotten_between_one_and_two_terms_later() {
    for begun in [0, 1, 15, 29] {
        let (world, dead, one) = (World::new(), Worker::default(), at_most(1));
        let _never_settled = world.begin(&dead, begun, &one).unwrap();
        assert_eq!(world.count(59, &one), 1, "begun after {begun} s");
        assert!(world.begin(&Worker::default(), 59, &one).is_err());

        assert!(world.begin(&Worker::default(), 60, &one).is_ok(), "begun after {begun} s");
    }
}

#[test]
fn what_one_worker_forgets_by_dying_another_keeps() {
    let (world, alive, dead, three) = (World::new(), Worker::default(), Worker::default(), at_most(3));
    let held = world.begin_many(&alive, 0, &three, 1);
    let _never_settled = world.begin_many(&dead, 0, &three, 2);
    for seconds in [10, 20, 30, 40, 50] {
        world.renew(&alive, seconds);
        assert_eq!(world.count(seconds, &three), 3);
    }
    world.renew(&alive, 60);

    assert_eq!(world.count(60, &three), 1);

    drop(held);
}

#[test]
fn many_calls_are_spoken_for_a_few_at_a_time_and_none_is_left_out() {
    let (world, worker, many) = (World::new(), Worker::default(), at_most(1_000));
    let held = world.begin_many(&worker, 0, &many, 600);

    assert_eq!(world.renew(&worker, 29), 3);
    // The others would be forgotten by now, because they are of the term before the last.
    assert_eq!(world.renew(&worker, 31), 3);

    assert_eq!(world.count(89, &many), 600);
    assert_eq!(world.count(90, &many), 0);
    drop(held);
}

#[test]
fn calls_that_have_ended_take_no_room() {
    let (world, worker, few) = (World::new(), Worker::default(), at_most(5));
    for seconds in 0..2_000 {
        let held = world.begin_many(&worker, seconds, &few, 5);
        held.into_iter().for_each(|held| world.at(&worker, seconds, |budgets| held.release(budgets)));
    }
    assert!(worker.0.borrow().all.len() <= FEW, "{}", worker.0.borrow().all.len());
    world.renew(&worker, 2_000);
    assert!(worker.0.borrow().is_empty());
}

#[test]
fn a_place_that_cannot_be_given_back_is_forgotten_by_itself() {
    let (world, worker, one) = (World::new(), Worker::default(), at_most(1));
    let held = world.begin(&worker, 0, &one).unwrap().reservation;
    world.lines.fail(true);
    let failed = world.at(&worker, 5, |budgets| {
        held.release(budgets);
        budgets.take_tally().failed_settlements
    });
    world.lines.fail(false);

    assert_eq!((failed, world.count(5, &one)), (1, 1));
    world.renew(&worker, 10);
    assert_eq!(world.count(60, &one), 0);
}

#[test]
fn a_call_that_cannot_be_spoken_for_now_is_spoken_for_the_next_time() {
    let (world, worker, one) = (World::new(), Worker::default(), at_most(1));
    let held = world.begin(&worker, 0, &one).unwrap().reservation;
    world.lines.fail(true);
    world.renew(&worker, 30);
    world.renew(&worker, 40);
    world.lines.fail(false);
    world.renew(&worker, 50);

    assert_eq!(world.count(89, &one), 1);
    world.at(&worker, 89, |budgets| held.release(budgets));
    assert_eq!(world.count(89, &one), 0);
}

#[test]
fn a_call_that_was_forgotten_counts_again_when_its_worker_is_back() {
    let (world, worker, one) = (World::new(), Worker::default(), at_most(1));
    let held = world.begin(&worker, 0, &one).unwrap().reservation;
    let other = world.begin(&Worker::default(), 100, &one).unwrap().reservation;
    world.renew(&worker, 101);

    assert_eq!(world.count(101, &one), 2);
    world.at(&worker, 101, |budgets| {
        held.release(budgets);
        other.release(budgets);
    });
    assert_eq!(world.count(101, &one), 0);
}
