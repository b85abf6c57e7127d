//! Leases of two Envoys: how few requests they need, and how close to the budget they end.

use tollgate_rig::load::Load;

use super::{DECISIONS, Fleet, PLENTY, REQUESTS, admitted, budgets, call_of};

/// Leases of 2 % of the remaining budget for each process.
const LEASE: &str = ", lease: { share: 0.02, at_least: 500 }";

/// A budget whose leases are at most 2,000 tokens: three or four calls for each client of an Envoy.
const TOKENS: u64 = 100_000;
const LARGEST_LEASE: u64 = 2_000;

const OF_CALL: u64 = 50;

/// A larger call, and fewer clients at one Envoy than a lease has calls, for tests that check the
/// remainder to the call.
const OF_LARGE_CALL: u64 = 100;
const FEW: usize = 16;

impl Fleet {
    /// Makes calls at an Envoy until a lease decides one. Returns their number.
    async fn call_until_leased(&self, envoy: usize, tokens: u64) -> u64 {
        let leased = async || self.envoys[envoy].metrics().await.sum(DECISIONS, &[("kind", "leased")]);
        let mut calls = 0;
        while leased().await == 0.0 {
            assert_eq!(self.call(envoy, call_of("ada", tokens)).await.0, 200);
            calls += 1;
        }
        calls
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_envoys_spend_one_budget_from_leases_and_no_more() {
    let fleet = Fleet::start(&budgets(TOKENS, PLENTY, LEASE), &[]).await;

    let outcomes = fleet.load().calls(40).run(|_, _| call_of("ada", OF_CALL)).await;

    let used = admitted(&outcomes) * OF_CALL;
    assert!((TOKENS - 2 * LARGEST_LEASE..=TOKENS).contains(&used), "{used}");
    let spent = fleet.spent("tpd", "ada");
    assert!((used..=TOKENS).contains(&spent), "{used} used of {spent}");
    let leased = fleet.sum(DECISIONS, &[("kind", "leased")]).await;
    assert!(leased > admitted(&outcomes) / 4, "{leased} calls of {} asked nothing", admitted(&outcomes));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_envoy_leaves_unspent_is_no_more_than_its_share() {
    let fleet = Fleet::start(&budgets(TOKENS, PLENTY, LEASE), &[]).await;

    // The lease has just been renewed.
    let mut calls = fleet.call_until_leased(0, OF_LARGE_CALL).await;
    let (mut leases, mut spent) = (0, fleet.spent("tpd", "ada"));
    while leases < 2 {
        assert_eq!(fleet.call(0, call_of("ada", OF_LARGE_CALL)).await.0, 200);
        calls += 1;
        let now = fleet.spent("tpd", "ada");
        leases += u32::from(now > spent);
        spent = now;
    }
    let first = calls * OF_LARGE_CALL;
    let others = Load::on([fleet.envoys[1].address()]).clients(FEW).calls(80);
    let used = first + admitted(&others.run(|_, _| call_of("ada", OF_LARGE_CALL)).await) * OF_LARGE_CALL;

    assert!((TOKENS - LARGEST_LEASE - OF_LARGE_CALL..TOKENS).contains(&used), "{used}");
    // The first Envoy can still spend its lease, to the last call that fits, without a request to
    // the service.
    let (before, asked) = (fleet.spent("tpd", "ada"), fleet.sum(REQUESTS, &[]).await);
    let left = TOKENS - used;
    let mut calls = 0;
    while fleet.call(0, call_of("ada", OF_LARGE_CALL)).await.0 == 200 {
        calls += 1;
    }
    // Both leases and the service may each have less left than a call needs.
    assert!(
        (left - 3 * OF_LARGE_CALL..=left).contains(&(calls * OF_LARGE_CALL)),
        "{calls} calls of {left} tokens"
    );
    assert_eq!(fleet.spent("tpd", "ada"), before);
    // The exceptions are the last lease, and the call that did not fit.
    assert!(fleet.sum(REQUESTS, &[]).await <= asked + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_steady_load_the_service_sees_less_than_a_fiftieth_of_the_calls() {
    let fleet = Fleet::start(&budgets(20 * TOKENS, PLENTY, LEASE), &[]).await;
    for envoy in [0, 1] {
        fleet.call_until_leased(envoy, OF_CALL).await;
    }
    let before = fleet.sum(REQUESTS, &[]).await;

    let outcomes = fleet.load().calls(60).run(|_, _| call_of("ada", OF_CALL)).await;

    let calls = outcomes.0.len() as u64;
    assert_eq!(admitted(&outcomes), calls);
    let asked = fleet.sum(REQUESTS, &[]).await - before;
    assert!((1..=calls / 50).contains(&asked), "{asked} requests for {calls} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn protocols_that_look_spend_one_budget_and_no_more_from_leases() {
    for protocol in ["check_then_report", "kuadrant"] {
        let options = [LEASE, ", protocol: ", protocol].concat();
        let fleet = Fleet::start(&budgets(TOKENS, PLENTY, &options), &[]).await;

        let outcomes = fleet.load().calls(40).run(|_, _| call_of("ada", OF_CALL)).await;

        let used = admitted(&outcomes) * OF_CALL;
        assert!((TOKENS - 2 * LARGEST_LEASE..=TOKENS).contains(&used), "{protocol}: {used}");
        let spent = fleet.spent("tpd", "ada");
        assert!((used..=TOKENS).contains(&spent), "{protocol}: {used} used of {spent}");
        let leased = fleet.sum(DECISIONS, &[("kind", "leased")]).await;
        assert!(leased > admitted(&outcomes) / 4, "{protocol}: {leased} calls asked nothing");
    }
}

/// Makes waves of calls, each after the previous one has ended. Returns their usage.
async fn in_waves(fleet: &Fleet, clients: usize, waves: usize, of_call: u64) -> u64 {
    let mut used = 0;
    for _ in 0..waves {
        let load = fleet.load().clients(clients).calls(1);
        used += admitted(&load.run(move |_, _| call_of("ada", of_call)).await) * of_call;
    }
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_waves_spend_exactly_one_small_budget() {
    for (clients, waves) in [(64, 3), (16, 12)] {
        let options = ", protocol: kuadrant, lease: {}";
        let fleet = Fleet::start(&budgets(2_700, PLENTY, options), &[]).await;

        assert_eq!(in_waves(&fleet, clients, waves, 27).await, 2_700, "waves of {clients}");

        assert_eq!(fleet.spent("tpd", "ada"), 2_700);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_waves_spend_a_budget_with_leases_and_no_more() {
    const BUDGET: u64 = 27_000;
    const OF_WAVE: u64 = 270;
    let fleet = Fleet::start(&budgets(BUDGET, PLENTY, ", protocol: kuadrant, lease: {}"), &[]).await;

    let used = in_waves(&fleet, 64, 4, OF_WAVE).await;

    // The service and either lease may each have less left than a call needs.
    assert!((BUDGET - 3 * OF_WAVE..=BUDGET).contains(&used), "{used}");
    assert!(fleet.sum(DECISIONS, &[("kind", "leased")]).await > 0, "no call was decided by a lease");
}
