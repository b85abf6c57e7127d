//! Shows two Envoys that share one budget: `make demo-global`.
//!
//! In: nothing. Out: a table of calls, what each was charged, what the rate limit service has
//! counted and what clients see, with every number checked; exit code 1 if a check fails. The
//! configuration is `envoy/envoy-global.yaml`, which users copy, and the service is this
//! repository's example with the limits written from it. Not here: tests of every behaviour
//! (`tests/`).

mod report;
mod scenes;
mod service;
mod stage;

use std::process::ExitCode;

use stage::Stage;
use tollgate_rig::demo::{Style, explain_panics};

const HELP: &str = "\
Runs two Envoys that share one budget through a rate limit service, with envoy/envoy-global.yaml.

Usage: demo_global

  -h, --help  print this text
";

#[tokio::main]
async fn main() -> ExitCode {
    explain_panics("demo_global");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demo().await,
        ["-h" | "--help"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("demo_global: unknown arguments: {}; see --help", other.join(" "));
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> ExitCode {
    let began = tokio::time::Instant::now();
    let mut stage = Stage::set(Style::of_stdout()).await;
    report::opening(&stage);
    let refused = scenes::play(&mut stage).await;
    report::closing(&mut stage, &refused, began.elapsed()).await;
    if stage.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
