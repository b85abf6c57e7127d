//! One of the Envoys gets another configuration while clients call both.

use tollgate_rig::upstream::Signal;

use super::{CLIENTS, DECISIONS, Fleet, PLENTY, admitted, budgets, call_of};

const TOKENS: u64 = 60_000;
const OF_CALL: u64 = 100;

/// The size limit of a lease.
const LARGEST_LEASE: u64 = TOKENS / 50;

/// Returns the same budgets with this unrelated option of `global`.
fn with(option: &str) -> String {
    budgets(TOKENS, PLENTY, &format!(", {option}"))
}

/// Returns how much of a budget two Envoys admit when one of them reloads in the middle, over old
/// and new connections.
async fn admitted_over_a_reload(before: &str, after: &str) -> u64 {
    let fleet = Fleet::reloadable(&with(before)).await;
    let done = Signal::new();
    let of_old_clients = fleet.calls_until(&done, OF_CALL);
    fleet.wait_for_sum(DECISIONS, &[], |decided| decided >= CLIENTS as u64).await;

    assert!(fleet.reload(0, &with(after)).await);
    let of_new_clients = fleet.load().calls(15).run(|_, _| call_of("ada", OF_CALL)).await;
    done.fire();

    let calls = admitted(&of_old_clients.await.unwrap()) + admitted(&of_new_clients);
    assert!((calls * OF_CALL..=TOKENS).contains(&fleet.spent("tpd", "ada")));
    assert_eq!(fleet.sum("tollgate_global_failures_total", &[]).await, 0);
    calls * OF_CALL
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_one_envoy_leaves_the_budget_as_it_is() {
    assert_eq!(admitted_over_a_reload("local_share: 0.1", "local_share: 0.2").await, TOKENS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_one_envoy_leaves_it_its_lease() {
    let lease = "lease: { share: 0.02, at_least: 500 }";
    let used = admitted_over_a_reload(lease, &format!("local_share: 0.2, {lease}")).await;
    assert!((TOKENS - 2 * LARGEST_LEASE..=TOKENS).contains(&used), "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_wait_for_the_service_outlive_a_reload() {
    let mut fleet = Fleet::reloadable(&with("on_failure: allow")).await;
    fleet.service.kill();
    let outcomes = fleet.load().calls(3).run(|_, _| call_of("ada", OF_CALL)).await;
    assert_eq!(outcomes.count(200), outcomes.0.len(), "{:?}", outcomes.statuses());

    // The filter treats this domain as another service.
    assert!(fleet.reload(0, &with("on_failure: allow, domain: another")).await);
    fleet.service.restart().await;

    fleet.wait_for_spent("tpd", "ada", outcomes.0.len() as u64 * OF_CALL).await;
    assert_eq!(fleet.sum("tollgate_global_reports_total", &[("kind", "dropped")]).await, 0);
}
