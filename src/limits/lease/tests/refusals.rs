//! What is done with refusals of the service.

use super::*;

#[test]
fn a_new_window_forgets_refusals_but_not_who_is_asking() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_500, |ledger| {
        account.refused(Amount(2_000), NOTHING, ledger);
        assert!(take(&account, 600, ledger).1.is_some());
        assert_eq!(account.learn(told(99_000, 59_900), &POLICY, ledger), None);
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, None));
    });
}

#[test]
fn what_was_refused_is_refused_at_once_until_the_window_ends() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), told(4_000, 39_000), ledger);

        assert_eq!(take(&account, 5_000, ledger), (Got::Spent(Span::from_secs(39)), None));
        assert_eq!(take(&account, 6_000, ledger).0, Got::Spent(Span::from_secs(39)));
        assert_eq!(take(&account, 4_999, ledger).0, Got::Short);
    });
}

#[test]
fn a_refusal_says_where_the_budget_stands() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), told(4_000, 39_000), ledger);

        let (taken, _) = account.take(Amount(5_000), &POLICY, ledger);

        let Taken::Spent(_, Some(standing)) = taken else { panic!("{taken:?}") };
        assert_eq!(standing.available, Amount(5_000));
    });
}

#[test]
fn after_a_refusal_less_than_that_remains() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(5_000), NOTHING, ledger);

        assert_eq!(account.standing(ledger).unwrap().available, Amount(4_999 + 1_000));
    });
}

#[test]
fn what_is_leased_can_be_taken_whatever_was_refused() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.refused(Amount(10), told(5, 39_000), ledger);

        assert_eq!(take(&account, 1_000, ledger).0, Got::Taken);
        assert_eq!(take(&account, 10, ledger).0, Got::Spent(Span::from_secs(39)));
    });
}

#[test]
fn a_refusal_is_believed_for_ten_seconds() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| account.refused(Amount(5_000), NOTHING, ledger));

    process
        .at(10_990, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Spent(Span(29_010_000_000))));
    process.at(11_010, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Short));
}

#[test]
fn a_refusal_is_not_believed_beyond_its_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_000, |ledger| account.refused(Amount(5_000), NOTHING, ledger));

    process.at(40_000, |ledger| assert_eq!(take(&account, 5_000, ledger).0, Got::Short));
}

#[test]
fn the_smallest_amount_refused_counts() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        for amount in [5_000, 3_000, 4_000] {
            account.refused(Amount(amount), NOTHING, ledger);
        }
        assert!(matches!(take(&account, 3_000, ledger).0, Got::Spent(_)));
    });
    // Its ten seconds are not prolonged by what was refused beside it.
    process.at(9_000, |ledger| account.refused(Amount(4_000), NOTHING, ledger));
    process.at(12_000, |ledger| assert_eq!(take(&account, 3_000, ledger).0, Got::Short));
}

#[test]
fn a_first_call_that_is_refused_is_remembered_for_a_window() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |ledger| {
        account.refused(Amount(500), NOTHING, ledger);

        assert_eq!(take(&account, 500, ledger), (Got::Spent(WINDOW), None));
    });
}

#[test]
fn a_lease_as_large_as_what_was_refused_is_not_asked_for() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 900, ledger).1, Some(Amount(1_000)));
        account.refused(Amount(1_000), NOTHING, ledger);
        account.not_granted(ledger);

        assert_eq!(take(&account, 1, ledger), (Got::Taken, None));
    });
}
