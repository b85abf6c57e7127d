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

use crate::load::Call;
use crate::upstream::Upstream;
use crate::{FILTER, calls};

/// The name on the command line.
pub(crate) const NAME: &str = "global limits";

/// A fifth limit, local or global. The timeout is long, because a call decided without an answer
/// would spoil the measurement.
const SIDES: [(&str, &str); 3] = [
    ("algorithm: fixed_window", ""),
    ("scope: global", "global: { cluster: ratelimit, timeout: 5s, lease: { share: 0.02, at_least: 1000 } }"),
    ("scope: global", "global: { cluster: ratelimit, timeout: 5s }"),
];

pub(crate) fn measure(runtime: &Runtime, upstream: &Upstream) {
    let _inside = runtime.enter();
    let limit = Limit::new("free/day", MAX, Duration::from_secs(24 * 3_600));
    let service = ScriptedService::start([limit]);
    let envoys = SIDES.map(|(kept, global)| {
        let day = format!(
            "    - {{ name: day, count: tokens, per: tenant, max: {MAX}, window: 1d, {kept} }}\nprices:"
        );
        let filter = Filter::yaml(&format!("{global}{}", FILTER.replace("prices:", &day)));
        let bootstrap = Bootstrap::to(upstream.address).grpc_cluster("ratelimit", service.address());
        runtime.block_on(Envoy::start(bootstrap.concurrency(1).own_process().filter(filter)))
    });
    println!("\n{:46}{:>12}{:>12}{:>12}{:>9}{:>9}", NAME, "local", "leased", "asked", "ratio", "ratio");
    calls("1 KiB prompts, all distinct; a fifth limit", &[Call::new("", "", &[1 << 10])], &envoys);

    let mut line = format!("{:46}", "  requests to the service per call");
    for envoy in &envoys {
        let metrics = runtime.block_on(envoy.metrics());
        let sum = |name| metrics.sum(name, &[]);
        let total = |prefix: &str| {
            let named = metrics.samples.iter().filter(|sample| sample.name.contains(prefix));
            // Start at 0.0, because the sum of no floats is -0.0.
            named.map(|sample| sample.value).fold(0.0, |sum, value| sum + value)
        };
        assert_eq!(total("tollgate_global_failures_total"), 0.0, "all requests are answered");
        let calls = sum("envoy_http_downstream_rq_completed").max(1.0);
        line += &format!("{:>12.4}", total("tollgate_global_requests_total") / calls);
    }
    println!("{line}");
}

/// The most that the service can count.
const MAX: u32 = u32::MAX;
