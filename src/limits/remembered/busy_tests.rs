//! The records of upstreams: how long they last, and their bounds.

use super::*;
use crate::store::{Change, Entry, KeyHasher, Lines, MemoryLines, Payload, Table};
use proptest::prelude::*;

const MINUTE: Span = Span::from_secs(60);

/// One place in a table of this many sets, under a controlled clock.
struct Bench {
    lines: MemoryLines,
    sets: u32,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { lines: MemoryLines::default(), sets: 64, now: Timestamp(1) + Span::from_secs(1_800_000_000) }
    }

    fn run<T>(&self, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, self.sets);
        run(&Budgets::new(&table, &KeyHasher::new(&[3; 16]), self.now))
    }

    fn tell(&self, upstream: &str, pause: Pause) -> Option<(bool, Span)> {
        self.run(|budgets| {
            let told = Busy::of(upstream.as_bytes(), "m", budgets).tell(pause, MINUTE, budgets);
            told.map(|(is_news, until)| (is_news, until.since(self.now)))
        })
    }

    fn look(&self, upstream: &str) -> Busyness {
        self.run(|budgets| Busy::of(upstream.as_bytes(), "m", budgets).look(MINUTE, budgets))
    }

    /// Returns the rest of the pause of the upstream `a`.
    fn pause(&self) -> Span {
        match self.look("a") {
            Busyness::Until(until) => until.since(self.now),
            Busyness::Free | Busyness::Recovering => Span::ZERO,
        }
    }

    fn recover(&self) {
        self.run(|budgets| Busy::of(b"a", "m", budgets).recover(MINUTE, budgets));
    }

    fn after(&mut self, span: Span) {
        self.now = self.now + span;
    }
}

fn secs(seconds: u64) -> Span {
    Span::from_secs(seconds)
}

#[test]
fn an_upstream_is_busy_until_the_time_it_said_and_recovering_after_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.look("a"), Busyness::Free);
    assert_eq!(bench.tell("a", Pause::Told(secs(5))), Some((true, secs(5))));
    bench.after(Span(secs(5).0 - 1));
    assert_eq!(bench.pause(), Span(1));
    bench.after(Span(1));
    assert_eq!(bench.look("a"), Busyness::Recovering);
    bench.recover();
    assert_eq!(bench.look("a"), Busyness::Free);
}

#[test]
fn refusals_of_calls_under_way_can_only_extend_a_pause() {
    let bench = Bench::new();
    bench.tell("a", Pause::Told(secs(5)));
    assert_eq!(bench.tell("a", Pause::Told(secs(2))), Some((false, secs(5))));
    assert_eq!(bench.tell("a", Pause::Untold), Some((false, secs(5))));
    assert_eq!(bench.tell("a", Pause::Told(secs(9))), Some((false, secs(9))));
    bench.recover();
    assert_eq!(bench.pause(), secs(9), "nor does an answer end it");
}

#[test]
fn pauses_double_up_to_the_longest_one_and_absurd_ones_are_cut() {
    let mut bench = Bench::new();
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        assert_eq!(bench.tell("a", Pause::Untold), Some((true, secs(seconds))));
        bench.after(secs(seconds));
    }
    assert_eq!(bench.tell("a", Pause::Told(Span::MAX)), Some((true, MINUTE)));
}

#[test]
fn a_row_of_refusals_is_forgotten_after_a_while() {
    let mut bench = Bench::new();
    bench.tell("a", Pause::Untold);
    bench.after(secs(1 + 60));
    assert_eq!(bench.look("a"), Busyness::Free);
    assert_eq!(bench.tell("a", Pause::Untold), Some((true, secs(1))));
}

#[test]
fn a_clock_that_is_set_back_frees_it() {
    let mut bench = Bench::new();
    bench.tell("a", Pause::Told(secs(5)));
    bench.now = Timestamp(bench.now.0 - secs(3_600).0);
    assert_eq!(bench.look("a"), Busyness::Free);
    assert_eq!(bench.tell("a", Pause::Untold), Some((true, secs(1))));
}

#[test]
fn doubling_never_ends_in_a_panic_or_in_nothing() {
    for row in [0, 9, 10, 31, 32, 63, 64, 1 << 32, u64::MAX] {
        assert!(doubled(row) >= FIRST, "{row}");
    }
}

/// Countless names find no room in one line of eight, where an entry written twice stays: most
/// share a place, and none is taken for another.
#[test]
fn upstreams_that_share_a_place_are_told_apart() {
    let bench = Bench { sets: 1, ..Bench::new() };
    for number in 0..100 {
        let name = format!("upstream-{number}");
        for _ in 0..2 {
            bench.tell(&name, Pause::Told(secs(5)));
        }
        assert_ne!(bench.look(&name), Busyness::Free);
        assert_eq!(bench.look("a"), Busyness::Free);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever upstreams send, in any order, with answers at any time between.
    #[test]
    fn no_pause_is_longer_than_the_longest_and_none_ends_before_what_was_told(
        events in prop::collection::vec((0_u64..90, prop::option::of(0_u64..200), any::<bool>()), 1..40),
    ) {
        let mut bench = Bench::new();
        let mut told_until = Timestamp::default();
        for (after, pause, recovers) in events {
            bench.after(secs(after));
            if recovers {
                bench.recover();
            } else {
                let pause = pause.map_or(Pause::Untold, |pause| Pause::Told(secs(pause)));
                let told = if let Pause::Told(span) = pause { span.min(MINUTE) } else { Span::ZERO };
                told_until = told_until.max(bench.now + told);
                bench.tell("a", pause);
            }
            prop_assert!(bench.pause() <= MINUTE);
            prop_assert!(bench.now + bench.pause() >= told_until);
        }
    }

    #[test]
    fn nothing_stored_makes_it_panic(bytes in prop::array::uniform(any::<u8>()), is_one: bool, now: u64) {
        let bench = Bench { now: Timestamp(now), ..Bench::new() };
        let mut payload: Payload = bytes;
        bench.run(|budgets| {
            let busy = Busy::of(b"a", "m", budgets);
            if is_one {
                payload[..8].copy_from_slice(&LastPause::KIND.to_le_bytes());
            }
            let entry = Entry { payload, idle_at: Timestamp(u64::MAX), fill: 0 };
            budgets.table.update(&busy.key, budgets.now, |_| ((), Change::Put(entry))).unwrap();
            let _ = busy.look(MINUTE, budgets);
            busy.recover(MINUTE, budgets);
            let until = busy.tell(Pause::Untold, MINUTE, budgets).unwrap().1;
            assert!(until.since(budgets.now) <= MINUTE);
        });
    }
}
