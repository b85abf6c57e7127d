//! Prints the demo: a table of calls, and the view of operators and clients.
//!
//! In: finished calls. Out: text on standard output. Not here: the calls.

use std::time::Duration;

use tollgate_rig::demo::{Checks, WIDTH, number, wrapped};
use tollgate_rig::envoy::Metrics;

use crate::stage::{Call, Caller, Stage};

const COLUMNS: &str =
    " #  at   caller      call                          held   charged    at service       left  answer";

/// A row of the table for one call.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) does: &'a str,
    pub(crate) why: &'a str,
    /// The caller's tokens that the service has counted, if it is running.
    pub(crate) counted: Option<u64>,
}

/// A row of the table for many calls.
pub(crate) struct Many<'a> {
    pub(crate) at: &'a str,
    pub(crate) caller: Caller,
    pub(crate) does: &'a str,
    pub(crate) charged: Option<u64>,
    pub(crate) counted: Option<u64>,
    pub(crate) answer: &'a str,
}

/// Prints the setup and the head of the table.
pub(crate) fn opening(stage: &Stage) {
    let style = stage.style;
    let [a, b] = &stage.envoys;
    let (a, b) = (format!("Envoy A {}", a.address()), format!("Envoy B {}", b.address()));
    let counts = if stage.service.keeps() { "counting in Redis" } else { "counting in memory" };
    println!();
    println!("{}", style.bold("Two Envoys, one budget, with envoy/envoy-global.yaml"));
    println!("curl ─┬▶ {a} ─┬▶ mock LLM {}", stage.mock.address());
    println!("      └▶ {b} ─┴▶ rate limit service {}, {counts}", stage.service.process.address());
    println!("Tokens per day, through both Envoys together: 200,000 on tier free, 5,000,000 on tier pro.");
    if !stage.service.keeps() {
        println!("{}", style.dim("To let it count in Redis, install redis-server (make redis)."));
    }
    println!();
    println!("{}", style.bold(COLUMNS));
}

/// Prints the heading of a part of the table.
pub(crate) fn scene(stage: &Stage, name: &str) {
    let line = "─".repeat(WIDTH - name.chars().count() - 4);
    println!("{}", stage.style.dim(&format!("── {name} {line}")));
}

/// Prints a call and its failed checks.
pub(crate) fn row(stage: &mut Stage, row: Row<'_>, call: &Call) {
    let status = call.status.to_string();
    let held = (call.status == 200).then_some(call.held);
    let Row { does, why, counted } = row;
    let (caller, charged) = (call.caller, Some(call.charged));
    let cells = Cells {
        at: call.at.name(),
        caller,
        does,
        held,
        charged,
        counted,
        left: call.left(),
        answer: &status,
    };
    print(stage, &cells, why, &call.checks);
}

/// Prints a row for many calls.
pub(crate) fn rows(stage: &mut Stage, many: &Many<'_>, why: &str, checks: &Checks) {
    let Many { at, caller, does, charged, counted, answer } = *many;
    print(stage, &Cells { at, caller, does, held: None, charged, counted, left: None, answer }, why, checks);
}

struct Cells<'a> {
    at: &'a str,
    caller: Caller,
    does: &'a str,
    held: Option<u64>,
    charged: Option<u64>,
    counted: Option<u64>,
    left: Option<u64>,
    answer: &'a str,
}

fn print(stage: &mut Stage, cells: &Cells<'_>, why: &str, checks: &Checks) {
    let style = stage.style;
    let told = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), number);
    let answer = match cells.answer {
        "429" => style.bad(cells.answer),
        mixed if mixed.contains("429") => style.careful(mixed),
        good => style.good(good),
    };
    stage.rows += 1;
    println!(
        "{:>2}  {:<3}  {:<11} {:<26} {:>7} {:>9} {:>13} {:>10}  {answer}",
        stage.rows,
        cells.at,
        format!("{} {}", cells.caller.tenant, cells.caller.tier),
        cells.does,
        told(cells.held),
        told(cells.charged),
        told(cells.counted),
        told(cells.left),
    );
    for line in wrapped(why, 4) {
        println!("{}", style.dim(&line));
    }
    let wrong = checks.take();
    for wrong in &wrong {
        println!("{}", style.bad(&format!("    ✗ {wrong}")));
    }
    stage.wrong += wrong.len();
}

