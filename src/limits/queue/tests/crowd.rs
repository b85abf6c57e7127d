//! Clients that call one after the other, and come back when told.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;
use crate::api::answer::ToolsCalled;
use crate::limits::limit::Used;
use crate::limits::{OutputReserve, Reservation};

const RESERVE: OutputReserve = OutputReserve { start: Tokens(512), learn: true, at_most: Ratio::ONE };

const SECOND: u64 = 1_000_000_000;

/// The properties of a crowd.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    clients: usize,
    /// The smallest and the largest call, in tokens; a minute gives 10,000 back.
    sizes: (u64, u64),
    algorithm: Algorithm,
    /// Whether clients read only `retry-after`, and come at whole seconds.
    whole_seconds: bool,
    /// Whether calls of one size have equal bodies.
    equal_bodies: bool,
    /// The part of its reservation that a call uses, in percent.
    uses: u64,
}

/// The results of a crowd, with three calls of each client.
#[derive(Debug, Default)]
struct Outcome {
    successes: u64,
    /// Tries beyond the first of each call.
    returns: u64,
    /// Calls that were refused at first, and then passed.
    refused: u64,
    most_tries: u64,
    held: u64,
    used: u64,
    seconds: u64,
}

struct Client {
    size: u64,
    calls: usize,
    tries: u64,
    under_way: Option<Reservation>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer,
    Call,
}

impl Crowd {
    fn run(self) -> Outcome {
        let mut limit = Limit::example("tpm", "tokens", 10_000);
        limit.shape.algorithm = self.algorithm;
        let (bench, caller) = (Bench::with(vec![limit]), caller());
        let table = Table::new(&bench.lines as &dyn Lines, 4_096);
        let mut dice = dice();
        let mut size = || self.sizes.0 + dice(self.sizes.1 - self.sizes.0 + 1);
        let new = |size| Client { size, calls: 0, tries: 0, under_way: None };
        let mut clients: Vec<_> = (0..self.clients).map(|_| new(size())).collect();
        // All come within half a second.
        let calls =
            (0..self.clients).map(|client| (START.0 + 5_000_000 * client as u64 % (SECOND / 2), client));
        let mut events: BinaryHeap<_> =
            calls.map(|(at, client)| Reverse((at, Event::Call, client))).collect();

        let mut outcome = Outcome::default();
        while let Some(Reverse((at, event, number))) = events.pop() {
            let budgets = Budgets::new(&table, &bench.keys, Timestamp(at));
            let client = &mut clients[number];
            let used = client.size * self.uses / 100;
            if event == Event::Answer {
                let usage = Usage { output: used, ..Usage::default() };
                RESERVE.observe("m", "free", Some(client.size), used, &budgets);
                let tools = ToolsCalled::default();
                let used = Used { usage: &usage, rates: &rates(), tools: &tools };
                client.under_way.take().unwrap().settle(&used, &budgets);
                outcome.seconds = (at - START.0) / SECOND;
                (client.calls, client.tries, client.size) = (client.calls + 1, 0, size());
                if client.calls < 3 {
                    events.push(Reverse((at + 10_000_000, Event::Call, number)));
                }
                continue;
            }
            let body = match self.equal_bodies {
                true => client.size.to_string(),
                false => format!("{number} {}", client.calls),
            };
            let estimate = Estimate {
                known: Usage::default(),
                output_is_known: false,
                exact: true,
                max_output: Some(client.size),
                expected_output: RESERVE.expected("m", "free", &budgets),
                at_most: Ratio::ONE,
                rates: rates(),
            };
            client.tries += 1;
            outcome.most_tries = outcome.most_tries.max(client.tries);
            outcome.returns += u64::from(client.tries > 1);
            let granted = Granted::default();
            let subject = subject(&caller, &body);
            match reserve(granted, &bench.limits, &subject, &estimate, Span::ZERO, &budgets) {
                Ok(granted) => {
                    outcome.successes += 1;
                    outcome.refused += u64::from(client.tries > 1);
                    outcome.used += used;
                    outcome.held += client.size;
                    client.under_way = Some(granted.reservation);
                    events.push(Reverse((at + SECOND / 20, Event::Answer, number)));
                }
                Err(refusal) => {
                    let Wait::For(wait) = refusal.wait else { panic!("{refusal:?}") };
                    let wait = match self.whole_seconds {
                        true => wait.as_secs_ceil().max(1) * SECOND,
                        false => wait.as_millis_ceil().max(1) * 1_000_000,
                    };
                    // A call takes a while to arrive.
                    events.push(Reverse((at + wait + 1_000_000 * (number as u64 % 5), Event::Call, number)));
                }
            }
        }
        outcome
    }
}

/// Returns a source of numbers below a bound, the same in every run.
fn dice() -> impl FnMut(u64) -> u64 {
    let mut random = 88_172_645_463_325_252_u64;
    move |below| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    }
}

/// Returns crowds of this many clients with calls of these sizes: all kinds of clients.
fn crowds(clients: usize, sizes: (u64, u64), algorithm: Algorithm) -> impl Iterator<Item = Crowd> {
    let kinds = [false, true].into_iter().flat_map(|whole_seconds| {
        [false, true]
            .into_iter()
            .flat_map(move |equal_bodies| [100, 50].map(|uses| (whole_seconds, equal_bodies, uses)))
    });
    kinds.map(move |(whole_seconds, equal_bodies, uses)| Crowd {
        clients,
        sizes,
        algorithm,
        whole_seconds,
        equal_bodies,
        uses,
    })
}

/// Asserts that a client that comes when told succeeds: at most 1.3 returns for each call that was
/// refused at first. No client starves, and the budget is used up as it flows back.
fn assert_served(algorithm: Algorithm) {
    for (clients, sizes) in [(20, (500, 500)), (20, (100, 2_000)), (200, (500, 500)), (200, (100, 2_000))] {
        let (mut refused, mut returns) = (0, 0);
        for crowd in crowds(clients, sizes, algorithm) {
            let outcome = crowd.run();
            assert_eq!(outcome.successes, 3 * crowd.clients as u64, "{crowd:?} {outcome:?}");
            assert!(outcome.most_tries <= 15, "{crowd:?} {outcome:?}");
            assert!(outcome.returns * 2 <= outcome.refused * 3, "{crowd:?} {outcome:?}");
            // In a calendar window all come together, so the part that a call does not use comes
            // back too late for others.
            let counts = if algorithm == Algorithm::FixedWindow { outcome.held } else { outcome.used };
            assert!(outcome.seconds <= 120 + counts * 60 / 10_000 * 6 / 5, "{crowd:?} {outcome:?}");
            refused += outcome.refused;
            returns += outcome.returns;
        }
        assert!(returns * 10 <= refused * 13, "{algorithm:?} {clients} {sizes:?}: {returns} for {refused}");
    }
}

#[test]
fn a_crowd_before_a_token_bucket_is_served_in_turn() {
    assert_served(Algorithm::TokenBucket);
}

#[test]
fn a_crowd_before_a_sliding_window_is_served_in_turn() {
    assert_served(Algorithm::SlidingWindow);
}

#[test]
fn a_crowd_before_a_calendar_window_is_served_in_turn() {
    assert_served(Algorithm::FixedWindow);
}
