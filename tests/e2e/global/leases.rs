//! Leases: how rarely the filter asks the service with them, and how much callers can spend.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_rig::load::{Load, Outcomes};
use tollgate_rig::rate_limits::{Asked, Limit, Method, ScriptedService};

use super::{call, calls, limits, of, tokens, tpd};
use crate::bench::Bench;

/// Returns options with a lease of a fiftieth, and a timeout that a busy machine does not reach.
fn leased(protocol: &str) -> String {
    format!(", timeout: 10s, protocol: {protocol}, lease: {{ share: 0.02, at_least: 1000 }}")
}

const EACH: u64 = 30;

/// Makes one call, which teaches the filter the budget, and waits for its lease.
async fn first_call(bench: &Bench, service: &ScriptedService) {
    let (response, body) = bench.json(call("ada", EACH, EACH)).await;
    assert_eq!(response.status(), 200, "{body}");
    bench.wait_for_count("tollgate_global_requests_total", &[("kind", "lease")], 1).await;
    service.wait_for_calls(Method::ShouldRateLimit, 2).await;
    // When no request is in flight, the answer has arrived.
    let active = ("envoy_cluster_upstream_rq_active", [("envoy_cluster_name", "ratelimit")]);
    bench.envoy.wait_for_metrics(|metrics| metrics.sum(active.0, &active.1) == 0.0).await;
}

#[tokio::test]
async fn the_first_call_asks_and_those_after_it_spend_its_lease_on_every_worker() {
    let service = ScriptedService::start([tpd(1_000_000)]);
    let bench = Bench::with_service(&tokens(1_000_000, &leased("envoy")), &service).await;
    first_call(&bench, &service).await;
    // A fiftieth of the remainder, rounded up.
    let charged = EACH + 20_000;
    assert_eq!((calls(&service), service.count(&of("ada"))), (2, charged));

    for number in 1..=24 {
        let (response, _) = bench.json(call("ada", EACH, EACH)).await;
        assert_eq!(response.status(), 200);
        let left = 1_000_000 - (number + 1) * EACH;
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some(left.to_string().as_str()));
    }

    assert_eq!((calls(&service), service.count(&of("ada"))), (2, charged));
    assert_eq!((bench.decided("asked").await, bench.decided("leased").await), (1.0, 24.0));
    let metrics = bench.envoy.metrics().await;
    let workers = metrics.matching("envoy_listener_worker_downstream_cx_total", &[]);
    assert!(workers.filter(|worker| worker.value > 0.0).count() > 1, "only one worker was at work");
}

/// Makes this many calls from each of 64 clients.
async fn load(bench: &Bench, each: usize) -> Outcomes {
    Load::on([bench.envoy.address()]).clients(64).calls(each).run(|_, _| call("ada", EACH, EACH)).await
}

/// Checks the requests of a steady load to the service after the first lease.
async fn steady(protocol: &str, service: ScriptedService) {
    let bench = Bench::with_service(&tokens(5_000_000, &leased(protocol)), &service).await;
    first_call(&bench, &service).await;
    let before = calls(&service);

    let outcomes = load(&bench, 50).await;

    assert_eq!(outcomes.count(200), 64 * 50, "{:?}", outcomes.statuses());
    let asked = calls(&service) - before;
    assert!(asked <= outcomes.0.len() / 50, "{asked} requests for {} calls", outcomes.0.len());
    // The charge is the usage, and at most one lease beyond it. The filter renews the first lease
    // once. If an answer takes more than two seconds, another worker asks again.
    let asked = bench.envoy.metrics().await.sum("tollgate_global_requests_total", &[("kind", "lease")]);
    let repeated = (asked as u64).saturating_sub(2);
    let (used, lease) = ((64 * 50 + 1) * EACH, 100_000);
    let charged = service.count(&of("ada"));
    let most = used + lease * (1 + repeated);
    assert!((used..=most).contains(&charged), "{charged} charged, {used} used, {asked} leases");
}

#[tokio::test]
async fn with_envoy_a_steady_load_asks_for_a_fiftieth_of_its_calls_at_most() {
    steady("envoy", ScriptedService::start([tpd(5_000_000)])).await;
}

#[tokio::test]
async fn with_check_then_report_a_steady_load_asks_for_a_fiftieth_of_its_calls_at_most() {
    steady("check_then_report", ScriptedService::start([tpd(5_000_000)])).await;
}

#[tokio::test]
async fn with_kuadrant_a_steady_load_asks_for_a_fiftieth_of_its_calls_at_most() {
    steady("kuadrant", ScriptedService::start([tpd(5_000_000)]).like_limitador()).await;
}

/// Returns the usage of the admitted calls.
fn used(outcomes: &Outcomes) -> u64 {
    outcomes.count(200) as u64 * EACH
}

const BUDGET: u32 = 40_000;

/// Checks that calls spend no more than the budget and hardly less, and that requests to the
/// service stop in the end.
async fn spend_all(protocol: &str, service: ScriptedService) {
    let bench = Bench::with_service(&tokens(BUDGET.into(), &leased(protocol)), &service).await;

    let outcomes = load(&bench, 30).await;

    let used = used(&outcomes);
    assert_eq!(outcomes.count(200) + outcomes.count(429), 64 * 30, "{:?}", outcomes.statuses());
    assert!(used <= BUDGET.into(), "{used} of {BUDGET}");
    // If the service counts refused requests, the last ones leave their amounts unspent: a lease
    // and some calls.
    assert!(used >= u64::from(BUDGET) * 9 / 10, "only {used} of {BUDGET} could be spent");
    // The filter refuses further calls itself, except for one in ten seconds, which may request a
    // lease.
    let asked = calls(&service);
    for _ in 0..20 {
        let (response, problem) = bench.json(call("ada", EACH, EACH)).await;
        assert_eq!(response.status(), 429, "{problem}");
        assert!(response.header("retry-after").is_some());
    }
    assert!(calls(&service) <= asked + 2, "{} requests for 20 calls", calls(&service) - asked);
}

