//! `tollgate check`: reports the errors of configurations, or summarizes them.
//!
//! In: files. Out: for each configuration in them, its errors with file, line and path, or a
//! summary. Not here: the summary itself (`summary`).

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::find::{Found, NotFound, find};
use crate::style::Style;
use crate::summary::summary;

/// Checks files one by one and returns the worst outcome.
pub(crate) fn check(files: &[PathBuf], is_quiet: bool, style: Style, report: &mut String) -> Outcome {
    let mut worst = Outcome::Well;
    for (position, file) in files.iter().enumerate() {
        if position > 0 && !is_quiet {
            report.push('\n');
        }
        worst = worst.max(check_file(file, is_quiet, style, report));
    }
    worst
}

fn check_file(path: &Path, is_quiet: bool, style: Style, report: &mut String) -> Outcome {
    let name = path.display();
    let mut nothing = |place: &str, why: &str| {
        let _ = writeln!(report, "{} {name}{place}: {why}", style.bad("✗"));
        Outcome::Nothing
    };
    let found = match fs::read(path).map(String::from_utf8) {
        Err(error) => return nothing("", &error.to_string()),
        Ok(Err(_)) => return nothing("", "is not UTF-8 text"),
        Ok(Ok(text)) => find(path, &text),
    };
    match found {
        Err(NotFound::Syntax(error)) => nothing(&format!(":{}", error.line), &error.to_string()),
        Err(NotFound::Nothing) => nothing(
            "",
            "contains no Tollgate configuration: no wasm filter has `tiers` in it, or `tollgate` in its name",
        ),
        Ok(found) => found
            .iter()
            .map(|found| check_one(path, found, is_quiet, style, report))
            .max()
            .unwrap_or(Outcome::Well),
    }
}

fn check_one(path: &Path, found: &Found, is_quiet: bool, style: Style, report: &mut String) -> Outcome {
    let name = path.display();
    let whose = found.title.as_ref().map(|title| format!(":{}: {title}", found.line)).unwrap_or_default();
    let title = |report: &mut String, mark: String, verdict: &str| {
        let place = style.title(&format!("{name}{whose}"));
        let _ = writeln!(report, "{mark} {place}: {verdict}");
    };
    match found.read() {
        Ok(config) => {
            if !is_quiet {
                title(report, style.good("✓"), "ok");
                report.push_str(&summary(&config, found.can_hold, style));
            }
            Outcome::Well
        }
        Err(errors) => {
            let count = match errors.len() {
                1 => "1 error".to_owned(),
                several => format!("{several} errors"),
            };
            title(report, style.bad("✗"), &count);
            for error in errors {
                let _ = writeln!(report, "  {} {}", style.quiet(&error.place(path)), error.text);
            }
            Outcome::Errors
        }
    }
}
