//! The table's contract with its closure and its lines.

use std::cell::Cell;

use super::*;
use crate::store::{KeyHasher, MemoryLines, PAYLOAD_BYTES};

pub(super) const NOW: Timestamp = Timestamp(1_000);

pub(super) fn key(name: &str) -> Key {
    KeyHasher::new(&[1; 16]).key("tpm", [("user", name.as_bytes())])
}

/// Reads a payload as a number, for closures that count.
pub(super) fn number(payload: Option<&Payload>) -> u64 {
    payload.map_or(0, |payload| u64::from_le_bytes(*payload.first_chunk().unwrap()))
}

pub(super) fn entry(number: u64, fill: u8) -> Entry {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    Entry { payload, idle_at: Timestamp(u64::MAX), fill }
}

pub(super) fn add_one(payload: Option<&Payload>) -> (u64, Change) {
    let next = number(payload) + 1;
    (next, Change::Put(entry(next, 0)))
}

pub(super) fn value(table: &Table<&MemoryLines>, key: &Key) -> u64 {
    table.peek(key, NOW, number).unwrap()
}

#[test]
fn an_update_starts_from_what_the_last_one_stored() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 16);

    for count in 1..=3 {
        let updated = table.update(&key("ada"), NOW, add_one).unwrap();
        assert_eq!(updated, Updated { value: count, place: Place::Own, retries: 0, evicted: 0, lost: false });
    }
}

#[test]
fn callers_do_not_see_each_other() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    table.update(&key("ada"), NOW, add_one).unwrap();

    assert_eq!(value(&table, &key("bob")), 0);
}

#[test]
fn a_closure_that_changes_nothing_writes_nothing() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 16);

    table.update(&key("ada"), NOW, |_| ((), Change::Keep)).unwrap();
    table.peek(&key("ada"), NOW, |_| ()).unwrap();

    assert_eq!((lines.writes(), lines.count()), (0, 0));
}

#[test]
fn a_lost_write_is_computed_again_from_what_won() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 16);
    let raced = Cell::new(false);

    let updated = table
        .update(&key("ada"), NOW, |payload| {
            if !raced.replace(true) {
                table.update(&key("ada"), NOW, |_| ((), Change::Put(entry(40, 0)))).unwrap();
            }
            add_one(payload)
        })
        .unwrap();

    assert_eq!((updated.value, updated.retries), (41, 1));
    assert_eq!(value(&table, &key("ada")), 41);
}

#[test]
fn an_update_that_always_loses_ends_in_a_failure() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 16);

    lines.lose_next(MAX_TRIES - 1);
    assert_eq!(table.update(&key("ada"), NOW, add_one).unwrap().retries, MAX_TRIES - 1);

    lines.lose_next(MAX_TRIES);
    let failure = table.update(&key("ada"), NOW, add_one).unwrap_err();
    assert_eq!(failure, Failure::Contended { tries: MAX_TRIES });
    assert_eq!(value(&table, &key("ada")), 1);
}

#[test]
fn a_host_that_fails_is_not_asked_again() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 16);
    lines.fail(true);

    assert_eq!(table.update(&key("ada"), NOW, add_one).unwrap_err(), Failure::Unavailable);
    assert_eq!(table.peek(&key("ada"), NOW, |_| ()).unwrap_err(), Failure::Unavailable);
}

#[test]
fn foreign_bytes_are_replaced_not_feared() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    lines.overwrite(0, b"{\"another\": \"plugin\"}");

    assert_eq!(table.update(&key("ada"), NOW, add_one).unwrap().value, 1);
    assert_eq!(table.update(&key("ada"), NOW, add_one).unwrap().value, 2);
}

#[test]
fn a_settlement_goes_where_the_call_was_counted() {
    let lines = MemoryLines::new();
    let table = Table::new(&lines, 1);
    table.update(&key("ada"), NOW, add_one).unwrap();

    let settled = table.settle(&key("ada"), Place::Own, NOW, add_one).unwrap();
    assert_eq!((settled.value, settled.place), (2, Place::Own));
    let elsewhere = table.settle(&key("ada"), Place::Shared, NOW, add_one).unwrap();
    assert_eq!((elsewhere.value, elsewhere.place), (1, Place::Shared));

    assert_eq!(value(&table, &key("ada")), 2);
}

#[test]
fn the_number_of_sets_is_rounded_to_a_power_of_two() {
    let lines = MemoryLines::new();

    assert_eq!(Table::new(&lines, 0).sets(), 1);
    assert_eq!(Table::new(&lines, 1_000).sets(), 1_024);
    assert_eq!(Table::new(&lines, u32::MAX).sets(), 1 << 31);
}

#[test]
fn threads_lose_no_update_not_even_the_first() {
    const EACH: u64 = 500;
    let lines = MemoryLines::new();
    let start = std::sync::Barrier::new(4);

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let table = Table::new(&lines, 1);
                start.wait();
                for _ in 0..EACH {
                    // Threads in a tight loop may well lose 64 times in a row; a call would then be
                    // refused.
                    while table.update(&key("ada"), NOW, add_one).is_err() {}
                }
            });
        }
    });

    assert_eq!(value(&Table::new(&lines, 1), &key("ada")), 4 * EACH);
}
