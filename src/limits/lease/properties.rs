//! Properties of leases under any history of several processes on one service.

use proptest::prelude::*;

use super::tests::{POLICY, Process, START, WINDOW, account, limit, told};
use super::*;

const MAX: u64 = 10_000;

/// A service that counts one budget in fixed windows, exactly, and reports everything at once.
#[derive(Default)]
struct Service {
    window: u64,
    charged: u64,
}

impl Service {
    fn ask(&mut self, amount: Amount, now: Timestamp) -> Result<WindowStatus, WindowStatus> {
        let window = now.0 / WINDOW.0;
        if window != self.window {
            *self = Self { window, charged: 0 };
        }
        let fits = self.charged + amount.0 <= MAX;
        if fits {
            self.charged += amount.0;
        }
        let told = WindowStatus {
            remaining: Some(Amount(MAX - self.charged)),
            reset: Some(Span(WINDOW.0 - now.0 % WINDOW.0)),
        };
        if fits { Ok(told) } else { Err(told) }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes.
    Wait { millis: u64 },
    /// A call of one of two processes comes.
    Call { process: usize, amount: u64 },
    /// A call ends with this usage, in percent of its reservation.
    End { which: usize, percent: u64 },
    /// A lease request is answered, or its answer is lost.
    Answer { which: usize, lost: bool },
    /// The next writes of a process lose.
    Lose { process: usize, writes: u32 },
}

fn steps(percent: core::ops::Range<u64>) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => prop_oneof![0_u64..3_000, 0_u64..50_000].prop_map(|millis| Step::Wait { millis }),
        5 => (0_usize..2, 0_u64..1_500).prop_map(|(process, amount)| Step::Call { process, amount }),
        4 => (any::<usize>(), percent).prop_map(|(which, percent)| Step::End { which, percent }),
        3 => (any::<usize>(), prop::bool::weighted(0.2))
            .prop_map(|(which, lost)| Step::Answer { which, lost }),
        1 => (0_usize..2, prop_oneof![0_u32..5, 60_u32..70])
            .prop_map(|(process, writes)| Step::Lose { process, writes }),
    ];
    prop::collection::vec(step, 1..150)
}

/// A call that passed.
enum Call {
    Leased(LeaseCharge),
    Asked { amount: Amount, at: Timestamp },
}

/// Two processes, each with leases of its own, on one service.
struct World {
    service: Service,
    processes: [Process; 2],
    account: Account,
    now: Timestamp,
    /// With their window, and the process whose lease is charged.
    calls: Vec<(u64, usize, Call)>,
    asked: Vec<(usize, Amount)>,
    /// Per window, the amount that its calls hold or have used.
    spent: std::collections::BTreeMap<u64, u64>,
    uncovered: u64,
}

impl World {
    fn new() -> Self {
        Self {
            service: Service::default(),
            processes: [Process::new(), Process::new()],
            account: account(&limit("tokens", MAX), "ada"),
            now: START,
            calls: vec![],
            asked: vec![],
            spent: std::collections::BTreeMap::default(),
            uncovered: 0,
        }
    }

