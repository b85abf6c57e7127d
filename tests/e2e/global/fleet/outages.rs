//! Outages: a test kills the service, or its Redis, and restarts it while 64 clients call.
//!
//! In: a fleet under load. Out: nothing. A load fails the test if a call hangs or breaks, and
//! [`admitted`] fails it on any status but 200 and 429.

use tokio::time::Instant;
use tollgate_rig::load::{Outcome, Outcomes};
use tollgate_rig::upstream::Signal;

use super::{CLIENTS, DECISIONS, Fleet, PLENTY, admitted, budgets, call_of};

const BREAKER: &str = "tollgate_global_breaker_total";
const REPORTS: &str = "tollgate_global_reports_total";

const OF_CALL: u64 = 100;

/// More than the calls of these tests spend.
const TOKENS: u64 = 10_000_000;

/// The share of [`TOKENS`] that `local_share` gives each Envoy.
const LOCAL: u64 = 10_000;

/// Returns a configuration in which a worker stops asking after `failures` failures in a row.
fn configuration(on_failure: &str, failures: u32) -> String {
    let outage = format!(", on_failure: {on_failure}, local_share: 0.001");
    budgets(TOKENS, PLENTY, &format!("{outage}, breaker: {{ failures: {failures}, probe_every: 500ms }}"))
}

/// The process that a test kills.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Service,
    Redis,
}

impl Fleet {
    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Service => self.service.kill(),
            Victim::Redis => self.redis.kill(),
        }
    }

    async fn restart(&mut self, victim: Victim) {
        match victim {
            Victim::Service => self.service.restart().await,
            Victim::Redis => self.redis.restart(),
        }
    }

    /// Waits until every worker asks again, and the service decides calls.
    async fn wait_until_decided_again(&self) {
        for envoy in &self.envoys {
            let asked = [("kind", "asked")];
            let before = envoy.metrics_so_far().await.sum(DECISIONS, &asked);
            envoy
                .wait_for_metrics(|metrics| {
                    let changes = |kind| metrics.sum(BREAKER, &[("kind", kind)]);
                    changes("opened") > 0.0
                        && changes("opened") == changes("closed")
                        && metrics.sum(DECISIONS, &asked) > before
                })
                .await;
        }
    }
}

/// Returns the tokens used by the calls of some of the outcomes.
fn used(outcomes: &Outcomes, which: impl Fn(&Outcome) -> bool) -> u64 {
    admitted(&Outcomes(outcomes.0.iter().filter(|outcome| which(outcome)).cloned().collect())) * OF_CALL
}

/// Kills the victim under load: each Envoy decides by its local share, and the service decides as
/// soon as it is back.
async fn outage_under_load(victim: Victim) {
    let mut fleet = Fleet::start(&configuration("local", 3), &[]).await;
    let done = Signal::new();
    let calls = fleet.calls_until(&done, OF_CALL);
    fleet.wait_for_sum(DECISIONS, &[("kind", "asked")], |asked| asked >= 2 * CLIENTS as u64).await;

    fleet.kill(victim);
    let gone = Instant::now().into_std();
    for envoy in &fleet.envoys {
        envoy.wait_for_metrics(|metrics| metrics.sum("tollgate_refusals_total", &[]) > 0.0).await;
    }
    let comes = Instant::now().into_std();
    fleet.restart(victim).await;
    let back = Instant::now();
    fleet.wait_until_decided_again().await;
    let recovered_in = back.elapsed();
    done.fire();

    let outcomes = calls.await.unwrap();
    let meanwhile = |outcome: &Outcome| outcome.started > gone && outcome.started + outcome.to_end < comes;
    let in_outage = used(&outcomes, meanwhile);
    assert!((1..=2 * LOCAL).contains(&in_outage), "{in_outage}");
    // Half a second until the next probe, and a margin for a busy machine.
    assert!(recovered_in.as_millis() < 500 + 1_500, "{recovered_in:?}");
    assert_eq!(fleet.sum(REPORTS, &[("kind", "dropped")]).await, 0);
    // The service counts a charge twice if the kill lost its answer.
    let all = used(&outcomes, |_| true);
    let kept = if victim == Victim::Redis { used(&outcomes, |outcome| outcome.started > gone) } else { all };
    let spent = fleet.wait_until_spent("tpd", "ada", |spent| spent >= kept).await;
    assert!(spent <= all + CLIENTS as u64 * OF_CALL, "{spent} counted, {all} used");
}