#[tokio::test]
async fn with_envoy_no_more_is_spent_than_the_budget_has_and_in_the_end_nothing_is_asked() {
    spend_all("envoy", ScriptedService::start([tpd(BUDGET)])).await;
}

#[tokio::test]
async fn with_check_then_report_no_more_is_spent_than_the_budget_has_and_in_the_end_nothing_is_asked() {
    spend_all("check_then_report", ScriptedService::start([tpd(BUDGET)])).await;
}

#[tokio::test]
async fn with_kuadrant_no_more_is_spent_than_the_budget_has_and_in_the_end_nothing_is_asked() {
    spend_all("kuadrant", ScriptedService::start([tpd(BUDGET)]).like_limitador()).await;
}

/// The filter spreads a refused crowd over the windows in which it fits, instead of sending all to
/// the next.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the service's windows are those of the real calendar")]
async fn refused_clients_are_told_the_windows_in_which_they_fit() {
    const EACH: u64 = 100;
    const MINUTE: u64 = 60;
    let limit = "{ name: tpm, count: tokens, per: tenant, max: 1000, window: 1m, scope: global }";
    let service = ScriptedService::start([Limit::new("free/tpm", 1_000, Duration::from_secs(MINUTE))]);
    // Early in a minute, whenever the test runs.
    let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % MINUTE;
    service.advance(Duration::from_secs(MINUTE + 5 - second));
    let bench = Bench::with_service(&limits(limit, &leased("envoy")), &service).await;

    let outcomes =
        Load::on([bench.envoy.address()]).clients(64).calls(1).run(|_, _| call("ada", EACH, EACH)).await;

    assert_eq!((outcomes.count(200), outcomes.count(429)), (10, 54));
    let told = |wait: &str| usize::try_from(wait.parse::<u64>().unwrap() / (MINUTE * 1_000)).unwrap();
    let refused = outcomes.0.iter().filter(|outcome| outcome.status == 429);
    let mut windows = [0; 13];
    for outcome in refused {
        windows[told(outcome.headers["retry-after-ms"].to_str().unwrap())] += 1;
    }
    // The filter names each window to no more callers than fit. It may name it to fewer, because it
    // refuses some before it knows how many passed; later callers get later windows.
    for _ in 0..7 {
        let (response, _) = bench.json(call("ada", EACH, EACH)).await;
        windows[told(response.header("retry-after-ms").unwrap())] += 1;
    }
    assert!(windows.iter().all(|callers| *callers <= 10), "{windows:?}");
    assert_eq!(windows.iter().sum::<u32>(), 61);
}

#[tokio::test]
async fn what_a_call_did_not_need_goes_back_to_the_lease() {
    let service = ScriptedService::start([tpd(100_000)]);
    let bench = Bench::with_service(&tokens(100_000, &leased("envoy")), &service).await;
    first_call(&bench, &service).await;
    let charged = service.count(&of("ada"));

    // A lease of 2,000 suffices only if each call gives back its unused tokens.
    for _ in 0..5 {
        let (response, _) = bench.json(call("ada", 900, EACH)).await;
        assert_eq!(response.status(), 200);
    }

    assert_eq!(bench.decided("leased").await, 5.0);
    assert_eq!(service.count(&of("ada")), charged);
}

#[tokio::test]
async fn a_lease_that_is_not_spent_ends_with_its_window() {
    let service = ScriptedService::start([Limit::new("free/tps", 1_000_000, Duration::from_secs(2))]);
    // The service's windows end sooner than the limit's own.
    let tps = "{ name: tps, count: tokens, per: tenant, max: 1_000_000, window: 1m, scope: global }";
    // Half of the budget: far more than the calls spend, so that the filter requests no more before
    // a window ends.
    let half = leased("envoy").replace("share: 0.02", "share: 0.5");
    let bench = Bench::with_service(&limits(tps, &half), &service).await;
    let of_tps = [("tollgate_limit", "free/tps"), ("tenant", "ada")];
    let asks = || service.requests().iter().filter(|asked| asked.hits() == [Some(EACH.into())]).count();
    let leases = |asked: &[Asked]| asked.iter().filter(|asked| asked.hits() == [Some(499_985)]).count();
    assert_eq!(bench.json(call("ada", EACH, EACH)).await.0.status(), 200);
    service.wait_for(|asked| leases(asked) == 1).await;

    // Without a call, the new window begins empty.
    bench.envoy.wait_for_metrics(|_| service.count(&of_tps) == 0).await;
    assert_eq!((asks(), calls(&service)), (1, 2));

    // The window ends here at most a second later, because the service reports its end in whole
    // seconds. Then the filter charges calls anew.
    while asks() < 2 {
        assert_eq!(bench.json(call("ada", EACH, EACH)).await.0.status(), 200);
    }
    service.wait_for(|asked| leases(asked) == 2).await;
}
