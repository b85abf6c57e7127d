//! Measures the cost of a global limit for a call, against a local limit of the same resource.
//!
//! In: an upstream. Out, to standard output: the rows of other calls for three Envoys, measured in
//! turns: the limit is local; it is global and leased; it is global and every call asks. The rate
//! limit service is the tests' scripted one, in this process, on loopback: it shares the machine's
//! cores and answers sooner than one over a network. Not here: the network's share, one round trip
//! for each call that asks.

use core::time::Duration;

use tokio::runtime::Runtime;
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use tollgate_rig::rate_limits::{Limit, ScriptedService};

use crate::sides::{Side, head, line, round};
use crate::upstream::Upstream;
use crate::{alone, calls, configuration, first_calls};

/// The name on the command line.
pub(crate) const NAME: &str = "global limits";

/// A fifth limit, local or global. The timeout is long, because a call decided without an answer
/// would spoil the measurement.
const SIDES: [(&str, &str, &str); 3] = [
    ("local", "algorithm: fixed_window", ""),
    (
        "leased",
        "scope: global",
        "global: { cluster: ratelimit, timeout: 5s, lease: { share: 0.02, at_least: 1000 } }",
    ),
    ("asked", "scope: global", "global: { cluster: ratelimit, timeout: 5s }"),
];

pub(crate) fn measure(runtime: &Runtime, upstream: &Upstream) {
    let _inside = runtime.enter();
    let limit = Limit::new("free/day", MAX, Duration::from_secs(24 * 3_600));
    let service = ScriptedService::start([limit]);
    let bootstraps = SIDES.map(|(name, kept, global)| {
        let day = format!("{{ name: day, count: tokens, per: tenant, max: {MAX}, window: 1d, {kept} }}");
        let bootstrap = Bootstrap::to(upstream.address).grpc_cluster("ratelimit", service.address());
        (name, bootstrap.own_process().filter(Filter::json(&configuration(global, "", &day))))
    });
    let sides = Side::start(runtime, bootstraps.into());
    let sides: Vec<_> = sides.iter().collect();
    head(NAME, &sides);
    let conversation = alone(1 << 10);
    round(0, &sides, &mut |envoy| first_calls(envoy, &conversation));
    calls("a fifth limit", &conversation, &sides);
    let requests = sides.iter().map(|side| {
        let made = side.envoys().iter().map(|envoy| requests_per_call(runtime, envoy));
        format!("{:.4}", made.sum::<f64>() / side.envoys().len() as f64)
    });
    line("requests to the service per call", &requests.collect::<Vec<_>>());
}

fn requests_per_call(runtime: &Runtime, envoy: &Envoy) -> f64 {
    let metrics = runtime.block_on(envoy.metrics());
    let total = |prefix: &str| {
        let named = metrics.samples.iter().filter(|sample| sample.name.contains(prefix));
        // Start at 0.0, because the sum of no floats is -0.0.
        named.map(|sample| sample.value).fold(0.0, |sum, value| sum + value)
    };
    assert_eq!(total("tollgate_global_failures_total"), 0.0, "all requests are answered");
    total("tollgate_global_requests_total") / metrics.sum("envoy_http_downstream_rq_completed", &[]).max(1.0)
}

/// The most that the service can count.
const MAX: u32 = u32::MAX;