/// Kills the victim without requests in flight and restarts it under load. Afterwards the count
/// equals the usage, to the token.
async fn outage_in_which_everything_passes(victim: Victim) {
    // Late enough that some reports fail and the filter has to repeat them.
    let mut fleet = Fleet::start(&configuration("allow", 50), &[]).await;
    let before = used(&fleet.load().calls(3).run(|_, _| call_of("ada", OF_CALL)).await, |_| true);
    fleet.wait_for_spent("tpd", "ada", before).await;

    fleet.kill(victim);
    let done = Signal::new();
    let calls = fleet.calls_until(&done, OF_CALL);
    // More than the local share would admit.
    let many = 3 * LOCAL / OF_CALL;
    fleet.wait_for_sum(DECISIONS, &[("kind", "allow")], |allowed| allowed >= many).await;
    fleet.wait_for_sum(REPORTS, &[("kind", "retried")], |retried| retried > 0).await;
    fleet.restart(victim).await;
    fleet.wait_until_decided_again().await;
    done.fire();

    let outcomes = calls.await.unwrap();
    assert_eq!(outcomes.count(200), outcomes.0.len(), "{:?}", outcomes.statuses());
    let lost = if victim == Victim::Redis { before } else { 0 };
    let kept = before - lost;
    fleet.wait_for_spent("tpd", "ada", kept + used(&outcomes, |_| true)).await;
    fleet.wait_for_spent("rpd", "ada", kept / OF_CALL + admitted(&outcomes)).await;
    assert_eq!(fleet.sum(REPORTS, &[("kind", "dropped")]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_under_load_is_stood_in_for_and_decides_again_when_it_is_back() {
    outage_under_load(Victim::Service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_killed_under_load_is_stood_in_for_and_counts_again_when_it_is_back() {
    outage_under_load(Victim::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_while_the_service_is_gone_is_told_to_it_afterwards() {
    outage_in_which_everything_passes(Victim::Service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_while_redis_is_gone_is_told_afterwards() {
    outage_in_which_everything_passes(Victim::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_leases_too_what_passes_while_the_service_is_gone_is_told_to_it_afterwards() {
    // At most 10,000 tokens and 1,000 requests of each budget.
    let (tokens, requests, calls_of_lease) = (TOKENS / 20, PLENTY / 20, 10_000 / OF_CALL);
    let options = ", on_failure: allow, lease: { share: 0.02 }, breaker: { failures: 3, probe_every: 500ms }";
    let mut fleet = Fleet::start(&budgets(tokens, requests, options), &[]).await;
    let before = used(&fleet.load().calls(3).run(|_, _| call_of("ada", OF_CALL)).await, |_| true);

    fleet.service.kill();
    let done = Signal::new();
    let calls = fleet.calls_until(&done, OF_CALL);
    // More than both leases would admit.
    let allowed = |calls| calls >= 2 * calls_of_lease;
    fleet.wait_for_sum(DECISIONS, &[("kind", "allow")], allowed).await;
    fleet.service.restart().await;
    let leased = fleet.sum_so_far(DECISIONS, &[("kind", "leased")]).await;
    fleet.wait_for_sum(DECISIONS, &[("kind", "leased")], |calls| calls > leased).await;
    done.fire();

    let outcomes = calls.await.unwrap();
    assert_eq!(outcomes.count(200), outcomes.0.len(), "{:?}", outcomes.statuses());
    let all = before + used(&outcomes, |_| true);
    let spent = fleet.wait_until_spent("tpd", "ada", |spent| spent >= all).await;
    // A lease at each Envoy, and the request that each had in flight at the kill.
    assert!(spent <= all + 2 * 2 * calls_of_lease * OF_CALL, "{spent} counted, {all} used");
    assert_eq!(fleet.sum(REPORTS, &[("kind", "dropped")]).await, 0);
}
