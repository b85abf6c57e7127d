//! A budget table that fills up: the filter warns once beforehand, and its refusals name the full
//! table.

use serde_json::{Value, json};
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::Metrics;

use crate::bench::Bench;

/// A configuration in which a first call holds a third of its budget, so that its entry stays for
/// the day.
const SMALL: &str = "
table_size: 256
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: daily, count: requests, per: tenant, max: 3, window: 1d, algorithm: fixed_window } ] } }
";

const TOLD: &str = "places for budgets are taken";

#[tokio::test]
async fn a_flood_that_fills_the_table_is_told_once_and_refusals_by_shared_budgets_say_so() {
    let bench = Bench::start(SMALL).await;
    // Each client has its own connection; every worker serves several of them.
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::http2(bench.envoy.address()).await.unwrap());
    }
    let mut status_of = async |tenant: usize| {
        let request = Request::get("/v1/models").header("x-tenant-id", format!("tenant-{tenant}"));
        clients[tenant % 8].send(request).await.unwrap().status()
    };
    let mut statuses = Vec::new();
    for tenant in 0..100 {
        statuses.push(status_of(tenant).await);
    }
    let places = |kind| [("kind", kind)];
    let taken = |metrics: &Metrics| metrics.sum("tollgate_table_places", &places("taken"));
    // Each caller has a place, or finds those of its set taken and shares one.
    let seen = |metrics: &Metrics| taken(metrics) + metrics.sum("tollgate_overflows_total", &[]);
    let few = bench.envoy.wait_for_metrics(|metrics| seen(metrics) >= 100.0).await;
    assert!(taken(&few) <= 100.0, "{}", taken(&few));
    assert_eq!(few.sum("tollgate_table_places", &places("all")), 256.0);
    assert!(!bench.envoy.log().contains(TOLD), "told too early");
    for tenant in 100..1_200 {
        statuses.push(status_of(tenant).await);
    }

    bench.envoy.wait_for_log(TOLD).await;
    let log = bench.envoy.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains(TOLD)).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("[warning]") && told[0].contains("192 of 256 places"), "{}", told[0]);
    assert!(told[0].contains("Set `table_size: 512`."), "{}", told[0]);
    // Callers without a place share one budget, and the filter refuses them when it is spent; the
    // log says so.
    let refused = statuses.iter().filter(|status| **status == 429).count();
    let refusals = log
        .lines()
        .filter_map(|line| line.split_once("{\"").map(|(_, json)| format!("{{\"{json}")))
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(|line| line["event"] == "refused");
    assert!(refused > 500, "{refused}");
    let shared = refusals.filter(|line| line["shared"] == json!(true)).count();
    assert_eq!(shared, refused);
    let metrics = bench.envoy.metrics().await;
    assert!(metrics.sum("tollgate_overflows_total", &[]) >= refused as f64);
    assert_eq!(metrics.sum("tollgate_evictions_total", &[]), 0.0);
    let taken = metrics.sum("tollgate_table_places", &places("taken"));
    assert!((250.0..=256.0).contains(&taken), "{taken}");
}