/// Prints the summary, and checks the metrics against the calls.
pub(crate) async fn closing(stage: &mut Stage, refused: &Call, took: Duration) {
    let style = stage.style;
    println!("{}", style.dim(&"─".repeat(WIDTH)));

    println!("\n{}", style.bold("Call 7, as the refused client sees it"));
    for name in ["retry-after", "x-should-retry", "ratelimit-policy", "ratelimit"] {
        println!("    {name}: {}", refused.header(name).unwrap_or("-"));
    }
    for line in wrapped(refused.body["error"]["message"].as_str().unwrap_or("-"), 4) {
        println!("{line}");
    }

    println!("\n{}", style.bold("Metrics of both Envoys, from /stats/prometheus of their admin interfaces"));
    let metrics = stage.metrics().await;
    println!("    {:<58} {:>8} {:>8}", "", "A", "B");
    for (name, kinds) in SHOWN {
        for kind in kinds {
            let values = values(&metrics, name, kind);
            if values != [0.0, 0.0] {
                println!(
                    "    {:<58} {:>8} {:>8}",
                    format!("{name}{{kind=\"{kind}\"}}"),
                    values[0],
                    values[1]
                );
            }
        }
    }
    println!();
    let checks = compared(&metrics, stage.calls);
    let wrong = checks.take();
    for wrong in &wrong {
        println!("{}", style.bad(&format!("✗ {wrong}")));
    }
    stage.wrong += wrong.len();

    let calls: usize = stage.calls.iter().sum();
    if stage.wrong == 0 {
        let calls = number(calls as u64);
        let sum =
            format!("✓ {calls} calls, all decided and charged correctly, in {:.1} s.", took.as_secs_f64());
        println!("{}", style.good(&sum));
    } else {
        let sum = format!("✗ Failed checks: {}, marked with ✗ above.", stage.wrong);
        println!("{}", style.bad(&sum));
    }
}

const DECISIONS: &str = "tollgate_global_decisions_total";
const REPORTS: &str = "tollgate_global_reports_total";

const SHOWN: [(&str, &[&str]); 5] = [
    (DECISIONS, &["leased", "asked", "local", "allow", "deny"]),
    ("tollgate_global_requests_total", &["ask", "lease", "report"]),
    ("tollgate_global_failures_total", &["unavailable", "unreadable", "undecided", "not_asked"]),
    ("tollgate_global_breaker_total", &["opened", "closed"]),
    (REPORTS, &["retried", "dropped"]),
];

fn values(metrics: &[Metrics; 2], name: &str, kind: &str) -> [f64; 2] {
    [0, 1].map(|at: usize| metrics[at].sum(name, &[("kind", kind)]))
}

/// Compares metrics with the calls.
fn compared(metrics: &[Metrics; 2], calls: [usize; 2]) -> Checks {
    let checks = Checks::default();
    for (metrics, calls) in metrics.iter().zip(calls) {
        let sum = |name, kind| metrics.sum(name, &[("kind", kind)]);
        checks.expect("calls decided", calls as f64, metrics.sum(DECISIONS, &[]));
        checks.expect("reports dropped", 0.0, sum(REPORTS, "dropped"));
        checks.expect(
            "limits unknown to the service",
            0.0,
            metrics.sum("tollgate_global_unknown_total", &[]),
        );
        let breaker = |kind| sum("tollgate_global_breaker_total", kind);
        checks.expect("how often the breaker closed", breaker("opened"), breaker("closed"));
    }
    checks
}
