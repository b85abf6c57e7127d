//! Measures the filter's cost: runs Envoys without the filter and with it, in turns, on the same
//! machine.
//!
//! In: `target/tollgate.wasm` and the Envoy in `.venv/`. Out, to standard output: tables in
//! Markdown (`sides`). The sides differ only in the filter. Everything is on loopback, and the load
//! comes from threads of this process, which share the machine's cores with Envoy, so ratios mean
//! more than absolute numbers. `make bench` runs it. Not here: the meaning of the numbers
//! (`docs/performance.md`).
//!
//! `global` measures a global limit against a local one in the same way, and `softer` each other
//! feature against an Envoy without it.
//!
//! `cargo bench --bench envoy -- 'KiB prompts'` runs only the parts with these words in their
//! names. `$BASELINE_WASM` names another build of the filter, which becomes a side of its own, to
//! measure a change.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod global;
mod load;
mod sides;
mod softer;
mod upstream;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use load::{CONNECTIONS, Call, Connection, load};
use serde_json::Value;
use sides::{Side, head, quantile, round, rounds, row};
use tokio::runtime::Runtime;
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use upstream::{EVENTS, STREAM, Upstream};

/// The duration of one measurement of throughput.
const TURN: Duration = Duration::from_millis(300);
/// A worker's first calls, which are measured apart from later ones.
const COLD: u32 = 10_000;
/// Streams per measurement.
const STREAMS: usize = 100;

/// The names of parts on the command line, besides the scenarios'.
const FIRST_CALLS: &str = "cold";
const CHUNKS: &str = "chunks of a stream";
const MEMORY: &str = "memory";

/// Limits on the resources of most calls, too large to refuse any.
const LIMITS: &str = include_str!("../payloads/limits.json");

fn main() {
    // `cargo test --benches` only checks that this builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let wants = |name: &str| name.contains(&wanted);
    let runtime = Runtime::new().expect("threads");
    let upstream = Upstream::start();

    let scenarios: Vec<_> = scenarios().into_iter().filter(|(name, _)| wants(name)).collect();
    if wants(FIRST_CALLS) || wants(CHUNKS) || !scenarios.is_empty() {
        let sides = Side::start(&runtime, builds(&upstream, 1));
        let sides: Vec<_> = sides.iter().collect();
        head("one worker, four limits per tenant", &sides);
        let cold = [round(0, &sides, &mut |envoy| first_calls(envoy, &alone(1 << 10)))];
        if wants(FIRST_CALLS) {
            row("resident memory of a fresh Envoy, MiB", &cold, 0, 0);
            row("its first call, us", &cold, 1, 0);
            row(&format!("CPU time per call, its first {COLD}, us"), &cold, 2, 1);
        }
        for (name, conversation) in scenarios {
            calls(name, &conversation, &sides);
        }
        if wants(CHUNKS) {
            streams(CHUNKS, &sides, &upstream);
        }
    }
    if wants(MEMORY) {
        memory(&Side::start(&runtime, builds(&upstream, 4)));
    }
    if wants(global::NAME) {
        global::measure(&runtime, &upstream);
    }
    softer::measure(&runtime, &upstream, &wants);
}

/// Returns Envoys without the filter, with the build to compare with, if there is one, and with the
/// current build.
fn builds(upstream: &Upstream, workers: usize) -> Vec<(&'static str, Bootstrap)> {
    let plain = Bootstrap::to(upstream.address).concurrency(workers).own_process();
    let filter = Filter::json(&configuration("", "", ""));
    let old = std::env::var_os("BASELINE_WASM").map(PathBuf::from);
    let old = old.map(|module| ("old", plain.clone().filter(filter.clone().module(&module))));
    let new = plain.clone().filter(filter);
    [("plain", plain)].into_iter().chain(old).chain([("new", new)]).collect()
}

/// Returns the configuration of the benchmarks with more members at its top and in its callers'
/// tier, and with a fifth limit, all of them YAML or empty.
fn configuration(top: &str, tier: &str, limit: &str) -> Value {
    let mut whole: Value = serde_json::from_str(LIMITS).expect("JSON");
    add(&mut whole, top);
    let callers = &mut whole["tiers"]["free"];
    add(callers, tier);
    if !limit.is_empty() {
        callers["limits"].as_array_mut().expect("a list").push(yaml(limit));
    }
    whole
}

