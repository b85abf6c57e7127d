//! Shows Tollgate at work on a real Envoy: `make demo` and `make run`.
//!
//! In: nothing, or `--stay`. Out: a table of calls, what each was charged and why, with every
//! number checked; exit code 1 if a check fails. With `--stay`, mock and Envoy keep running for
//! manual calls. Both use `envoy/envoy.yaml`, the configuration that users copy. Not here: tests of
//! every behaviour (`tests/`).

mod call;
mod report;
mod scenes;
mod softer;
mod stage;
mod stay;
mod voice;

use std::process::ExitCode;

use stage::Stage;
use tollgate_rig::demo::{Style, explain_panics};

const HELP: &str = "\
Runs Tollgate on a real Envoy in front of a mock LLM, with envoy/envoy.yaml.

Usage: demo [--stay]

  --stay      keep the mock and Envoy running on the ports of envoy/envoy.yaml, until ctrl-C
  -h, --help  print this text
";

#[tokio::main]
async fn main() -> ExitCode {
    explain_panics("demo");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => demo().await,
        ["--stay"] => stay::stay(Style::of_stdout()).await,
        ["-h" | "--help"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("demo: unknown arguments: {}; see --help", other.join(" "));
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> ExitCode {
    let style = Style::of_stdout();
    let began = tokio::time::Instant::now();
    let mut stage = Stage::set(style).await;
    report::opening(&stage);
    let refused = scenes::play(&mut stage).await;
    softer::play(&mut stage).await;
    voice::play(&mut stage).await;
    report::closing(&mut stage, &refused, began.elapsed()).await;
    if stage.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
