//! Tests of how the table stores leases, and of failures to store them.

use super::*;
use crate::store::{Entry, MAX_TRIES, WAYS, payload_of};

#[test]
fn a_lease_is_never_found_by_the_key_of_a_budget() {
    let limit = tokens();
    let caller = Caller::new(vec![("user".into(), b"ada".to_vec())]);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    let process = Process::new();

    assert_ne!(account(&limit, "ada").key, limit.key(&process.keys, &subject));
}

#[test]
fn where_the_table_has_no_room_nothing_is_kept_and_nobody_shares() {
    let process = Process { sets: 1, ..Process::new() };
    let (ada, bob) = (account(&tokens(), "ada"), account(&tokens(), "bob"));
    process.at(0, |budgets| {
        for user in 0..WAYS {
            account(&tokens(), &format!("before {user}")).granted(Amount(9), NOTHING, budgets);
        }
        let before = (process.lines.bytes(), process.lines.writes());
        let _ = budgets.take_tally();

        assert_eq!(ada.learn(Amount(1), told(50_000, 40_000), &POLICY, budgets), None);
        ada.granted(Amount(1_000), told(50_000, 40_000), budgets);
        ada.refused(Amount(1), NOTHING, budgets);
        ada.not_granted(budgets);
        assert_eq!(ada.correct(Amount(1), Amount::ZERO, START, budgets), Amount::ZERO);

        for account in [&ada, &bob] {
            assert_eq!(take(account, 1, budgets), (Got::Short, None));
            assert!(account.standing(budgets).is_none());
        }
        assert_eq!((process.lines.bytes(), process.lines.writes()), before);
        assert_eq!(budgets.take_tally(), Tally::default());
    });
}

#[test]
fn a_lease_that_takes_the_place_of_a_hardly_used_entry_is_kept() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    process.at(0, |budgets| {
        for user in 0..WAYS {
            let key = account(&tokens(), &format!("before {user}")).key;
            let entry = Entry { payload: payload_of([]), idle_at: START + WINDOW, fill: 0 };
            budgets.table.update(&key, budgets.now, |_| ((), Change::Put(entry))).unwrap();
        }
        let _ = budgets.take_tally();

        assert_eq!(ada.learn(Amount(1), told(50_000, 40_000), &POLICY, budgets), Some(Amount(1_000)));

        assert!(ada.standing(budgets).is_some());
        assert_eq!(budgets.take_tally(), Tally { evictions: 1, ..Tally::default() });
    });
}

#[test]
fn a_lease_is_not_evicted_before_its_window_ends() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    let flood = |budgets: &Budgets<'_>| {
        for user in 0..50 {
            account(&tokens(), &format!("flood {user}")).granted(Amount(9), NOTHING, budgets);
        }
    };
    process.at(0, |budgets| {
        ada.granted(Amount(1_000), told(50_000, 40_000), budgets);
        flood(budgets);
        assert_eq!(left(&ada, budgets), 1_000);
    });
    process.at(40_000, |budgets| {
        flood(budgets);
        assert!(budgets.table.peek(&ada.key, budgets.now, |stored| stored.is_none()).unwrap());
    });
}

#[test]
fn a_store_that_fails_holds_nothing_and_gives_nothing_out() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| {
        let (less, more) = (ticket(&account, 100, budgets), ticket(&account, 100, budgets));
        process.lines.fail(true);

        assert_eq!(take(&account, 1, budgets), (Got::Short, None));
        assert_eq!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, budgets), None);
        account.granted(Amount(1), NOTHING, budgets);
        account.refused(Amount(1), NOTHING, budgets);
        assert!(account.standing(budgets).is_none());
        assert_eq!(less.correct_to(Amount(50), budgets), Amount::ZERO);
        assert_eq!(more.correct_to(Amount(150), budgets), Amount(50));

        process.lines.fail(false);
        assert_eq!(left(&account, budgets), 800);
    });
}

#[test]
fn when_others_always_come_first_nothing_is_taken() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| {
        process.lines.lose_next(MAX_TRIES);

        assert_eq!(take(&account, 600, budgets), (Got::Short, None));

        assert_eq!(budgets.take_tally().retries, u64::from(MAX_TRIES));
        assert_eq!(left(&account, budgets), 1_000);
        assert_eq!(take(&account, 600, budgets), (Got::LeaseOutcome, Some(Amount(600))));
    });
}

#[test]
fn taking_nothing_from_what_is_known_writes_nothing() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let writes = process.lines.writes();
    process.at(1_000, |budgets| {
        assert_eq!(take(&account, 0, budgets).0, Got::LeaseOutcome);
        assert_eq!(take(&account, 5_000, budgets).0, Got::Short);
        account.not_granted(budgets);
    });

    assert_eq!(process.lines.writes(), writes);
}
