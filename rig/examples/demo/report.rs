//! Prints the demo: a table of calls, and the view of operators and clients.
//!
//! In: finished calls. Out: text on standard output. Not here: the calls.

use std::time::Duration;

use tollgate_rig::demo::{WIDTH, number, wrapped};
use tollgate_rig::envoy::{Metrics, Sample};

use crate::call::Call;
use crate::stage::Stage;
use crate::voice;

const COLUMNS: &str =
    " #  caller      call                        counted     held        used  charged      left  answer";

/// Prints the setup and the head of the table.
pub(crate) fn opening(stage: &Stage) {
    let style = stage.style;
    println!();
    println!("{}", style.bold("Tollgate on a real Envoy, with envoy/envoy.yaml"));
    println!(
        "curl ─▶ Envoy {} with tollgate.wasm ─▶ mock LLM {}",
        stage.envoy.address(),
        stage.mock.address()
    );
    println!(
        "Tokens per minute: 10,000 on free, team and voice, 100,000 on pro and agents; refilled continuously."
    );
    println!();
    println!("{}", style.bold(COLUMNS));
    println!("{}", style.dim(&"─".repeat(WIDTH)));
}

/// Prints the heading of a part of the table.
pub(crate) fn heading(stage: &Stage, name: &str) {
    let line = "─".repeat(WIDTH.saturating_sub(name.chars().count() + 4));
    println!("{}", stage.style.dim(&format!("── {name} {line}")));
}

/// Prints a call and its failed checks.
pub(crate) fn row(stage: &mut Stage, does: &str, why: &str, call: Call) {
    let style = stage.style;
    let caller =
        call.caller.map_or_else(|| "-".to_owned(), |caller| format!("{} {}", caller.tenant, caller.tier));
    let told = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), number);
    let counted = call.logged("input_tokens.counted");
    let used = call.logged("input_tokens.used").zip(call.logged("output_tokens.used"));
    // Tool calls have no tokens. Responses on a socket have, but their counts are not logged.
    let used = used.filter(|_| counted.is_some() || call.event.is_some());
    // A refused call held nothing.
    let held = call.left.filter(|_| used.is_some() && counted.is_some()).map(|_| call.held);
    let used_text = used
        .map_or_else(|| "-".to_owned(), |(input, output)| format!("{}+{}", number(input), number(output)));
    let answer = call.event.map_or_else(|| call.status.to_string(), str::to_owned);
    let answer = match call.status {
        // A JSON-RPC error also has this status.
        200 if call.refused_by().is_some() => style.bad(&answer),
        200 if call.has_warning() => style.careful(&answer),
        200 => style.good(&answer),
        _ => style.bad(&answer),
    };
    println!(
        "{:>2}  {caller:<11} {does:<28} {:>6} {:>8} {:>11} {:>8} {:>9}  {answer}",
        stage.calls.len() + 1,
        told(counted),
        told(held),
        used_text,
        number(call.charged()),
        told(call.left),
    );
    for line in wrapped(why, 4) {
        println!("{}", style.dim(&line));
    }
    let wrong = call.checks.take();
    for wrong in &wrong {
        println!("{}", style.bad(&format!("    ✗ {wrong}")));
    }
    stage.wrong += wrong.len();
    stage.calls.push(call);
}

