//! What a global limit costs a call, beside a local limit that counts the same.
//!
//! In: an upstream. Out, to standard output: the rows of other calls for three Envoys, which are
//! measured in turns: the limit is local, it is global and leased, it is global and every call
//! asks. The rate limit service is the scripted one of the tests, in this process, on loopback: it
//! shares the machine's cores, and answers sooner than one over a network does. Not here: what a
//! network adds, which is a round trip for each call that asks.

use core::time::Duration;

use tokio::runtime::Runtime;
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use tollgate_rig::rate_limits::{Limit, ScriptedService};

use crate::load::Call;
use crate::upstream::Upstream;
use crate::{FILTER, calls};

/// What this is called on the command line.
pub(crate) const NAME: &str = "global limits";

/// A fifth limit, and where it is kept. Nobody waits for a deadline here: on a machine as busy as
/// this a call that is decided without an answer would be one that is not measured.
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
            // Begun with 0.0: the sum of no floats is -0.0.
            named.map(|sample| sample.value).fold(0.0, |sum, value| sum + value)
        };
        assert_eq!(total("tollgate_global_failures_total"), 0.0, "all requests are answered");
        let calls = sum("envoy_http_downstream_rq_completed").max(1.0);
        line += &format!("{:>12.4}", total("tollgate_global_requests_total") / calls);
    }
    println!("{line}");
}

/// As many as the service can count.
const MAX: u32 = u32::MAX;
