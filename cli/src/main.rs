//! The command `tollgate`: works with configurations without an Envoy.
//!
//! In: arguments and files. Out: text, and an exit status that scripts can rely on. Not here: the
//! meaning of a configuration, which the crate `tollgate` defines.

mod carrier;
mod check;
mod document;
mod find;
mod ratelimit_config;
mod servers;
mod style;
mod summary;

#[cfg(test)]
mod ratelimit_config_tests;
#[cfg(test)]
mod servers_tests;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;

use style::Style;

const HELP: &str = "\
Checks Tollgate's configurations and writes those of rate limit servers, without an Envoy.

Usage:
  tollgate check FILE…                                        report errors, or sum up what is allowed
  tollgate ratelimit-config FILE [--domain NAME] [--out DIR]  write the limits of rate limit servers

FILE is Tollgate's own configuration, or a file that contains the filter: Envoy's (bootstrap, listeners,
extension configs), Istio's EnvoyFilter, WasmPlugin or TrafficExtension, or Envoy Gateway's
EnvoyExtensionPolicy. Files ending in .json are JSON; all others are YAML.

check
  -q, --quiet    print errors only

ratelimit-config
  Writes every limit with `scope: global`. If a server does not support a limit, reports the limit and
  does not write that server's file.
  --domain NAME  use only filters with this `domain` in `global`; required if there are several
  --out DIR      write DIR/ratelimit.yaml (envoyproxy/ratelimit) and DIR/limitador.yaml, instead of
                 printing them

  -h, --help     print this text

Exit status
  0  no errors
  1  a configuration has errors, or a server does not support a limit
  2  no configuration found: wrong arguments, no such file, or no Tollgate in it
";

/// The result of a command; its number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Well,
    Errors,
    Nothing,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

enum Command {
    Help,
    Check { files: Vec<PathBuf>, is_quiet: bool },
    RatelimitConfig { file: PathBuf, domain: Option<String>, out: Option<PathBuf> },
}

fn main() -> ExitCode {
    let command = match command(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(wrong) => {
            eprintln!("tollgate: {wrong}; see `tollgate --help`");
            return Outcome::Nothing.into();
        }
    };
    let mut report = String::new();
    let outcome = match command {
        Command::Help => {
            report.push_str(HELP);
            Outcome::Well
        }
        Command::Check { files, is_quiet } => {
            let style = Style::of(io::stdout().is_terminal());
            check::check(&files, is_quiet, style, &mut report)
        }
        Command::RatelimitConfig { file, domain, out } => {
            ratelimit_config::write(&file, domain.as_deref(), out.as_deref(), &mut report)
        }
    };
    // A closed pipe is not an error: its reader has read enough.
    let _ = io::stdout().write_all(report.as_bytes());
    outcome.into()
}

fn command(mut arguments: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let (mut name, mut files) = (None, Vec::new());
    let (mut is_quiet, mut domain, mut out) = (false, None, None);
    while let Some(argument) = arguments.next()? {
        let is = |command: &str| name.as_deref() == Some(command);
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('q') | Long("quiet") if is("check") => is_quiet = true,
            Long("domain") if is("ratelimit-config") => domain = Some(arguments.value()?.string()?),
            Long("out") if is("ratelimit-config") => out = Some(arguments.value()?.into()),
            Value(word) if name.is_none() => name = Some(word.string()?),
            Value(file) => files.push(PathBuf::from(file)),
            other => return Err(other.unexpected()),
        }
    }
    match name.as_deref() {
        None | Some("help") => Ok(Command::Help),
        Some("check" | "ratelimit-config") if files.is_empty() => Err("missing FILE".into()),
        Some("check") => Ok(Command::Check { files, is_quiet }),
        Some("ratelimit-config") if files.len() > 1 => Err("expected one FILE".into()),
        Some("ratelimit-config") => Ok(Command::RatelimitConfig { file: files.remove(0), domain, out }),
        Some(other) => Err(format!("unknown command `{other}`").into()),
    }
}
