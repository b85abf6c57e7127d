//! A whole process, simulated: the exchanges of several workers over one table, interleaved at
//! every load and store, with lost races, traps, reloads, a clock that jumps, floods and evictions.
//!
//! In: plans from a seed. A failing plan shrinks to few calls, and its report names every step.
//! `make test` plays the same plans each time, `make simulate` a million new ones. Not here: the
//! host (`tests/e2e`), budgets at the rate limit service (`src/limits/lease/properties.rs`).

mod ledger;
mod lines;
mod plan;
mod scenario;
mod worker;
mod world;

use lines::Fault;
use plan::{Plan, clock, flood, plans, reload, trap};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use scenario::{LIMITS, SMALL_TABLE, Scenario, WAITING, WORKFLOWS};

/// Returns how many plans to run of each scenario.
fn plans_each() -> u32 {
    std::env::var("PLANS").ok().and_then(|plans| plans.parse().ok()).unwrap_or(10_000) / 4
}

/// Returns a runner that plays the same plans each time, or, for `make simulate`, new ones.
fn runner() -> TestRunner {
    let config = Config { cases: plans_each(), failure_persistence: None, ..Config::default() };
    if std::env::var_os("PLANS").is_some() {
        return TestRunner::new(config);
    }
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn hold(scenario: &Scenario, plans: impl Strategy<Value = Plan>) {
    let run =
        runner().run(&plans, |plan| world::run(&plan, scenario, Fault::None).map_err(TestCaseError::fail));
    if let Err(TestError::Fail(report, plan)) = run {
        panic!("{report}\n{plan:?}");
    }
    run.unwrap();
}

#[test]
fn calls_are_charged_in_all_limits_or_none_and_exactly_what_they_used() {
    hold(&LIMITS, plans(prop_oneof![trap(), reload()]));
}

#[test]
fn a_flood_lets_nobody_pass_beyond_a_limit() {
    let plans = plans(prop_oneof![4 => flood(), 1 => trap()]);
    hold(&SMALL_TABLE, plans.prop_map(Plan::after_first_calls));
}

#[test]
fn waiting_calls_get_what_flows_in_and_keep_their_order() {
    hold(&WAITING, plans(prop_oneof![clock(), trap()]));
}

#[test]
fn calls_of_a_workflow_share_only_what_is_charged() {
    hold(&WORKFLOWS, plans(prop_oneof![trap(), reload()]));
}

/// Returns the number of plans until one shows that the store is broken.
fn plans_until_found(fault: Fault, scenario: &Scenario) -> Option<usize> {
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let plans = plans(trap());
    (0..2_000).find(|_| {
        let plan = plans.new_tree(&mut runner).unwrap().current();
        world::run(&plan, scenario, fault).is_err()
    })
}

#[test]
fn a_broken_store_is_found() {
    for fault in [Fault::IgnoresVersions, Fault::LosesWrites, Fault::WritesAndDenies] {
        for scenario in [&LIMITS, &WORKFLOWS] {
            let found = plans_until_found(fault, scenario);
            assert!(found.is_some(), "{fault:?} was not found");
        }
    }
    assert!(plans_until_found(Fault::IgnoresVersions, &SMALL_TABLE).is_some());
}
