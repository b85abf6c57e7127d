//! One of the Envoys gets another configuration while both are called.

use tollgate_rig::upstream::Signal;

use super::{CLIENTS, DECISIONS, Fleet, PLENTY, admitted, budgets, call_of};

const TOKENS: u64 = 60_000;
const OF_CALL: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_one_envoy_leaves_the_budget_as_it_is() {
    let before = budgets(TOKENS, PLENTY, "");
    let fleet = Fleet::start(&before, &[]).await;
    let done = Signal::new();
    let load = fleet.load().until(&done);
    let calls = tokio::spawn(async move { load.run(|_, _| call_of("ada", OF_CALL)).await });
    fleet.wait_for_sum(DECISIONS, &[("kind", "asked")], |asked| asked >= CLIENTS as u64).await;

    let after = budgets(TOKENS, PLENTY, ", timeout: 9s").replace("timeout: 10s, ", "");
    assert_ne!(after, before);
    assert!(fleet.reload(0, &after).await);
    let of_new_clients = fleet.load().calls(15).run(|_, _| call_of("ada", OF_CALL)).await;
    done.fire();

    let of_old_clients = calls.await.unwrap();
    assert_eq!((admitted(&of_old_clients) + admitted(&of_new_clients)) * OF_CALL, TOKENS);
    assert_eq!(fleet.spent("tpd", "ada"), TOKENS);
}
