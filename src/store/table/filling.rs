//! Tests of the fill level that the table's updates report.

use proptest::prelude::*;

use super::tests::{NOW, add_one, entry, key};
use super::*;
use crate::store::{Lines, MemoryLines, WAYS};

fn taken<L: Lines>(table: &Table<L>) -> Option<u32> {
    table.take_occupancy().map(|occupancy| occupancy.taken)
}

/// Counts the taken places by reading every line.
fn counted(lines: &MemoryLines, table: &Table<&MemoryLines>) -> u32 {
    let own = |line| Set::read(lines.load(line).unwrap().0).places_taken();
    (0..table.sets()).map(own).sum::<i32>().try_into().unwrap()
}

#[test]
fn who_comes_first_is_counted_and_who_is_there_costs_no_write() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 8);

    table.update(&key("ada"), NOW, add_one).unwrap();
    assert_eq!(table.take_occupancy(), Some(Occupancy { taken: 1, places: 256 }));
    assert_eq!(lines.writes(), 2);

    table.update(&key("ada"), NOW, add_one).unwrap();
    table.peek(&key("bob"), NOW, |_| ()).unwrap();
    assert_eq!((taken(&table), lines.writes()), (None, 3));

    table.update(&key("bob"), NOW, add_one).unwrap();
    assert_eq!((taken(&table), taken(&table)), (Some(2), None));
}

#[test]
fn workers_count_together() {
    let lines = MemoryLines::new();
    let (one, other) = (Table::new(&lines, 8), Table::new(&lines, 8));

    one.update(&key("ada"), NOW, add_one).unwrap();
    other.update(&key("bob"), NOW, add_one).unwrap();

    assert_eq!((taken(&one), taken(&other)), (Some(1), Some(2)));
}

#[test]
fn idle_places_are_free_again_once_a_newcomer_clears_them_away() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    for name in 0..WAYS {
        let idle_at = Timestamp(NOW.0 + 5);
        let busy = Entry { idle_at, ..entry(7, 200) };
        table.update(&key(&format!("busy-{name}")), NOW, |_| ((), Change::Put(busy))).unwrap();
    }
    assert_eq!(taken(&table), Some(32));

    table.update(&key("newcomer"), Timestamp(NOW.0 + 5), add_one).unwrap();

    assert_eq!(taken(&table), Some(1));
}

#[test]
fn a_newcomer_without_a_place_takes_none() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    for name in 0..WAYS {
        table.update(&key(&format!("busy-{name}")), NOW, |_| ((), Change::Put(entry(7, 200)))).unwrap();
    }
    assert!(table.take_occupancy().unwrap().is_filling());
    let newcomer = key("newcomer");
    assert_eq!(table.is_shared(&newcomer, NOW), Ok(false), "nothing is there yet");

    table.update(&newcomer, NOW, add_one).unwrap();

    assert_eq!((taken(&table), table.is_shared(&newcomer, NOW)), (None, Ok(true)));
    assert_eq!(table.is_shared(&key("busy-3"), NOW), Ok(false));
}

#[test]
fn the_count_is_no_set_and_no_set_is_the_count_when_the_size_changes() {
    let lines = MemoryLines::new();
    let names: Vec<_> = (0..60).map(|name| key(&name.to_string())).collect();
    for sets in [4, 8, 2] {
        let table = Table::new(&lines, sets);
        for name in &names {
            table.update(name, NOW, |_| ((), Change::Put(entry(7, 200)))).unwrap();
            assert!(table.take_occupancy().is_none_or(|now| now.taken <= now.places));
        }
        assert!(names.iter().all(|name| table.peek(name, NOW, |_| ()).is_ok()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_count_is_that_of_all_lines(
        calls in prop::collection::vec((0_u8..80, 0_u64..40, any::<u8>(), any::<bool>()), 1..300),
    ) {
        let lines = MemoryLines::new();
        let table = Table::new(&lines, 4);
        let mut last = 0;
        for (at, (caller, idle_in, fill, lost)) in calls.into_iter().enumerate() {
            lines.lose_next(u32::from(lost));
            let now = Timestamp(NOW.0 + at as u64);
            let left = Entry { idle_at: Timestamp(now.0 + idle_in), ..entry(1, fill) };
            table.update(&key(&caller.to_string()), now, |_| ((), Change::Put(left))).unwrap();
            last = taken(&table).unwrap_or(last);
            prop_assert_eq!(last, counted(&lines, &table));
        }
    }
}