    fn run(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Wait { millis } => self.now = now + Span::from_millis(millis),
            Step::Lose { process, writes } => self.processes[process].lines.lose_next(writes),
            Step::Call { process, amount } => self.call(process, Amount(amount)),
            Step::End { which, percent } => self.end(which, percent),
            Step::Answer { .. } if self.asked.is_empty() => {}
            Step::Answer { which, lost } => {
                let (process, amount) = self.asked.swap_remove(which % self.asked.len());
                if lost {
                    return;
                }
                let answer = self.service.ask(amount, now);
                self.processes[process].when(now, |budgets| match answer {
                    Ok(told) => self.account.granted(amount, told, budgets),
                    Err(told) => {
                        let _ = self.account.refused(amount, told, budgets);
                        self.account.not_granted(budgets);
                    }
                });
            }
        }
    }

    fn call(&mut self, process: usize, amount: Amount) {
        let now = self.now;
        let (taken, more) =
            self.processes[process].when(now, |budgets| self.account.take(amount, &POLICY, budgets));
        self.asked.extend(more.map(|more| (process, more)));
        let call = match taken {
            LeaseOutcome::Taken(ticket, _) => Call::Leased(ticket),
            LeaseOutcome::Spent(..) => return,
            LeaseOutcome::Short => {
                let answer = self.service.ask(amount, now);
                let more = self.processes[process].when(now, |budgets| match answer {
                    Ok(told) => Some(self.account.learn(amount, told, &POLICY, budgets)),
                    Err(told) => {
                        let _ = self.account.refused(amount, told, budgets);
                        None
                    }
                });
                let Some(more) = more else { return };
                self.asked.extend(more.map(|more| (process, more)));
                Call::Asked { amount, at: now }
            }
        };
        let window = now.0 / WINDOW.0;
        *self.spent.entry(window).or_default() += amount.0;
        self.calls.push((window, process, call));
    }

    fn end(&mut self, which: usize, percent: u64) {
        if self.calls.is_empty() {
            return;
        }
        let (window, process, call) = self.calls.swap_remove(which % self.calls.len());
        let spent = self.spent.get_mut(&window).unwrap();
        self.processes[process].when(self.now, |budgets| match call {
            Call::Leased(ticket) => {
                let amount = ticket.amount();
                let used = Amount(amount.0 * percent / 100);
                let uncovered = ticket.correct_to(used, budgets);
                assert!(uncovered <= used - amount);
                *spent = *spent + used.0 - amount.0 - uncovered.0;
                self.uncovered += uncovered.0;
            }
            Call::Asked { amount, at } => {
                let used = Amount(amount.0 * percent / 100);
                let uncovered = self.account.correct(amount, used, at, budgets);
                assert!(uncovered <= used - amount);
                *spent = *spent + used.0 - amount.0 - uncovered.0;
                self.uncovered += uncovered.0;
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// This includes calls that use more than they held: a part not covered by a lease is not
    /// counted here, but reported to the service.
    #[test]
    fn calls_of_all_processes_never_spend_more_in_a_window_than_the_budget(steps in steps(0..180)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            for (window, spent) in &world.spent {
                prop_assert!(*spent <= MAX, "{spent} in window {window}");
            }
        }
    }

    #[test]
    fn a_call_that_used_no_more_than_it_held_leaves_nothing_uncovered(steps in steps(0..101)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        prop_assert_eq!(world.uncovered, 0);
    }

    /// As long as no write fails and the window lasts, granted amounts are left, taken or used.
    #[test]
    fn within_a_window_nothing_is_lost_and_nothing_comes_from_nowhere(
        grants in prop::collection::vec(0_u64..2_000, 1..10),
        takes in prop::collection::vec((0_u64..1_000, 0_u64..1_500, any::<bool>()), 0..40),
        losses in prop::collection::vec(0_u32..20, 50),
    ) {
        let (process, account) = (Process::new(), account(&limit("tokens", MAX), "ada"));
        let (mut granted, mut used, mut held) = (0, 0, Vec::new());
        let mut grants = grants.into_iter();
        let mut losses = losses.into_iter();
        for (step, (amount, needed, ends)) in (0..).zip(takes) {
            process.lines.lose_next(losses.next().unwrap_or(0));
            process.at(step, |budgets| {
                if let Some(grant) = grants.next() {
                    account.granted(Amount(grant), told(MAX, 50_000), budgets);
                    granted += grant;
                }
                if let (LeaseOutcome::Taken(ticket, _), _) = account.take(Amount(amount), &POLICY, budgets) {
                    held.push((ticket, needed));
                }
                if ends && let Some((ticket, needed)) = held.pop() {
                    used += needed - ticket.correct_to(Amount(needed), budgets).0;
                }
            });
            let taken: u64 = held.iter().map(|(ticket, _)| ticket.amount().0).sum();
            prop_assert!(taken + used <= granted);
        }
        while let Some((ticket, _)) = held.pop() {
            prop_assert_eq!(process.at(50, |budgets| ticket.correct_to(Amount::ZERO, budgets)), Amount::ZERO);
        }
        // The rest can be taken to the last token, and no more.
        process.at(51, |budgets| {
            let rest = Amount(granted - used);
            let (one_too_many, _) = account.take(rest + Amount(1), &POLICY, budgets);
            prop_assert!(matches!(one_too_many, LeaseOutcome::Short), "{:?}", one_too_many);
            let (rest, _) = account.take(rest, &POLICY, budgets);
            prop_assert!(granted == 0 || matches!(rest, LeaseOutcome::Taken(..)), "{:?}", rest);
            Ok(())
        })?;
        process.at(60_000, |budgets| {
            prop_assert!(matches!(account.take(Amount(0), &POLICY, budgets).0, LeaseOutcome::Short));
            Ok(())
        })?;
    }
}

#[test]
fn of_workers_that_take_at_the_same_time_none_takes_what_another_has_and_one_asks_for_more() {
    const WORKERS: usize = 4;
    const GRANTED: u64 = 2_000;
    let process = Process::new();
    process.at(0, |budgets| {
        let account = account(&limit("tokens", 100_000), "ada");
        account.granted(Amount(GRANTED), told(50_000, 50_000), budgets);
    });
    let all_at_once = std::sync::Barrier::new(WORKERS);

    let worker = || {
        let account = account(&limit("tokens", 100_000), "ada");
        let (mut taken, mut asked) = (0, 0);
        all_at_once.wait();
        process.at(0, |budgets| {
            for amount in (1..=13).cycle().take(600) {
                let (got, more) = account.take(Amount(amount), &POLICY, budgets);
                asked += u64::from(more.is_some());
                if let LeaseOutcome::Taken(ticket, _) = got {
                    // Two of three come back.
                    let used = if amount % 3 == 0 { amount } else { 0 };
                    assert_eq!(ticket.correct_to(Amount(used), budgets), Amount::ZERO);
                    taken += used;
                }
            }
        });
        (taken, asked)
    };
    let (taken, asked) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .fold((0, 0), |(taken, asked), one| (taken + one.0, asked + one.1))
    });

    assert!(taken <= GRANTED, "{taken}");
    assert_eq!(asked, 1);
    process.at(0, |budgets| {
        let account = account(&limit("tokens", 100_000), "ada");
        let left = account.standing(budgets).unwrap().available.0 - 50_000;
        assert!(taken + left <= GRANTED, "{taken} taken, {left} left");
        assert!(left <= 13, "{left}");
    });
}
