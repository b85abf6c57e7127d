//! Tests of the state that ends with a window, and of when it ends.

use super::*;

#[test]
fn with_the_window_everything_ends() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(39_999, |budgets| assert_eq!(take(&account, 1, budgets).0, Got::LeaseOutcome));

    process.at(40_000, |budgets| {
        assert!(account.standing(budgets).is_none());
        assert_eq!(take(&account, 1, budgets), (Got::Short, None));
        assert_eq!(left(&account, budgets), 0);
    });
}

#[test]
fn a_lease_whose_end_is_never_told_ends_a_window_after_it_began() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(0, |budgets| assert!(account.learn(Amount(1), NOTHING, &POLICY, budgets).is_some()));
    process.at(30_000, |budgets| account.granted(Amount(2_000), NOTHING, budgets));

    process.at(59_999, |budgets| assert_eq!(take(&account, 1, budgets).0, Got::LeaseOutcome));
    process.at(60_000, |budgets| assert_eq!(take(&account, 1, budgets).0, Got::Short));
}

#[test]
fn in_a_new_window_nothing_is_left_of_the_old_one() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    // The reported end was too late: the service is already in its next window.
    process.at(39_500, |budgets| {
        assert_eq!(account.learn(Amount(1), told(99_000, 59_900), &POLICY, budgets), Some(Amount(1_980)));
        assert_eq!(left(&account, budgets), 0);
        account.granted(Amount(1_980), told(97_020, 59_900), budgets);
        assert_eq!(left(&account, budgets), 1_980);
    });
}

#[test]
fn ends_told_up_to_a_second_and_a_half_apart_are_of_one_window_and_the_earliest_counts() {
    let account = account(&tokens(), "ada");
    leased(&account).at(0, |budgets| {
        for (reset, earliest) in [(41_500, 40_000), (39_100, 39_100), (40_000, 39_100)] {
            account.refused(Amount(90_000), told(49_000, reset), budgets);

            assert_eq!(left(&account, budgets), 1_000, "{reset}");
            assert_eq!(account.standing(budgets).unwrap().reset, Span::from_millis(earliest), "{reset}");
        }
        account.refused(Amount(90_000), told(49_000, 40_601), budgets);
        assert_eq!(left(&account, budgets), 0);
    });
}

#[test]
fn an_end_farther_away_than_the_window_is_long_is_not_believed() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    for (millis, reset) in [(0, 86_400_000), (30_000, u64::MAX), (31_000, 0)] {
        process.at(millis, |budgets| {
            account.granted(Amount(10), told(5_000, reset), budgets);
            assert_eq!(account.standing(budgets).unwrap().reset, Span::from_millis(60_000 - millis));
        });
    }
    process.at(31_000, |budgets| assert_eq!(left(&account, budgets), 30));
}

#[test]
fn after_its_window_nothing_of_a_call_goes_back_and_all_that_was_too_little_is_uncovered() {
    for next_window in [false, true] {
        let account = account(&tokens(), "ada");
        let process = leased(&account);
        let tickets =
            process.at(1_000, |budgets| [400, 300, 200].map(|amount| ticket(&account, amount, budgets)));
        process.at(41_000, |budgets| {
            if next_window {
                account.granted(Amount(1_000), told(90_000, 59_000), budgets);
            }
            let before = left(&account, budgets);

            let uncovered = tickets.map(|ticket| ticket.correct_to(Amount(250), budgets).0);

            assert_eq!((uncovered, left(&account, budgets)), ([0, 0, 50], before), "{next_window}");
        });
    }
}

#[test]
fn a_ticket_of_a_window_told_anew_still_belongs_to_it() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let ticket = process.at(1_000, |budgets| ticket(&account, 800, budgets));
    process.at(2_000, |budgets| account.granted(Amount(1), told(48_000, 37_200), budgets));

    process.at(3_000, |budgets| {
        assert_eq!(ticket.correct_to(Amount(0), budgets), Amount::ZERO);
        assert_eq!(left(&account, budgets), 1_001);
    });
}

#[test]
fn what_was_charged_in_an_earlier_window_is_not_put_back_into_this_one() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(40_000, |budgets| {
        assert_eq!(account.correct(Amount(70), Amount::ZERO, START, budgets), Amount::ZERO);
        assert_eq!(left(&account, budgets), 0);
        assert!(account.learn(Amount(1), told(99_000, 60_000), &POLICY, budgets).is_some());

        assert_eq!(
            account.correct(Amount(70), Amount::ZERO, START + Span::from_millis(39_999), budgets),
            Amount::ZERO
        );
        assert_eq!(left(&account, budgets), 0);
        assert_eq!(
            account.correct(Amount(70), Amount::ZERO, START + Span::from_millis(40_000), budgets),
            Amount::ZERO
        );
        assert_eq!(left(&account, budgets), 70);
    });
}

#[test]
fn a_clock_set_back_does_not_keep_a_lease_beyond_its_window() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    let back = Timestamp(START.0 - Span::from_secs(3_600).0);

    process.when(back, |budgets| {
        assert_eq!(take(&account, 1, budgets), (Got::Short, None));
        assert_eq!(account.learn(Amount(1), told(9_000, 30_000), &POLICY, budgets), Some(Amount(1_000)));
        assert_eq!(account.standing(budgets).unwrap().reset, Span::from_secs(30));
    });
}

#[test]
fn a_worker_whose_clock_was_read_a_moment_earlier_sees_the_same_lease() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process.at(5, |budgets| account.granted(Amount(1_000), NOTHING, budgets));

    process.at(0, |budgets| assert_eq!(take(&account, 600, budgets).0, Got::LeaseOutcome));
}
