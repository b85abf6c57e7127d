//! Refusals of the service.

use super::*;

/// Returns a report with only the time until the window ends.
fn ends_in(millis: u64) -> WindowStatus {
    WindowStatus { remaining: None, reset: Some(Span::from_millis(millis)) }
}

#[test]
fn a_new_window_forgets_refusals_but_not_who_is_asking() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_500, |budgets| {
        let _ = account.refused(Amount(20_000), NOTHING, budgets);
        assert!(take(&account, 600, budgets).1.is_some());
        assert_eq!(account.learn(Amount(1), told(99_000, 59_900), &POLICY, budgets), None);
        assert_eq!(take(&account, 20_000, budgets), (Got::Short, None));
    });
}

#[test]
fn what_was_refused_is_refused_at_once_until_the_window_ends() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let _ = account.refused(Amount(5_000), told(4_000, 39_000), budgets);

        assert_eq!(take(&account, 5_000, budgets), (Got::Spent(Span::from_secs(39)), None));
        assert_eq!(take(&account, 6_000, budgets).0, Got::Spent(Span::from_secs(39)));
        assert_eq!(take(&account, 4_999, budgets).0, Got::Short);
    });
}

#[test]
fn a_refusal_says_where_the_budget_stands() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let _ = account.refused(Amount(5_000), told(4_000, 39_000), budgets);

        let (taken, _) = account.take(Amount(5_000), &POLICY, budgets);

        let LeaseOutcome::Spent(_, Some(standing)) = taken else { panic!("{taken:?}") };
        assert_eq!(standing.available, Amount(5_000));
    });
}

#[test]
fn after_a_refusal_less_than_that_remains() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let _ = account.refused(Amount(5_000), NOTHING, budgets);

        assert_eq!(account.standing(budgets).unwrap().available, Amount(4_999 + 1_000));
    });
}

#[test]
fn what_is_leased_can_be_taken_whatever_was_refused() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let _ = account.refused(Amount(10), told(5, 39_000), budgets);

        assert_eq!(take(&account, 1_000, budgets).0, Got::LeaseOutcome);
        assert_eq!(take(&account, 10, budgets).0, Got::Spent(Span::from_secs(39)));
    });
}

#[test]
fn a_refusal_is_believed_for_ten_seconds() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| _ = account.refused(Amount(5_000), ends_in(39_000), budgets));

    process
        .at(10_990, |budgets| assert_eq!(take(&account, 5_000, budgets).0, Got::Spent(Span(29_010_000_000))));
    process.at(11_010, |budgets| assert_eq!(take(&account, 5_000, budgets).0, Got::Short));
}

#[test]
fn a_service_that_tells_no_ends_is_believed_for_a_small_part_of_a_window() {
    // Its window may have ended at any moment, and then everything fits again.
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(0, |budgets| assert_eq!(account.refused(Amount(500), NOTHING, budgets), WINDOW));

    process.at(1_870, |budgets| assert!(matches!(take(&account, 500, budgets).0, Got::Spent(_))));
    process.at(1_880, |budgets| assert_eq!(take(&account, 500, budgets).0, Got::Short));
    // The refusal of a long window is believed no longer than others.
    let day = Span::from_secs(86_400);
    let limit = Rc::new(Limit { shape: Shape { window: day, ..tokens().shape }, ..(*tokens()).clone() });
    let account = self::account(&limit, "bob");
    process.at(0, |budgets| assert_eq!(account.refused(Amount(500), NOTHING, budgets), day));
    process.at(9_990, |budgets| assert!(matches!(take(&account, 500, budgets).0, Got::Spent(_))));
    process.at(10_010, |budgets| assert_eq!(take(&account, 500, budgets).0, Got::Short));
}

#[test]
fn a_refusal_that_tells_no_end_lasts_as_long_as_the_window_is_known_to() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(0, |budgets| assert!(account.learn(Amount(1), NOTHING, &POLICY, budgets).is_some()));

    let wait = process.at(50_000, |budgets| account.refused(Amount(500), NOTHING, budgets));

    assert_eq!(wait, Span::from_secs(10));
}

#[test]
fn a_refusal_is_not_believed_beyond_its_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_000, |budgets| _ = account.refused(Amount(5_000), NOTHING, budgets));

    process.at(40_000, |budgets| assert_eq!(take(&account, 5_000, budgets).0, Got::Short));
}

#[test]
fn the_smallest_amount_refused_counts() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| {
        for amount in [5_000, 3_000, 4_000] {
            let _ = account.refused(Amount(amount), ends_in(39_000), budgets);
        }
        assert!(matches!(take(&account, 3_000, budgets).0, Got::Spent(_)));
    });
    // Its ten seconds are not extended by later refusals.
    process.at(9_000, |budgets| _ = account.refused(Amount(4_000), ends_in(31_000), budgets));
    process.at(12_000, |budgets| assert_eq!(take(&account, 3_000, budgets).0, Got::Short));
}

#[test]
fn after_its_ten_seconds_the_smallest_amount_gives_way_to_a_larger_one() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| _ = account.refused(Amount(3_000), ends_in(39_000), budgets));

    process.at(12_000, |budgets| {
        let _ = account.refused(Amount(4_000), ends_in(28_000), budgets);
        assert_eq!(take(&account, 4_000, budgets).0, Got::Spent(Span::from_secs(28)));
        assert_eq!(take(&account, 3_000, budgets).0, Got::Short);
    });
}

#[test]
fn a_first_call_that_is_refused_is_remembered_for_a_window() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |budgets| {
        let _ = account.refused(Amount(500), NOTHING, budgets);

        assert_eq!(take(&account, 500, budgets), (Got::Spent(WINDOW), None));
    });
}

#[test]
fn a_lease_as_large_as_what_was_refused_is_not_asked_for() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |budgets| {
        assert_eq!(account.learn(Amount(1), NOTHING, &POLICY, budgets), Some(Amount(2_000)));
        account.not_granted(budgets);

        let _ = account.refused(Amount(2_000), NOTHING, budgets);
        assert_eq!(take(&account, 1, budgets), (Got::Short, None));
        let _ = account.refused(Amount(2_001), NOTHING, budgets);
        assert_eq!(take(&account, 1, budgets), (Got::Short, None));
    });
}

#[test]
fn a_lease_smaller_than_what_was_refused_is_asked_for() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |budgets| {
        let _ = account.refused(Amount(2_001), NOTHING, budgets);

        assert_eq!(take(&account, 1, budgets), (Got::Short, Some(Amount(2_000))));
    });
}
