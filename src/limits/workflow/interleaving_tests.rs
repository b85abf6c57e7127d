use super::*;
use crate::store::{Cas, NotStored, Unavailable};
use proptest::prelude::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Lines as one of several workers sees them; it loads and stores only in its turn.
struct InTurn<'a> {
    lines: &'a MemoryLines,
    asks: Sender<()>,
    turns: Receiver<()>,
}

impl InTurn<'_> {
    fn wait(&self) {
        self.asks.send(()).unwrap();
        self.turns.recv().unwrap();
    }
}

impl Lines for InTurn<'_> {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        self.wait();
        self.lines.load(line)
    }

    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        self.wait();
        self.lines.store(line, bytes, cas)
    }
}

/// Runs workers concurrently, which take turns at the table in this order, and then in any.
fn interleave<T: Send>(
    lines: &MemoryLines,
    order: &[usize],
    workers: impl IntoIterator<Item = impl FnOnce(&dyn Lines) -> T + Send>,
) -> Vec<T> {
    thread::scope(|scope| {
        let (mut handles, mut busy) = (Vec::new(), Vec::new());
        for worker in workers {
            let ((asks, asked), (turn, turns)) = (channel(), channel());
            handles.push(scope.spawn(move || worker(&InTurn { lines, asks, turns })));
            busy.push((asked, turn));
        }
        // Each is either waiting for its turn or has ended.
        busy.retain(|(asked, _): &(Receiver<()>, Sender<()>)| asked.recv().is_ok());
        let mut order = order.iter().copied();
        while !busy.is_empty() {
            let next = order.next().unwrap_or(0) % busy.len();
            busy[next].1.send(()).unwrap();
            if busy[next].0.recv().is_err() {
                busy.remove(next);
            }
        }
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Settled(u64),
    Kept,
    Refused,
    /// By a worker that dies.
    Trapped,
}

/// Makes one call and ends it; returns whether it passed.
fn call(limit: Limit, asked: Asked<'_>, ending: Ending, lines: &dyn Lines) -> bool {
    at(0, lines, |budgets| {
        let Ok(granted) = ask(&[&Rc::new(limit)], asked, budgets) else { return false };
        match ending {
            Ending::Settled(tokens) => settle(granted.reservation, tokens, budgets),
            Ending::Kept => granted.reservation.keep(budgets),
            Ending::Refused => granted.reservation.release(budgets),
            Ending::Trapped => drop(granted),
        }
        true
    })
}

fn limit_of(limit: &Rc<Limit>) -> impl Fn() -> Limit + Send + Sync + use<> {
    let (name, max, counts, once) =
        (limit.name.to_string(), limit.shape.max.0, limit.counts.name, limit.once_per.is_some());
    move || {
        let once_per = once.then(|| "workflow".into());
        Limit { once_per, ..Limit::example(&name, counts, max) }
    }
}

fn orders() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..5_usize, 0..120)
}

fn request_endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        1 => Just(Ending::Settled(3)),
        1 => Just(Ending::Kept),
        3 => Just(Ending::Refused),
        1 => Just(Ending::Trapped)
    ]
}

fn token_calls() -> impl Strategy<Value = Vec<(u64, u64, Ending)>> {
    let ending = prop_oneof![3 => (0..500_u64).prop_map(Ending::Settled), 1 => Just(Ending::Refused)];
    let declared = prop_oneof![Just(0_u64), Just(300)];
    prop::collection::vec((0..200_u64, declared, ending), 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// However calls of two workflows meet, a workflow with at least one call made counts as one
    /// request, and one whose calls were all refused as none.
    #[test]
    fn every_workflow_is_counted_once_however_its_calls_meet(
        calls in prop::collection::vec((0..2_usize, request_endings()), 2..5),
        order in orders(),
        max in 1..4_u64,
    ) {
        let (lines, rpm) = (MemoryLines::default(), once_per_workflow(max));
        let limit = &limit_of(&rpm);
        let workers = calls.iter().map(|&(workflow, ending)| {
            let asked = Asked { workflow: ["w", "v"][workflow], ..PLAIN };
            move |lines: &dyn Lines| call(limit(), asked, ending, lines)
        });
        let passed = interleave(&lines, &order, workers);

        let is_made = |workflow: usize| {
            calls.iter().zip(&passed).any(|(&(of, ending), &passed)| {
                of == workflow && passed && !matches!(ending, Ending::Refused)
            })
        };
        let made = [0, 1].into_iter().filter(|&workflow| is_made(workflow)).count() as u64;
        prop_assert_eq!(at(0, &lines, |budgets| spent(&rpm, budgets)), made);
        prop_assert!(passed.contains(&true), "somebody comes first");
    }

    /// However calls of one workflow meet, the charge is the usage plus the rest of the pool:
    /// nothing is drawn twice.
    #[test]
    fn all_that_is_used_is_charged_and_the_rest_is_in_the_pool(
        calls in token_calls(),
        order in orders(),
        max in prop_oneof![Just(350_u64), Just(100_000)],
    ) {
        let (lines, tpm) = (MemoryLines::default(), tokens(max));
        let limit = &limit_of(&tpm);
        let workers = calls.iter().map(|&(tokens, declared, ending)| {
            let asked = Asked { tokens, declared, ..PLAIN };
            move |lines: &dyn Lines| call(limit(), asked, ending, lines)
        });
        let passed = interleave(&lines, &order, workers);

        let used = |(&(.., ending), &passed): (&(u64, u64, Ending), &bool)| match ending {
            Ending::Settled(tokens) if passed => tokens,
            _ => 0,
        };
        let used: u64 = calls.iter().zip(&passed).map(used).sum();
        at(0, &lines, |budgets| {
            let left = left_in_pool(&tpm, budgets);
            prop_assert_eq!(spent(&tpm, budgets), used + left.unwrap_or(0));
            // Pools opened in the same nanosecond, as all are here, are one: a draw from the first
            // may be put back into the second.
            let drawn: u64 = calls.iter().map(|&(tokens, ..)| tokens).sum();
            prop_assert!(left.is_none_or(|left| left <= 300 + drawn));
            Ok(())
        })?;
    }
}
