//! Plans of simulations: calls, happenings, and the order of turns.
//!
//! In: a random generator. Out: [`Plan`], which shrinks to fewer calls and an even order. Not here:
//! how a plan is carried out (`world`).

use proptest::collection::vec;
use proptest::prelude::*;

/// The number of workers.
pub(crate) const WORKERS: usize = 3;

/// The tenants; made-up ones of floods come in addition.
pub(crate) const TENANTS: [&str; 2] = ["ada", "bob"];

/// A simulation of one process.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) calls: Vec<Call>,
    pub(crate) happenings: Vec<Happening>,
    /// Chooses each next turn among those that are possible; then it is always the first.
    pub(crate) turns: Vec<u8>,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Whether it is over before anything else happens.
    pub(crate) comes_first: bool,
    pub(crate) worker: usize,
    pub(crate) tenant: usize,
    /// The words of its prompt, a token each.
    pub(crate) words: usize,
    pub(crate) max_tokens: u64,
    pub(crate) workflow: Option<u8>,
    pub(crate) ending: Ending,
}

/// How a call ends, if no limit refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The upstream answers with this output, which may exceed the bound.
    Answered { output: u64 },
    /// The upstream answers with an error.
    Failed,
    /// The client leaves.
    Left(Moment),
}

/// The moment at which a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeBody,
    /// While it waits for its budgets, if it waits.
    Waiting,
    BeforeAnswer,
    InAnswer,
}

/// What happens beside calls, in the order of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    /// The VM of a worker dies, with all its calls.
    Trap(usize),
    /// All workers get another configuration, for new calls.
    Reload,
    /// The clock moves by seconds, back if they are negative.
    Clock(i64),
    /// A worker makes calls for this many callers who made up their names.
    Flood(usize, u16),
}

fn call() -> impl Strategy<Value = Call> {
    let ending = prop_oneof![
        4 => (0..150_u64).prop_map(|output| Ending::Answered { output }),
        1 => Just(Ending::Failed),
        1 => prop::sample::select(vec![Moment::BeforeBody, Moment::Waiting, Moment::BeforeAnswer, Moment::InAnswer])
            .prop_map(Ending::Left),
    ];
    let workflow = prop::option::of(0..2_u8);
    (0..WORKERS, 0..TENANTS.len(), 0..40_usize, 0..100_u64, workflow, ending).prop_map(
        |(worker, tenant, words, max_tokens, workflow, ending)| Call {
            comes_first: false,
            worker,
            tenant,
            words,
            max_tokens,
            workflow,
            ending,
        },
    )
}

/// Returns plans with these happenings.
pub(crate) fn plans(happening: impl Strategy<Value = Happening>) -> impl Strategy<Value = Plan> {
    (vec(call(), 1..12), vec(happening, 0..4), vec(any::<u8>(), 0..200))
        .prop_map(|(calls, happenings, turns)| Plan { calls, happenings, turns })
}

impl Plan {
    /// Returns the plan after a call of each tenant, which gives all of them places in the table.
    pub(crate) fn after_first_calls(mut self) -> Self {
        for tenant in 0..TENANTS.len() {
            self.calls.insert(0, Call { tenant, ..Call::FIRST });
        }
        self
    }
}

impl Call {
    const FIRST: Self = Self {
        comes_first: true,
        worker: 0,
        tenant: 0,
        words: 1,
        max_tokens: 1,
        workflow: None,
        ending: Ending::Answered { output: 1 },
    };

    /// A call of somebody who makes up a name.
    pub(crate) const MADE_UP: Self = Self { ending: Ending::Failed, ..Self::FIRST };
}

pub(crate) fn trap() -> impl Strategy<Value = Happening> {
    (0..WORKERS).prop_map(Happening::Trap)
}

pub(crate) fn reload() -> impl Strategy<Value = Happening> {
    Just(Happening::Reload)
}

pub(crate) fn flood() -> impl Strategy<Value = Happening> {
    (0..WORKERS, 0..100_u16).prop_map(|(worker, callers)| Happening::Flood(worker, callers))
}

pub(crate) fn clock() -> impl Strategy<Value = Happening> {
    (-200..200_i64).prop_map(Happening::Clock)
}
