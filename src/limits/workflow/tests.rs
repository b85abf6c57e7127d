use super::*;
use crate::api::Usage;
use crate::api::answer::ToolsCalled;
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::{
    Algorithm, Estimate, Granted, Price, Rates, Reservation, Shape, Used, Weights, reserve,
    would_refuse_at_once,
};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::{Timestamp, Tokens};

#[path = "once_tests.rs"]
mod counted_once;
#[path = "pool_tests.rs"]
mod declared;
#[path = "interleaving_tests.rs"]
mod interleaving;

const HOUR: u64 = 3_600;

fn keys() -> KeyHasher {
    KeyHasher::new(&[9; 16])
}

fn at<T>(seconds: u64, lines: &dyn Lines, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
    let (table, keys) = (Table::new(lines, 64), keys());
    run(&Budgets::new(&table, &keys, Timestamp(1_000_000 * 1_000_000_000) + Span::from_secs(seconds)))
}

fn rates() -> Rates {
    Rates { weights: Weights::default(), multiplier: Ratio::ONE, price: Price::default() }
}

fn usage(input: u64) -> Usage {
    Usage { input, ..Usage::default() }
}

fn caller(user: &str, workflow: &str) -> Caller {
    let values = [("user", user), ("workflow", workflow)];
    let values = values.into_iter().filter(|(_, value)| !value.is_empty());
    Caller::new(values.map(|(name, value)| (name.into(), value.as_bytes().to_vec())).collect())
}

/// A call of a workflow (of none, if it has no name) that is expected to use this number of tokens.
#[derive(Clone, Copy)]
struct Asked<'a> {
    workflow: &'a str,
    tokens: u64,
    declared: u64,
    patience: Span,
}

const PLAIN: Asked<'_> = Asked { workflow: "w", tokens: 100, declared: 0, patience: Span::ZERO };

fn ask(limits: &[&Rc<Limit>], asked: Asked<'_>, budgets: &Budgets<'_>) -> Result<Granted, Refusal> {
    let caller = caller("ada", asked.workflow);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    let estimate = Estimate {
        known: usage(asked.tokens),
        output_is_known: true,
        exact: true,
        max_output: None,
        expected_output: Tokens(0).into(),
        at_most: Ratio::ONE,
        rates: rates(),
    };
    let workflow = Workflow { dimension: "workflow".into(), declared: Amount(asked.declared) };
    let granted = Granted { workflow: Some(workflow), ..Granted::default() };
    let limits: Vec<_> = limits.iter().map(|limit| Rc::clone(limit)).collect();
    reserve(granted, &limits, &subject, &estimate, asked.patience, budgets)
}

fn settle(reservation: Reservation, tokens: u64, budgets: &Budgets<'_>) {
    reservation
        .settle(&Used { usage: &usage(tokens), rates: &rates(), tools: &ToolsCalled::default() }, budgets);
}

fn spent(limit: &Rc<Limit>, budgets: &Budgets<'_>) -> u64 {
    let caller = caller("ada", "");
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    let key = limit.key(budgets.keys, &subject);
    budgets.look(limit.shape, &key, |budget| budget.spent().0).unwrap()
}

fn left_in_pool(limit: &Rc<Limit>, budgets: &Budgets<'_>) -> Option<u64> {
    let caller = caller("ada", "w");
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    Some(Pool::of(limit, &subject, "workflow", budgets)?.left(budgets)?.0)
}

fn once_per_workflow(max: u64) -> Rc<Limit> {
    Rc::new(Limit { once_per: Some("workflow".into()), ..Limit::example("rpm", "requests", max) })
}

/// Returns the limit with windows of 30 days, so that nothing flows back meanwhile.
fn for_a_month(limit: &Limit) -> Rc<Limit> {
    let window = Span::from_secs(30 * 24 * HOUR);
    Rc::new(Limit { shape: Shape { window, ..limit.shape }, ..limit.clone() })
}

fn tokens(max: u64) -> Rc<Limit> {
    Rc::new(Limit::example("tpm", "tokens", max))
}
