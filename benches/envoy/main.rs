//! Measures the filter's cost: runs an Envoy without the filter and one with it, in turns, on the
//! same machine.
//!
//! In: `target/tollgate.wasm` and the Envoy in `.venv/`. Out, to standard output: tables of medians
//! over rounds, and of the ratios within each round. The two Envoys differ only in the filter.
//! Everything is on loopback, and the load comes from threads of this process, which share the
//! machine's cores with Envoy, so ratios mean more than absolute numbers. `make bench` runs it. Not
//! here: the meaning of the numbers (`docs/performance.md`).
//!
//! `global` measures a global limit against a local one in the same way, and `softer` each other
//! feature against an Envoy without it.
//!
//! `cargo bench --bench envoy -- 'KiB prompts'` runs only measurements with these words in their
//! names. `$BASELINE_WASM` replaces the Envoy without the filter by one with another build of it,
//! to measure a change.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod global;
mod load;
mod softer;
mod upstream;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use load::{Call, Connection};
use tokio::runtime::Runtime;
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use upstream::{EVENTS, STREAM, Upstream};

/// Rounds of each measurement. The tables show their medians.
const ROUNDS: usize = 7;
/// The duration of one measurement of throughput.
const ROUND: Duration = Duration::from_millis(900);
/// Connections that keep one worker busy.
const CONNECTIONS: usize = 8;
/// Streams per round. The system reports CPU time in steps of 10 ms, which is then half a
/// microsecond per chunk.
const STREAMS: usize = 200;
/// Fresh Envoys for first calls.
const FRESH: usize = 5;

/// Limits on the resources of most calls, too large to refuse any.
const FILTER: &str = r#"
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: rpm,   count: requests,     per: tenant, max: 1_000_000_000,     window: 1m }
    - { name: tpm,   count: tokens,       per: tenant, max: 1_000_000_000_000, window: 1m }
    - { name: in-h,  count: input_tokens, per: tenant, max: 1_000_000_000_000, window: 1h, algorithm: sliding_window }
    - { name: spend, count: cost_usd,     per: tenant, max: 1_000_000,         window: 1h }
prices:
- { match: "gpt-4o-mini*", input: 0.15, cached_input: 0.075, output: 0.60 }
"#;

fn main() {
    // `cargo test --benches` only checks that this builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let baseline = std::env::var_os("BASELINE_WASM").map(PathBuf::from);
    let runtime = Runtime::new().expect("threads");
    let upstream = Upstream::start();
    let start = |filter: bool, workers: usize| {
        let bootstrap = Bootstrap::to(upstream.address).concurrency(workers).own_process();
        let filter = match (filter, &baseline) {
            (true, _) => Some(Filter::yaml(FILTER)),
            (false, Some(module)) => Some(Filter::yaml(FILTER).module(module)),
            (false, None) => None,
        };
        let bootstrap = match filter {
            Some(filter) => bootstrap.filter(filter),
            None => bootstrap,
        };
        runtime.block_on(Envoy::start(bootstrap))
    };
    let pair = [start(false, 1), start(true, 1)];
    println!("medians of {ROUNDS} rounds; one worker, four limits per tenant\n");
    println!("{:46}{:>12}{:>12}{:>9}", "", "without", "with", "ratio");
    for (name, conversation) in scenarios().iter().filter(|(name, _)| name.contains(&wanted)) {
        calls(name, conversation, &pair);
    }
    if "streams".contains(&wanted) {
        streams(&pair, &upstream);
    }
    drop(pair);
    if "first calls".contains(&wanted) {
        first_calls(&start);
    }
    if "memory".contains(&wanted) {
        memory(&start);
    }
    if global::NAME.contains(&wanted) {
        global::measure(&runtime, &upstream);
    }
    if softer::NAME.contains(&wanted) {
        softer::measure(&runtime, &upstream);
    }
}

/// Returns the scenarios by name, each a list of calls made one after the other.
fn scenarios() -> Vec<(&'static str, Vec<Call>)> {
    let alone = |length| vec![Call::new("", "", &[length])];
    // An agent sends its whole history with every step, which adds 2 KiB each time.
    let agent = (0..12).map(|step| Call::new("", "", &vec![1 << 10; 2 * step + 1])).collect();
    vec![
        ("1 KiB prompts, all distinct", alone(1 << 10)),
        ("10 KiB prompts, all distinct", alone(10 << 10)),
        ("100 KiB prompts, all distinct", alone(100 << 10)),
        ("an agent's history, growing from 1 to 23 KiB", agent),
    ]
}

