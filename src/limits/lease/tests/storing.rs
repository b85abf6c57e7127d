//! What is kept in the table, and what if it is not.

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
    process.at(0, |ledger| {
        for user in 0..WAYS {
            account(&tokens(), &format!("before {user}")).granted(Amount(9), NOTHING, ledger);
        }
        let before = (process.lines.bytes(), process.lines.writes());
        let _ = ledger.take_tally();

        assert_eq!(ada.learn(Amount(1), told(50_000, 40_000), &POLICY, ledger), None);
        ada.granted(Amount(1_000), told(50_000, 40_000), ledger);
        ada.refused(Amount(1), NOTHING, ledger);
        ada.not_granted(ledger);
        assert_eq!(ada.correct(Amount(1), Amount::ZERO, START, ledger), Amount::ZERO);

        for account in [&ada, &bob] {
            assert_eq!(take(account, 1, ledger), (Got::Short, None));
            assert!(account.standing(ledger).is_none());
        }
        assert_eq!((process.lines.bytes(), process.lines.writes()), before);
        assert_eq!(ledger.take_tally(), Tally::default());
    });
}

#[test]
fn a_lease_that_takes_the_place_of_a_hardly_used_entry_is_kept() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    process.at(0, |ledger| {
        for user in 0..WAYS {
            let key = account(&tokens(), &format!("before {user}")).key;
            let entry = Entry { payload: payload_of([]), idle_at: START + WINDOW, fill: 0 };
            ledger.table.update(&key, ledger.now, |_| ((), Change::Put(entry))).unwrap();
        }
        let _ = ledger.take_tally();

        assert_eq!(ada.learn(Amount(1), told(50_000, 40_000), &POLICY, ledger), Some(Amount(1_000)));

        assert!(ada.standing(ledger).is_some());
        assert_eq!(ledger.take_tally(), Tally { evictions: 1, ..Tally::default() });
    });
}

#[test]
fn a_lease_is_not_evicted_before_its_window_ends() {
    let process = Process { sets: 1, ..Process::new() };
    let ada = account(&tokens(), "ada");
    let flood = |ledger: &Ledger<'_>| {
        for user in 0..50 {
            account(&tokens(), &format!("flood {user}")).granted(Amount(9), NOTHING, ledger);
        }
    };
    process.at(0, |ledger| {
        ada.granted(Amount(1_000), told(50_000, 40_000), ledger);
        flood(ledger);
        assert_eq!(left(&ada, ledger), 1_000);
    });
    process.at(40_000, |ledger| {
        flood(ledger);
        assert!(ledger.table.peek(&ada.key, ledger.now, |stored| stored.is_none()).unwrap());
    });
}

#[test]
fn a_store_that_fails_holds_nothing_and_gives_nothing_out() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        let (less, more) = (ticket(&account, 100, ledger), ticket(&account, 100, ledger));
        process.lines.fail(true);

        assert_eq!(take(&account, 1, ledger), (Got::Short, None));
        assert_eq!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, ledger), None);
        account.granted(Amount(1), NOTHING, ledger);
        account.refused(Amount(1), NOTHING, ledger);
        assert!(account.standing(ledger).is_none());
        assert_eq!(less.correct_to(Amount(50), ledger), Amount::ZERO);
        assert_eq!(more.correct_to(Amount(150), ledger), Amount(50));

        process.lines.fail(false);
        assert_eq!(left(&account, ledger), 800);
    });
}

#[test]
fn when_others_always_come_first_nothing_is_taken() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        process.lines.lose_next(MAX_TRIES);

        assert_eq!(take(&account, 600, ledger), (Got::Short, None));

        assert_eq!(ledger.take_tally().retries, u64::from(MAX_TRIES));
        assert_eq!(left(&account, ledger), 1_000);
        assert_eq!(take(&account, 600, ledger), (Got::Taken, Some(Amount(600))));
    });
}

#[test]
fn taking_nothing_from_what_is_known_writes_nothing() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let writes = process.lines.writes();
    process.at(1_000, |ledger| {
        assert_eq!(take(&account, 0, ledger).0, Got::Taken);
        assert_eq!(take(&account, 5_000, ledger).0, Got::Short);
        account.not_granted(ledger);
    });

    assert_eq!(process.lines.writes(), writes);
}