/// Prints the summary and the logs, and checks the metrics against the calls.
pub(crate) async fn closing(stage: &mut Stage, refused: &Call, took: Duration) {
    let style = stage.style;
    println!("{}", style.dim(&"─".repeat(WIDTH)));

    println!("\n{}", style.bold("Call 6, as the refused client sees it"));
    for name in ["retry-after", "retry-after-ms", "x-should-retry", "ratelimit-policy", "ratelimit"] {
        println!("    {name}: {}", refused.header(name).unwrap_or("-"));
    }
    shown(refused.body["error"]["message"].as_str().unwrap_or("-"));

    println!("\n{}", style.bold("Call 6 in the access log"));
    shown(&json(&refused.log.to_string()));

    println!("\n{}", style.bold("Call 6 in Envoy's log"));
    let line = stage.envoy.wait_for_log("\"event\":\"refused\"").await;
    shown(&json(line.find('{').map_or(line.as_str(), |start| &line[start..])));

    println!("\n{}", style.bold("Some metrics, from /stats/prometheus of the admin interface"));
    let metrics = stage.envoy.metrics().await;
    for sample in metrics.samples.iter().filter(|sample| is_shown(sample)) {
        let labels: Vec<_> = sample.labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        println!("    {}{{{}}} {}", sample.name, labels.join(","), sample.value);
    }
    println!();
    let wrong = compared(&metrics, &stage.calls.iter().chain(&stage.beside).collect::<Vec<_>>());
    for wrong in &wrong {
        println!("{}", style.bad(&format!("✗ {wrong}")));
    }
    stage.wrong += wrong.len();

    let calls = stage.calls.len();
    if stage.wrong == 0 {
        let sum = format!("✓ {calls} calls, all charged correctly, in {:.1} s.", took.as_secs_f64());
        println!("{}", style.good(&sum));
        println!("  `make run` starts the same on 127.0.0.1:10000, for you to try.");
    } else {
        let sum = format!("✗ Failed checks: {}, marked with ✗ above.", stage.wrong);
        println!("{}", style.bad(&sum));
    }
}

/// Selects metrics to show: totals of one tier, and outcomes other than plain passes.
fn is_shown(sample: &Sample) -> bool {
    let of_tier = |tier| sample.label("tier") == Some(tier);
    match sample.name.as_str() {
        "tollgate_tokens_total" => of_tier("free") || of_tier("voice"),
        "tollgate_cost_nano_usd_total" | "tollgate_shadow_refusals_total" => of_tier("free"),
        "tollgate_refusals_total"
        | "tollgate_audio_milliseconds_total"
        | "tollgate_softened_total"
        | "tollgate_sockets_total"
        | "tollgate_streams_stopped_total"
        | "tollgate_upstream_busy_total" => true,
        "tollgate_waits_total" => sample.label("kind") == Some("passed"),
        _ => false,
    }
}

/// Compares metrics with the calls' access log and returns the differences.
fn compared(metrics: &Metrics, calls: &[&Call]) -> Vec<String> {
    let mut wrong = Vec::new();
    for tier in ["free", "pro", "team", "agents", "voice"] {
        let of_tier =
            || calls.iter().copied().filter(|call| call.caller.is_some_and(|caller| caller.tier == tier));
        let refused = of_tier().filter(|call| call.refused_by().is_some()).count();
        let tokens: u64 = of_tier().map(Call::charged).sum();
        for (name, should) in [
            ("tollgate_calls_total", of_tier().count() as f64),
            ("tollgate_refusals_total", refused as f64),
            ("tollgate_tokens_total", tokens as f64),
        ] {
            let is = metrics.sum(name, &[("tier", tier)]);
            if is != should {
                wrong.push(format!("{name}{{tier=\"{tier}\"}}: expected {should}, got {is}"));
            }
        }
    }
    for (name, kind, should) in [
        ("tollgate_softened_total", "model", 1.0),
        ("tollgate_softened_total", "clamp_output", 1.0),
        ("tollgate_softened_total", "hide_tool", 1.0),
        ("tollgate_waits_total", "passed", 1.0),
        ("tollgate_calls_total", "stopped", 1.0),
        ("tollgate_upstream_busy_total", "told", 1.0),
        ("tollgate_upstream_busy_total", "refused", 1.0),
        ("tollgate_sockets_total", "client_close", 1.0),
    ] {
        let is = metrics.sum(name, &[("kind", kind)]);
        if is != should {
            wrong.push(format!("{name}{{kind=\"{kind}\"}}: expected {should}, got {is}"));
        }
    }
    let (name, should) = ("tollgate_audio_milliseconds_total", voice::SOUND.as_millis() as f64);
    let is = metrics.sum(name, &[("tier", "voice")]);
    if is != should {
        wrong.push(format!("{name}{{tier=\"voice\"}}: expected {should}, got {is}"));
    }
    wrong
}

/// Adds spaces between the members of JSON, so that it can be wrapped.
fn json(text: &str) -> String {
    text.replace(",\"", ", \"")
}

fn shown(text: &str) {
    for line in wrapped(text, 4) {
        println!("{line}");
    }
}
