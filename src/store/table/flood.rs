//! The table's guarantees with more callers than places.

use proptest::prelude::*;

use super::tests::{NOW, add_one, entry, key, number, value};
use super::*;
use crate::store::{KeyHasher, MemoryLines, SHARED_WAYS, WAYS};

/// Returns a table of one set in which budgets in use take every place.
fn full(lines: &MemoryLines) -> Table<&MemoryLines> {
    let table = Table::new(lines, 1);
    for name in 0..WAYS {
        table.update(&key(&format!("busy-{name}")), NOW, |_| ((), Change::Put(entry(7, 200)))).unwrap();
    }
    table
}

#[test]
fn a_budget_touched_twice_survives_a_flood_of_made_up_callers() {
    const SETS: u32 = 16;
    let lines = MemoryLines::new();
    let table = Table::new(&lines, SETS);
    let victims: Vec<_> = (0..16).map(|name| key(&format!("victim-{name}"))).collect();
    for victim in victims.iter().chain(&victims) {
        table.update(victim, NOW, add_one).unwrap();
    }
    let flood = |callers: core::ops::Range<u32>| {
        for caller in callers {
            table.update(&key(&format!("made-up-{caller}")), NOW, add_one).unwrap();
        }
        lines.bytes()
    };

    let early = flood(0..2_000);
    let late = flood(2_000..40_000);

    assert!(victims.iter().all(|victim| value(&table, victim) == 2));
    assert_eq!(early, late);
    // One more line counts the taken places.
    assert_eq!(lines.count(), SETS as usize + 1);
}

#[test]
fn a_budget_a_quarter_full_survives_a_flood_at_its_first_touch() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    table.update(&key("victim"), NOW, |_| ((), Change::Put(entry(5, 64)))).unwrap();

    for caller in 0..1_000 {
        table.update(&key(&format!("made-up-{caller}")), NOW, add_one).unwrap();
    }

    assert_eq!(value(&table, &key("victim")), 5);
}

#[test]
fn even_a_flood_of_busy_callers_evicts_nobody_and_shares_one_budget() {
    let lines = MemoryLines::new();
    let table = full(&lines);

    for caller in 1..=1_000 {
        let updated = table.update(&key(&format!("newcomer-{caller}")), NOW, add_one).unwrap();
        assert_eq!((updated.value, updated.place, updated.evicted), (caller, Place::Shared, 0));
    }

    assert!((0..WAYS).all(|name| value(&table, &key(&format!("busy-{name}"))) == 7));
}

#[test]
fn unlike_limits_do_not_share() {
    let lines = MemoryLines::new();
    let table = full(&lines);
    let requests = KeyHasher::new(&[1; 16]).key("rpm", [("user", b"newcomer".as_slice())]);

    table.update(&key("newcomer"), NOW, add_one).unwrap();

    assert_eq!(table.update(&requests, NOW, add_one).unwrap().value, 1);
    assert_eq!(table.update(&key("another"), NOW, add_one).unwrap().value, 2);
}

#[test]
fn limits_that_overflow_in_the_same_set_all_keep_their_state() {
    let lines = MemoryLines::new();
    let table = full(&lines);
    let limits: Vec<_> =
        (0..SHARED_WAYS).map(|limit| KeyHasher::new(&[1; 16]).key(&format!("limit-{limit}"), [])).collect();

    for round in 1..=3 {
        for limit in &limits {
            let updated = table.update(limit, NOW, add_one).unwrap();
            assert_eq!((updated.value, updated.evicted), (round, 0));
        }
    }
}

#[test]
fn a_newcomer_gets_a_place_of_its_own_once_another_is_idle() {
    let lines = MemoryLines::new();
    let table = full(&lines);
    let idle = Entry { idle_at: Timestamp(NOW.0 + 5), ..entry(7, 200) };
    table.update(&key("busy-3"), NOW, |_| ((), Change::Put(idle))).unwrap();

    let before = table.update(&key("newcomer"), Timestamp(NOW.0 + 4), add_one).unwrap();
    let after = table.update(&key("newcomer"), Timestamp(NOW.0 + 5), add_one).unwrap();

    assert_eq!(before.place, Place::Shared);
    assert_eq!((after.value, after.place, after.evicted), (1, Place::Own, 0));
}

#[test]
fn a_settlement_without_a_place_is_counted_and_touches_no_stranger() {
    let lines = MemoryLines::new();
    let table = full(&lines);
    table.update(&key("stranger"), NOW, add_one).unwrap();
    let before = lines.bytes();

    let settled = table.settle(&key("evicted"), Place::Own, NOW, add_one).unwrap();

    assert_eq!((settled.value, settled.evicted), (1, 1));
    assert_eq!((value(&table, &key("stranger")), lines.bytes()), (1, before));
}

#[test]
fn one_call_and_its_settlement_are_one_touch() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    for caller in 0..2 * WAYS {
        let key = key(&format!("one-off-{caller}"));
        let place = table.update(&key, NOW, add_one).unwrap().place;
        table.settle(&key, place, NOW, add_one).unwrap();
        assert_eq!(place, Place::Own);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compares with an unbounded map: a caller touched twice always finds exactly its own state.
    #[test]
    fn budgets_in_use_are_as_in_an_unbounded_map(
        calls in prop::collection::vec((0_u16..60, any::<bool>()), 1..400),
        sets in 1_u32..8,
    ) {
        let lines = MemoryLines::new();
        let table = Table::new(&lines, sets);
        let mut own = std::collections::BTreeMap::<u16, u64>::new();

        for (caller, lost) in calls {
            lines.lose_next(u32::from(lost));
            let key = key(&caller.to_string());
            let before = table.peek(&key, NOW, number).unwrap();
            let updated = table.update(&key, NOW, add_one).unwrap();
            prop_assert_eq!(updated.value, before + 1);
            prop_assert_eq!(updated.retries, u32::from(lost));
            if updated.place == Place::Own {
                // A caller with only one touch may have been evicted and start anew.
                let known = own.entry(caller).or_default();
                *known = if *known >= 2 { *known + 1 } else { updated.value };
                prop_assert_eq!(updated.value, *known);
            } else {
                prop_assert!(own.get(&caller).is_none_or(|known| *known < 2));
            }
        }
        prop_assert!(lines.count() <= table.sets() as usize + 1);
    }
}
