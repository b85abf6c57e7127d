//! The waits that refused calls are told, and their truth: with one process and two, and with a
//! crowd that comes when told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::super::tests::{POLICY, Process, WINDOW, account, limit, told};
use super::super::{Account, LeaseOutcome};
use super::*;

const MAX: u64 = 10_000;

/// Returns the window that a caller of the example's limit is told after a refusal of `amount`,
/// this many milliseconds after the start of a window.
fn refused(process: &Process, millis: u64, amount: u64) -> u64 {
    let account = account(&limit("tokens", MAX), "ada");
    let ends_in = Span::from_millis(60_000 - millis % 60_000);
    let wait = process.at(millis, |budgets| account.promise(Amount(amount), ends_in, Amount(1_000), budgets));
    assert!(wait >= ends_in);
    // The number of the window, from the start.
    (millis + wait.0 / 1_000_000) / 60_000
}

fn charge(process: &Process, millis: u64, amount: u64) {
    let account = account(&limit("tokens", MAX), "ada");
    process.at(millis, |budgets| account.granted(Amount(amount), told(0, 60_000 - millis % 60_000), budgets));
}

/// Returns a process that was charged all of the first window.
fn spent() -> Process {
    let process = Process::new();
    charge(&process, 0, MAX);
    process
}

#[test]
fn the_next_window_is_promised_to_as_many_as_fit_and_the_one_after_it_to_the_others() {
    let process = spent();
    let windows: Vec<_> = (0..12).map(|call| refused(&process, 100 * call, 2_500)).collect();
    assert_eq!(windows, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
}

#[test]
fn a_call_that_does_not_fit_into_the_rest_of_a_window_is_told_the_next() {
    let process = spent();
    let windows = [6_000, 6_000, 3_000, 10_000, 1].map(|amount| refused(&process, 10, amount));
    assert_eq!(windows, [1, 2, 2, 3, 4]);
}

#[test]
fn callers_do_not_wait_for_each_other() {
    let process = spent();
    assert_eq!([refused(&process, 0, 9_000), refused(&process, 0, 9_000)], [1, 2]);

    let bob = account(&limit("tokens", MAX), "bob");
    let wait = process.at(0, |budgets| bob.promise(Amount(9_000), WINDOW, Amount(1_000), budgets));

    assert_eq!(wait, WINDOW);
}

#[test]
fn promises_end_with_their_window() {
    let process = spent();
    assert_eq!([9_000; 3].map(|amount| refused(&process, 0, amount)), [1, 2, 3]);

    // The promised callers were charged all of this window.
    charge(&process, 60_500, MAX);

    assert_eq!(refused(&process, 61_000, 9_000), 4);
}

#[test]
fn promises_that_nobody_takes_up_are_forgotten() {
    let process = spent();
    assert_eq!([9_000; 4].map(|amount| refused(&process, 0, amount)), [1, 2, 3, 4]);
    charge(&process, 60_500, 4_000);
    charge(&process, 120_500, MAX);

    assert_eq!(refused(&process, 121_000, 9_000), 3);
    // Nor do promises survive windows without a call.
    let process = spent();
    assert_eq!([9_000; 5].map(|amount| refused(&process, 0, amount)), [1, 2, 3, 4, 5]);
    assert_eq!(refused(&process, 180_500, 9_000), 4);
}

#[test]
fn nobody_waits_for_others_for_more_than_ten_minutes() {
    let process = spent();
    let windows: Vec<_> = (0..100).map(|call| refused(&process, call, 9_000)).collect();
    assert_eq!(windows.iter().max(), Some(&11));
    // And a longer window has no promises at all.
    let hour = Limit {
        shape: crate::limits::Shape { window: Span::from_secs(3_600), ..limit("tokens", MAX).shape },
        ..(*limit("tokens", MAX)).clone()
    };
    let account = account(&hour.into(), "ada");
    let ends_in = Span::from_secs(100);
    for _ in 0..3 {
        let wait =
            Process::new().at(0, |budgets| account.promise(Amount(9_000), ends_in, Amount(1), budgets));
        assert_eq!(wait, ends_in);
    }
}

#[test]
fn a_process_promises_of_a_window_what_it_was_charged_in_one() {
    let process = Process::new();
    // Another process has the rest.
    charge(&process, 500, 4_000);
    refused(&process, 1_000, 2_000);
    charge(&process, 60_500, 4_000);
    charge(&process, 120_500, 3_000);

    let windows: Vec<_> = (0..6).map(|call| refused(&process, 121_000 + call, 2_000)).collect();

    assert_eq!(windows, [3, 3, 4, 4, 5, 5]);
}

#[test]
fn refusals_that_come_before_the_answers_to_others_promise_half_of_the_budget_in_each_window() {
    let process = Process::new();

    let windows: Vec<_> = (0..5).map(|call| refused(&process, 1_000 + call, 2_500)).collect();

    assert_eq!(windows, [1, 1, 2, 2, 3]);
}

#[test]
fn promises_keep_their_windows_when_these_turn_out_to_have_more_room() {
    let process = Process::new();
    assert_eq!([2_500; 6].map(|amount| refused(&process, 1_000, amount)), [1, 1, 2, 2, 3, 3]);
    charge(&process, 1_001, MAX);

    assert_eq!([2_500; 5].map(|amount| refused(&process, 1_002, amount)), [4, 4, 4, 4, 5]);
}

#[test]
fn a_process_that_had_nothing_promises_what_it_may_expect() {
    let process = Process::new();
    refused(&process, 0, 500);
    // It is charged too little to determine its share.
    charge(&process, 60_500, 10);
    charge(&process, 120_500, 10);

    let windows: Vec<_> = (0..5).map(|call| refused(&process, 121_000 + call, 500)).collect();

    assert_eq!(windows, [3, 3, 4, 4, 5]);
}

#[test]
fn a_clock_that_is_set_back_begins_anew() {
    let process = spent();
    for _ in 0..5 {
        refused(&process, 600_000, 9_000);
    }
    assert_eq!(refused(&process, 0, 9_000), 1);
}

#[test]
fn a_table_that_cannot_be_written_promises_the_next_window_to_all() {
    let process = Process::new();
    process.lines.fail(true);
    assert_eq!([9_000; 3].map(|amount| refused(&process, 0, amount)), [1, 1, 1]);
}

/// A service that counts one budget in fixed windows, and reports everything.
#[derive(Default)]
struct Service {
    window: u64,
    charged: u64,
}

impl Service {
    fn ask(&mut self, amount: Amount, millis: u64) -> (bool, super::super::WindowStatus) {
        if millis / 60_000 != self.window {
            *self = Self { window: millis / 60_000, charged: 0 };
        }
        let fits = self.charged + amount.0 <= MAX;
        self.charged += if fits { amount.0 } else { 0 };
        (fits, told(MAX - self.charged, 60_000 - millis % 60_000))
    }
}

/// Makes a call; returns `None` if it passes, or the wait in milliseconds.
fn call(
    process: &Process,
    account: &Account,
    service: &mut Service,
    amount: Amount,
    millis: u64,
) -> Option<u64> {
    process.at(millis, |budgets| {
        let lease = |more: Option<Amount>, service: &mut Service| {
            let Some(more) = more else { return };
            match service.ask(more, millis) {
                (true, told) => account.granted(more, told, budgets),
                (false, told) => {
                    account.refused(more, told, budgets);
                    account.not_granted(budgets);
                }
            }
        };
        let (taken, more) = account.take(amount, &POLICY, budgets);
        lease(more, service);
        let ends_in = match taken {
            LeaseOutcome::Taken(..) => return None,
            LeaseOutcome::Spent(ends_in, _) => ends_in,
            LeaseOutcome::Short => match service.ask(amount, millis) {
                (true, told) => {
                    let more = account.learn(amount, told, &POLICY, budgets);
                    lease(more, service);
                    return None;
                }
                (false, told) => account.refused(amount, told, budgets),
            },
        };
        Some(account.promise(amount, ends_in, Amount(MAX / 10), budgets).0 / 1_000_000)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All clients call within one window and return when told, a little late, until they pass.
    #[test]
    fn a_crowd_that_comes_when_it_is_told_needs_hardly_more_than_one_try_each(
        clients in prop::sample::select(vec![20_usize, 200]),
        processes in 1_usize..3,
        (least, most) in prop::sample::select(vec![(500, 500), (100, 1_000)]),
        seed in any::<u64>(),
    ) {
        let processes: Vec<_> = (0..processes).map(|_| Process::new()).collect();
        let (account, mut service) = (account(&limit("tokens", MAX), "ada"), Service::default());
        let mut dice = seed | 1;
        let mut roll = |below: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 11) % below
        };
        let mut agenda: BinaryHeap<_> = (0..clients)
            .map(|client| Reverse((roll(30_000), client, least + roll(most - least + 1), false)))
            .collect();
        let (mut told, mut again, mut last) = (0, 0, 0);
        while let Some(Reverse((millis, client, amount, was_told))) = agenda.pop() {
            again += u64::from(was_told);
            last = millis;
            let process = &processes[client % processes.len()];
            if let Some(wait) = call(process, &account, &mut service, Amount(amount), millis) {
                told += u64::from(!was_told);
                // As in `retry-after-ms`, rounded up, with its jitter and the network delay.
                let late = 1 + roll((wait / 10).clamp(1, 1_000)) + roll(50);
                agenda.push(Reverse((millis + wait + late, client, amount, true)));
            }
        }
        prop_assert!(again * 10 <= told * 13, "{again} tries of {told} who were told when to come");
        // Nor does it take longer than the budget needs, apart from rests of windows that fit no
        // call.
        let windows = clients as u64 * most / (MAX - most) + 3;
        prop_assert!(last / 60_000 <= windows, "{} of {windows} windows", last / 60_000);
    }
}
