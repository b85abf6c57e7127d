//! One budget of two Envoys, by each protocol: the admitted calls, and the service's count
//! afterwards.

use serde_json::json;
use tollgate_rig::client::Request;
use tollgate_rig::load::Outcomes;

use super::{CLIENTS, Fleet, budgets, call_of};
use crate::bench::chat_with;
use crate::probe::INPUT;

/// The budgets of each tenant.
const TOKENS: u64 = 3_000;
const CALLS: u64 = 50;

/// The tokens of each call. `talker` exhausts his tokens before his requests, `caller` her requests
/// before her tokens.
const OF_TALKER: u64 = 100;
const OF_CALLER: u64 = 11;

/// The amount by which admitted calls may exceed a budget.
enum Promise {
    /// Not at all: the last admitted call fits.
    Exact,
    /// By the calls in flight at the same time.
    ThoseAtOnce,
}

/// The tokens that calls use which hold 30 each, alternating between the Envoys.
const USES: [u64; 6] = [30, 25, 50, 40, 20, 30];

/// The service's count for them: the usage; the larger of usage and hold for each call; or the
/// usage and the 10 unused tokens of the last call but one, which stay at its Envoy.
const USED: u64 = 195;
const HELD_OR_USED: u64 = 210;
const USED_OR_KEPT: u64 = 205;

/// Loads two Envoys with calls of two tenants from 64 clients, then makes single calls that use
/// more and less than they hold.
async fn share_one_budget(protocol: &str, options: &[&str], promise: Promise, counted: u64) {
    let fleet = Fleet::start(&budgets(TOKENS, CALLS, protocol), options).await;

    let outcomes = fleet.load().calls(5).run(at_the_same_time).await;

    let (of_talker, of_caller) = (admitted(&outcomes, talks), admitted(&outcomes, |client| !talks(client)));
    let (whole_of_talker, whole_of_caller) = (TOKENS / OF_TALKER, CALLS);
    match promise {
        Promise::Exact => assert_eq!((of_talker, of_caller), (whole_of_talker, whole_of_caller)),
        Promise::ThoseAtOnce => {
            // Each client has one call in flight, and the report of one ended call may still be on
            // its way.
            let at_once = CLIENTS as u64 / 2 * 2;
            assert!((whole_of_talker..=whole_of_talker + at_once).contains(&of_talker), "{of_talker}");
            assert!((whole_of_caller..=whole_of_caller + at_once).contains(&of_caller), "{of_caller}");
        }
    }
    if !options.contains(&"--charge-over") || matches!(promise, Promise::ThoseAtOnce) {
        settle(&fleet, of_talker, of_caller).await;
    }
    for envoy in [0, 1] {
        for request in [call_of("talker", OF_TALKER), call_of("caller", OF_CALLER)] {
            let (status, retry_after) = fleet.call(envoy, request).await;
            let retry_after = retry_after.expect("a refusal says how long to wait");
            // The rest of the day, and up to a tenth of jitter.
            assert!((80_000..=95_040).contains(&retry_after), "{retry_after}");
            assert_eq!(status, 429);
        }
    }

    for (number, used) in USES.into_iter().enumerate() {
        let (status, _) = fleet.call(number % 2, holding_30("ada", used)).await;
        assert_eq!(status, 200);
    }
    fleet.wait_for_spent("tpd", "ada", counted).await;
    fleet.wait_for_spent("rpd", "ada", 6).await;
    assert_eq!(fleet.sum("tollgate_global_failures_total", &[]).await, 0);
    assert_eq!(fleet.sum("tollgate_global_reports_total", &[]).await, 0);
    assert_eq!(fleet.sum("tollgate_global_unknown_total", &[]).await, 0);
}

/// Waits until the service's count equals the usage.
async fn settle(fleet: &Fleet, of_talker: u64, of_caller: u64) {
    fleet.wait_for_spent("tpd", "talker", of_talker * OF_TALKER).await;
    fleet.wait_for_spent("rpd", "talker", of_talker).await;
    fleet.wait_for_spent("tpd", "caller", of_caller * OF_CALLER).await;
    fleet.wait_for_spent("rpd", "caller", of_caller).await;
}

/// Returns a client's call; half of the clients at each Envoy are talkers. An answer takes as long
/// as the report of the previous call.
fn at_the_same_time(client: usize, _: usize) -> Request {
    let request = if talks(client) { call_of("talker", OF_TALKER) } else { call_of("caller", OF_CALLER) };
    request.header("x-mock-delay-ms", "30")
}

const fn talks(client: usize) -> bool {
    (client / 4).is_multiple_of(2)
}

fn admitted(outcomes: &Outcomes, client: impl Fn(usize) -> bool) -> u64 {
    super::admitted(&Outcomes(outcomes.0.iter().filter(|outcome| client(outcome.client)).cloned().collect()))
}

/// Returns a call that holds 30 tokens and whose answer reports `used`.
fn holding_30(tenant: &str, used: u64) -> Request {
    let usage = json!({ "prompt_tokens": INPUT, "completion_tokens": used - INPUT, "total_tokens": used });
    chat_with(tenant, json!({ "max_tokens": 30 - INPUT })).header("x-mock-usage", usage.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_with_the_amount_lets_in_exactly_one_budget() {
    share_one_budget("", &[], Promise::Exact, HELD_OR_USED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_with_the_amount_lets_in_exactly_one_budget_where_refused_calls_are_charged_too() {
    share_one_budget("", &["--charge-over"], Promise::Exact, HELD_OR_USED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_refunds_exactly_what_was_used_is_counted() {
    share_one_budget(", refunds: true", &[], Promise::Exact, USED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_request_for_each_limit_exactly_one_budget_is_let_in_and_refused_calls_charge_nothing() {
    share_one_budget(", hits_addend: request", &[], Promise::Exact, USED_OR_KEPT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_first_counts_exactly_what_was_used_and_lets_in_those_who_come_at_once() {
    let protocol = ", protocol: check_then_report";
    share_one_budget(protocol, &["--charge-over"], Promise::ThoseAtOnce, USED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kuadrants_methods_count_exactly_what_was_used_and_let_in_those_who_come_at_once() {
    share_one_budget(", protocol: kuadrant", &[], Promise::ThoseAtOnce, USED).await;
}
