//! Measures the cost of each degradation and of other features for a call, against an Envoy that
//! differs only in that feature.
//!
//! In: an upstream. Out, to standard output: a row of Envoy's CPU time per call for each, and the
//! rows of streams for stopping them. One row configures all features for another tier, which shows
//! their cost to callers without them. Not here: comparing builds; the waits of queued calls.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::{Bootstrap, Filter};

use crate::load::{Call, NO_NUMBER};
use crate::sides::{Side, head, round, rounds, row};
use crate::upstream::Upstream;
use crate::{CHUNKS, alone, busy, configuration, first_calls, streams, yaml};

/// The name on the command line.
pub(crate) const NAME: &str = "softer answers";

/// A pair of configurations.
struct Pair {
    name: &'static str,
    /// The second configuration's additions: outside the tiers, in its callers' tier, and in
    /// another one.
    top: &'static str,
    tier: &'static str,
    other: &'static str,
    /// A fifth limit of the first configuration, and of the second.
    limits: [&'static str; 2],
    calls: fn() -> Vec<Call>,
}

/// A pair without any feature.
const PLAIN: Pair =
    Pair { name: "", top: "", tier: "", other: "", limits: [""; 2], calls: || alone(1 << 10) };

const PAIRS: &[Pair] = &[
    Pair { name: "nothing: how far two alike are apart", ..PLAIN },
    Pair { name: "all that a tier can have, for other callers", other: EVERYTHING, ..PLAIN },
    Pair {
        name: "calls in flight",
        limits: ["", "{ name: flight, count: concurrent_requests, per: tenant, max: 1000 }"],
        ..PLAIN
    },
    Pair { name: "soften, not reached", tier: "soften: [ { at: 1, max_output_tokens: 100 } ]", ..PLAIN },
    Pair {
        name: "soften, another model and max_tokens",
        tier: "soften: [ { at: 0, model: { gpt-4o-mini: gpt-4o-nano }, max_output_tokens: 100 } ]",
        ..PLAIN
    },
    Pair { name: "clamp_output, not needed", tier: "clamp_output: true", ..PLAIN },
    Pair {
        name: "clamp_output, max_tokens lowered",
        tier: "clamp_output: true",
        // A budget for each call, which is soon forgotten. Both warn.
        limits: [
            "{ name: each, count: tokens, per: workflow, max: 1000, window: 1s, warn_at: 0.5 }",
            "{ name: each, count: tokens, per: workflow, max: 400,  window: 1s, warn_at: 0.5 }",
        ],
        calls: bounded,
        ..PLAIN
    },
    Pair { name: "wait, not needed", tier: "wait: { max_wait: 5s }", ..PLAIN },
    Pair { name: "a tool's limit, ten tools offered", limits: ["", TOOL], calls: tools, ..PLAIN },
    Pair { name: "a tool's limit, that tool hidden", limits: ["", TOOL_SPENT], calls: tools, ..PLAIN },
    Pair {
        name: "once_per, ten calls of a workflow",
        limits: [
            "{ name: prompts, count: requests, per: tenant, max: 1_000_000_000, window: 1h }",
            "{ name: prompts, count: requests, per: tenant, max: 1_000_000_000, window: 1h, once_per: workflow }",
        ],
        calls: workflow,
        ..PLAIN
    },
    Pair {
        name: "tokens declared, ten calls of a workflow",
        top: "workflows: { dimension: workflow, reserve_up_to: 100_000 }",
        calls: declared,
        ..PLAIN
    },
    Pair { name: "busy upstreams remembered", top: "upstreams: {}", ..PLAIN },
    Pair {
        name: "a limit per upstream that adapts",
        limits: [
            "{ name: theirs, count: requests, per: [upstream, model], max: 1_000_000_000, window: 1h }",
            "{ name: theirs, count: requests, per: [upstream, model], max: 1_000_000_000, window: 1h, adaptive: true }",
        ],
        ..PLAIN
    },
];

/// A pair whose streams are measured.
const STOPPING: Pair =
    Pair { name: "streams.stop_at_limit, not reached", top: "streams: { stop_at_limit: true }", ..PLAIN };

const EVERYTHING: &str = "
    soften: [ { at: 0.5, model: { gpt-4o: gpt-4o-mini }, max_output_tokens: 100 } ]
    clamp_output: true
    wait: { max_wait: 5s }
    limits:
    - { name: flight,  count: concurrent_requests, per: tenant, max: 10 }
    - { name: prompts, count: requests, per: tenant, max: 100, window: 1h, once_per: workflow }
    - { name: theirs,  count: tokens, per: [upstream, model], max: 1_000_000, window: 1m, adaptive: true }
    - { name: mails,   count: tool_calls, tools: send_mail, per: tenant, max: 1, window: 1h }
    - { name: speech,  count: characters, per: tenant, max: 1_000_000, window: 1h }";

const TOOL: &str = "{ name: mails, count: tool_calls, tools: send_mail_0, max: 1_000_000, window: 1h }";
const TOOL_SPENT: &str = "{ name: mails, count: tool_calls, tools: send_mail_0, max: 1, window: 1d }";

/// Prints a row for each pair whose name is wanted.
pub(crate) fn measure(runtime: &Runtime, upstream: &Upstream, wants: &dyn Fn(&str) -> bool) {
    let wants = |name: &str| wants(NAME) || wants(name);
    let pairs: Vec<_> = PAIRS.iter().filter(|pair| wants(pair.name)).collect();
    if pairs.is_empty() && !wants(STOPPING.name) {
        return;
    }
    // Most pairs have the same first configuration, and share its Envoys.
    let without = PLAIN.start(runtime, upstream, false);
    for (at, pair) in pairs.into_iter().enumerate() {
        let own = (!pair.limits[0].is_empty()).then(|| pair.start(runtime, upstream, false));
        let with = pair.start(runtime, upstream, true);
        let sides = [own.as_ref().unwrap_or(&without), &with];
        if at == 0 {
            head(&format!("{NAME}; CPU time per call, us"), &sides);
        }
        let conversation = (pair.calls)();
        row(pair.name, &rounds(&sides, |envoy| busy(envoy, &conversation)), 0, 1);
    }
    if wants(STOPPING.name) {
        let with = STOPPING.start(runtime, upstream, true);
        let sides = [&without, &with];
        head(STOPPING.name, &sides);
        streams(CHUNKS, &sides, upstream);
    }
}

impl Pair {
    /// Starts the Envoys of one of the configurations, and makes their first calls.
    fn start(&self, runtime: &Runtime, upstream: &Upstream, second: bool) -> Side {
        let filter = Filter::json(&self.configuration(second));
        let bootstrap = Bootstrap::to(upstream.address).own_process().filter(filter);
        let name = if second { "with" } else { "without" };
        let side = Side::start(runtime, vec![(name, bootstrap)]).remove(0);
        for envoy in side.envoys() {
            // Exhaust the limit on a tool, which is for a single call, if the configuration has
            // one.
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_mail_0"}}"#;
            let request = Request::post("/mcp").header("content-length", body.len().to_string()).body(body);
            runtime.block_on(client::send(envoy.address(), request)).expect("an answer");
        }
        let conversation = (self.calls)();
        round(0, &[&side], &mut |envoy| first_calls(envoy, &conversation));
        side
    }