fn add(to: &mut Value, members: &str) {
    if !members.is_empty() {
        let Value::Object(members) = yaml(members) else { panic!("no members: {members}") };
        to.as_object_mut().expect("a map").extend(members);
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Returns the scenarios by name, each a list of calls made one after the other.
fn scenarios() -> Vec<(&'static str, Vec<Call>)> {
    // An agent sends its whole history with every step, which adds 2 KiB each time.
    let agent = (0..12).map(|step| Call::new("", "", &vec![1 << 10; 2 * step + 1])).collect();
    vec![
        ("1 KiB prompts", alone(1 << 10)),
        ("10 KiB prompts", alone(10 << 10)),
        ("100 KiB prompts", alone(100 << 10)),
        ("an agent's history, 1 to 23 KiB", agent),
    ]
}

/// Returns a call with one message of this size.
fn alone(length: usize) -> Vec<Call> {
    vec![Call::new("", "", &[length])]
}

/// Makes a worker's first calls. Returns the memory before them, the time of the first, and the CPU
/// time of each.
fn first_calls(envoy: &Envoy, conversation: &[Call]) -> [f64; 3] {
    let fresh = envoy.resources();
    let mut times = Vec::new();
    let mut own = conversation.to_vec();
    Connection::open(envoy.address()).converse(&mut own, |took| times.push(micros(took)));
    let calls = times.len() as f64 + load(envoy, conversation, |calls| calls >= COLD / CONNECTIONS);
    [mebibytes(fresh.resident), times[0], micros(envoy.resources().cpu - fresh.cpu) / calls]
}

/// Measures throughput and CPU with many connections, and latency with one.
fn calls(name: &str, conversation: &[Call], sides: &[&Side]) {
    let rounds = rounds(sides, |envoy| {
        let mut times = Vec::new();
        let mut connection = Connection::open(envoy.address());
        let (until, mut own) = (Instant::now() + TURN / 2, conversation.to_vec());
        while Instant::now() < until {
            connection.converse(&mut own, |took| times.push(micros(took)));
        }
        times.sort_by(f64::total_cmp);
        let [cpu, per_second] = busy(envoy, conversation);
        [cpu, per_second, quantile(&times, 0.5), quantile(&times, 0.99)]
    });
    row(&format!("**{name}**: CPU time per call, us"), &rounds, 0, 1);
    row("calls per second", &rounds, 1, 0);
    row("latency p50, us", &rounds, 2, 0);
    row("latency p99, us", &rounds, 3, 0);
}

/// Keeps an Envoy busy for a turn. Returns its CPU time per call in microseconds, and its calls per
/// second.
fn busy(envoy: &Envoy, conversation: &[Call]) -> [f64; 2] {
    let (cpu, start) = (envoy.resources().cpu, Instant::now());
    let calls = load(envoy, conversation, |_| start.elapsed() >= TURN);
    let took = start.elapsed();
    [micros(envoy.resources().cpu - cpu) / calls, calls / took.as_secs_f64()]
}

/// Measures the time of a chunk from the upstream's write to the client's read, each sent when the
/// one before has come. Checks that it arrives unchanged.
fn streams(name: &str, sides: &[&Side], upstream: &Upstream) {
    let mut call = Call::new("\"stream\":true,", STREAM, &[1 << 10]);
    let rounds = rounds(sides, |envoy| {
        let mut connection = Connection::open(envoy.address());
        let (cpu, mut delays) = (envoy.resources().cpu, Vec::new());
        for _ in 0..STREAMS {
            connection.stream(&mut call);
            for event in 0..EVENTS {
                upstream.permit.send(()).expect("the upstream runs");
                let chunk = connection.chunk().expect("a chunk for each event");
                let at = Instant::now();
                let (sent, bytes) = upstream.written.recv().expect("the upstream runs");
                assert!(chunk == bytes, "event {event} came as {}", String::from_utf8_lossy(&chunk));
                delays.push(micros(at - sent));
            }
            upstream.permit.send(()).expect("the upstream runs");
            // With the filter the last chunk also had usage, which the client had not requested.
            assert_eq!(connection.chunk().as_deref(), Some(b"data: [DONE]\n\n".as_slice()));
            assert_eq!(connection.chunk(), None);
        }
        let cpu = envoy.resources().cpu - cpu;
        delays.sort_by(f64::total_cmp);
        let cpu = micros(cpu) / delays.len() as f64;
        [cpu, quantile(&delays, 0.5), quantile(&delays, 0.99)]
    });
    row(&format!("**{name}**: CPU time per chunk, us"), &rounds, 0, 1);
    row("from upstream to client p50, us", &rounds, 1, 1);
    row("from upstream to client p99, us", &rounds, 2, 1);
}

/// Measures resident memory of Envoys with several workers, at rest and after some work.
fn memory(sides: &[Side]) {
    let sides: Vec<_> = sides.iter().collect();
    let measured = [round(0, &sides, &mut |envoy| {
        let fresh = mebibytes(envoy.resources().resident);
        busy(envoy, &alone(100 << 10));
        [fresh, mebibytes(envoy.resources().resident)]
    })];
    head("resident memory, MiB", &sides);
    row("4 workers, fresh", &measured, 0, 0);
    row("4 workers, after 100 KiB prompts", &measured, 1, 0);
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