/// Measures throughput and CPU with many connections, and latency with one.
fn calls<const SIDES: usize>(name: &str, conversation: &[Call], envoys: &[Envoy; SIDES]) {
    let rounds: Vec<[_; SIDES]> = rounds(|side| {
        let envoy = &envoys[side];
        let mut times = Vec::new();
        let mut connection = Connection::open(envoy.address());
        let (until, mut own) = (Instant::now() + ROUND / 3, conversation.to_vec());
        while Instant::now() < until {
            connection.converse(&mut own, |took| times.push(micros(took)));
        }
        let (cpu, start) = (envoy.resources().cpu, Instant::now());
        let calls = load(envoy, conversation, start + ROUND);
        let (took, cpu) = (start.elapsed(), envoy.resources().cpu - cpu);
        times.sort_by(f64::total_cmp);
        [
            micros(cpu) / calls,
            calls / took.as_secs_f64(),
            quantile(&times, 0.5),
            quantile(&times, 0.99),
            100.0 * cpu.as_secs_f64() / took.as_secs_f64(),
        ]
    });
    println!("{name}");
    row("  Envoy's CPU time per call, us", &rounds, 0, 1);
    row("  calls per second", &rounds, 1, 0);
    row("  latency p50, us", &rounds, 2, 0);
    row("  latency p99, us", &rounds, 3, 0);
    row("  Envoy's share of a core, %", &rounds, 4, 0);
}

/// Makes calls on many connections until `until`, and returns how many.
fn load(envoy: &Envoy, conversation: &[Call], until: Instant) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut own, mut calls) = (conversation.to_vec(), 0_u32);
                    let mut connection = Connection::open(envoy.address());
                    while Instant::now() < until {
                        connection.converse(&mut own, |_| calls += 1);
                    }
                    f64::from(calls)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a call failed")).sum()
    })
}

/// Measures the time of a chunk from the upstream's write to the client's read, and checks that it
/// arrives unchanged.
fn streams(pair: &[Envoy; 2], upstream: &Upstream) {
    let mut call = Call::new("\"stream\":true,", STREAM, &[1 << 10]);
    let rounds: Vec<[_; 2]> = rounds(|side| {
        let envoy = &pair[side];
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
        [quantile(&delays, 0.5), quantile(&delays, 0.99), cpu]
    });
    println!(
        "streams of {EVENTS} events, each sent when the one before has come; none merged, split or changed"
    );
    row("  from upstream to client p50, us", &rounds, 0, 1);
    row("  from upstream to client p99, us", &rounds, 1, 1);
    row("  Envoy's CPU time per chunk, us", &rounds, 2, 1);
}

/// Measures the first calls of a fresh Envoy.
fn first_calls(start: &impl Fn(bool, usize) -> Envoy) {
    let mut conversation = vec![Call::new("", "", &[1 << 10])];
    let rounds: Vec<[[f64; 2]; 2]> = (0..FRESH)
        .map(|_| {
            [false, true].map(|filter| {
                let envoy = start(filter, 1);
                let (mut connection, mut times) = (Connection::open(envoy.address()), Vec::new());
                for _ in 0..200 {
                    connection.converse(&mut conversation, |took| times.push(micros(took)));
                }
                let first = times[0];
                times.sort_by(f64::total_cmp);
                [first, quantile(&times, 0.5)]
            })
        })
        .collect();
    println!("{FRESH} fresh Envoys, 1 KiB prompts");
    row("  first call, us", &rounds, 0, 0);
    row("  median of the first 200 calls, us", &rounds, 1, 0);
}

/// Measures resident memory at rest and after some work.
fn memory(start: &impl Fn(bool, usize) -> Envoy) {
    println!("resident memory, MiB");
    for workers in [1, 4] {
        let mebibytes = |envoy: &Envoy| envoy.resources().resident as f64 / 1_048_576.0;
        let round = [false, true].map(|filter| {
            let envoy = start(filter, workers);
            let fresh = mebibytes(&envoy);
            load(&envoy, &[Call::new("", "", &[100 << 10])], Instant::now() + ROUND);
            [fresh, mebibytes(&envoy)]
        });
        row(&format!("  {workers} workers, fresh"), &[round], 0, 0);
        row(&format!("  {workers} workers, after 100 KiB prompts"), &[round], 1, 0);
    }
}

/// Measures all sides in turns, forwards and backwards so that no side is favoured. Discards a
/// first turn.
fn rounds<const SIDES: usize, const N: usize>(
    mut measure: impl FnMut(usize) -> [f64; N],
) -> Vec<[[f64; N]; SIDES]> {
    let round = |number: usize| {
        let mut measured = [[0.0; N]; SIDES];
        for turn in 0..SIDES {
            let side = if number.is_multiple_of(2) { turn } else { SIDES - 1 - turn };
            measured[side] = measure(side);
        }
        measured
    };
    (0..=ROUNDS).map(round).skip(1).collect()
}

/// Prints one line of the table: medians for each side, and of the ratios to the first side.
fn row<const SIDES: usize, const N: usize>(
    name: &str,
    rounds: &[[[f64; N]; SIDES]],
    at: usize,
    decimals: usize,
) {
    let median = |value: &dyn Fn(&[[f64; N]; SIDES]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    let mut line = format!("{name:46}");
    for side in 0..SIDES {
        line += &format!("{:>12.decimals$}", median(&|round| round[side][at]));
    }
    for side in 1..SIDES {
        line += &format!("{:>9.2}", median(&|round| round[side][at] / round[0][at]));
    }
    println!("{line}");
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Returns a quantile of sorted values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}