    fn configuration(&self, second: bool) -> Value {
        let [limit, other] = self.limits;
        let (limit, top, tier) = if second { (other, self.top, self.tier) } else { (limit, "", "") };
        let mut whole = configuration(top, tier, limit);
        whole["identity"]["workflow"] = json!({ "header": "x-workflow-id" });
        whole["identity"]["tier"] = json!({ "header": "x-tier", "default": "free" });
        let is_empty = !second || self.other.is_empty();
        whole["tiers"]["others"] = if is_empty { json!({ "limits": [] }) } else { yaml(self.other) };
        // Hold the whole bound of a call.
        whole["counting"] = json!({ "output_reserve": { "at_most": 1 } });
        whole
    }
}

/// Returns calls with a budget of their own each.
fn bounded() -> Vec<Call> {
    let headers = format!("x-workflow-id: {NO_NUMBER}\r\n");
    vec![Call::new("\"max_tokens\":512,", &headers, &[1 << 10])]
}

fn tools() -> Vec<Call> {
    let tool = |number| {
        format!(
            r#"{{"type":"function","function":{{"name":"send_mail_{number}","description":"Sends an e-mail to a customer.","parameters":{{"type":"object","properties":{{"to":{{"type":"string"}},"subject":{{"type":"string"}},"body":{{"type":"string"}}}},"required":["to"]}}}}}}"#
        )
    };
    let tools: Vec<String> = (0..10).map(tool).collect();
    vec![Call::new(&format!("\"tools\":[{}],", tools.join(",")), "", &[1 << 10])]
}

/// Returns calls that form a new workflow each time.
fn workflow() -> Vec<Call> {
    let headers = format!("x-workflow-id: {NO_NUMBER}\r\n");
    vec![Call::new("", &headers, &[1 << 10]); 10]
}

fn declared() -> Vec<Call> {
    let headers = format!("x-workflow-id: {NO_NUMBER}\r\nx-tollgate-reserve-tokens: 10000\r\n");
    let mut calls = workflow();
    calls[0] = Call::new("", &headers, &[1 << 10]);
    calls
}
