//! The service's final charges, as a property over calls, answers and endings.

use proptest::prelude::*;

use super::*;
use crate::rls::Health;
use crate::rls::breaker::{Breaker, BreakerPolicy};
use crate::rls::report_queue::ReportQueue;
use crate::rls::service::HitsAddend;

/// How a call ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Settled(u64),
    Kept,
    Released,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    estimate: u64,
    /// Whether the service is reached.
    answered: bool,
    ending: Ending,
}

fn call() -> impl Strategy<Value = Call> {
    let ending = prop_oneof![
        6 => (0_u64..4_000).prop_map(Ending::Settled),
        1 => Just(Ending::Kept),
        1 => Just(Ending::Released),
    ];
    (0_u64..3_000, prop::bool::weighted(0.8), ending).prop_map(|(estimate, answered, ending)| Call {
        estimate,
        answered,
        ending,
    })
}

/// Generates a service of any configurable kind.
fn any_service() -> impl Strategy<Value = Service> {
    let ways = vec![
        (Protocol::Envoy, HitsAddend::Descriptor, false),
        (Protocol::Envoy, HitsAddend::Descriptor, true),
        (Protocol::Envoy, HitsAddend::Request, false),
        (Protocol::Envoy, HitsAddend::Request, true),
        (Protocol::CheckThenReport, HitsAddend::Descriptor, false),
        (Protocol::Kuadrant, HitsAddend::Request, false),
    ];
    prop::sample::select(ways).prop_map(|(protocol, hits_addend, refunds)| Service {
        protocol,
        hits_addend,
        refunds,
        ..service()
    })
}

const MAX: u32 = 1_000_000_000;

/// Returns limits on tokens, requests and money.
fn limits() -> [GlobalLimit; 3] {
    let max = u64::from(MAX);
    [global("tpm", "tokens", max), global("rpm", "requests", max), global("spend", "cost_usd", max * 1_000)]
}

/// The worker's side: tasks go through its report queue to the server.
struct Worker {
    server: Server,
    report_queue: ReportQueue,
    breaker: Breaker,
    token: u32,
}

impl Worker {
    fn new() -> Self {
        let breaker = Breaker::new(BreakerPolicy { failures: 1_000, probe_every: Span::from_secs(1) });
        Self { server: Server::of(MAX), report_queue: ReportQueue::default(), breaker, token: 0 }
    }

    fn run(&mut self, tasks: Vec<Task>, service: &Service, budgets: &Budgets<'_>) {
        for task in tasks {
            self.report_queue.push(task, budgets.now());
        }
        for batch in self.report_queue.due(service, &mut self.breaker, budgets) {
            let answer = self.server.answer(&batch.question);
            self.token += 1;
            self.report_queue.sent(batch, self.token, budgets.now());
            assert_eq!(
                self.report_queue.answered(self.token, Ok(&answer), service, budgets),
                Some(Health::Well)
            );
        }
    }

    /// Runs one call from its beginning to its end. Returns whether the service was asked, and
    /// answered.
    fn call(&mut self, call: Call, service: &Service, budgets: &Budgets<'_>) {
        let mut tasks = vec![];
        let begun = begun(&limits(), call.estimate, service, budgets, &mut tasks).unwrap();
        let decided = if call.answered {
            asked(begun, &mut self.server, service, budgets, &mut tasks)
        } else {
            begun.decide(vec![], service, budgets, &mut tasks).unwrap()
        };
        match call.ending {
            Ending::Settled(tokens) => {
                decided.holding.settle(&used(tokens), &rates(), service, budgets, &mut tasks);
            }
            Ending::Kept => decided.holding.keep(service, budgets, &mut tasks),
            Ending::Released => decided.holding.release(service, budgets, &mut tasks),
        }
        self.run(tasks, service, budgets);
    }

    fn charged(&self) -> [i128; 3] {
        limits().map(|limit| self.server.charged(&limit, "ada"))
    }
}

/// Converts tokens to hits of each limit. A call counts as a request even without tokens.
fn in_hits(tokens: u64) -> [i128; 3] {
    [i128::from(tokens), 1, i128::from(tokens.div_ceil(1_000))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn without_leases_every_call_is_charged_once_what_it_used_or_what_it_held_if_that_is_more(
        service in any_service().prop_filter("nothing is kept here", |service| service.kept_here().is_none()),
        calls in prop::collection::vec(call(), 1..8),
    ) {
        let (process, mut worker, mut expected) = (Process::new(), Worker::new(), [0; 3]);
        for call in calls {
            process.at(0, |budgets| worker.call(call, &service, budgets));
            let used = match call.ending {
                Ending::Settled(tokens) => in_hits(tokens),
                Ending::Kept => in_hits(call.estimate),
                Ending::Released => [0; 3],
            };
            let held = in_hits(call.estimate);
            let keeps_what_was_asked =
                service.charges_when_asked() && !service.refunds && call.answered;
            for ((expected, used), held) in expected.iter_mut().zip(used).zip(held) {
                *expected += if keeps_what_was_asked { used.max(held) } else { used };
            }
        }
        prop_assert_eq!(worker.charged(), expected);
    }

    #[test]
    fn with_leases_what_is_charged_is_what_was_used_and_what_is_left_of_the_lease(
        service in any_service(),
        leases in any::<bool>(),
        calls in prop::collection::vec(call(), 1..30),
    ) {
        // Kept charges also work without leases.
        let lease = (leases || service.kept_here().is_none()).then_some(POLICY);
        let service = Service { lease, ..service };
        let (process, mut worker, mut expected) = (Process::new(), Worker::new(), 0);
        // Each answer reports that the window ends in a minute.
        for (call, millis) in calls.into_iter().zip((0..).step_by(40)) {
            process.at(millis, |budgets| worker.call(call, &service, budgets));
            expected += match call.ending {
                Ending::Settled(tokens) => tokens,
                Ending::Kept => call.estimate,
                Ending::Released => 0,
            };
        }
        let left = process.at(30_000, |budgets| {
            worker.run(vec![], &service, budgets);
            drained(&limits()[0], &POLICY, budgets)
        });
        prop_assert_eq!(worker.charged()[0], i128::from(expected + left));
    }
}

#[test]
fn money_that_was_asked_for_and_refunded_is_rounded_once_and_up() {
    let service = Service { refunds: true, ..service() };
    // Asked for 1.5 micro-dollars, used 1.4.
    let (process, mut worker) = (Process::new(), Worker::new());
    let call = Call { estimate: 1_500, answered: true, ending: Ending::Settled(1_400) };

    process.at(0, |budgets| worker.call(call, &service, budgets));

    assert_eq!(worker.charged()[2], 2);
}
