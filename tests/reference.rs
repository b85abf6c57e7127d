//! The generated documents are current, and the paths in ARCHITECTURE.md exist.

use std::fs;
use std::path::{Path, PathBuf};

use tollgate::exchange::Fact;
use tollgate::limits::RESOURCES;
use tollgate::settings::SECTIONS;
use tollgate::{config, metrics};

/// The width of prose.
const COLUMNS: usize = 100;

/// Compares a document with its generated text. `UPDATE=1` (`make reference`) writes it.
fn is_current(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{path} is not what the tables in src/ say; run `make reference`");
}

/// Wraps the long lines of prose in `text`.
fn wrapped(text: &str) -> String {
    let mut is_code = false;
    let mut pages = String::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let mut rest = line;
        while !is_code && !rest.starts_with(['|', '#']) && rest.chars().count() > COLUMNS {
            let fits = rest.char_indices().nth(COLUMNS + 1).map_or(rest.len(), |(end, _)| end);
            let Some((head, _)) = rest[..fits].rsplit_once(' ') else { break };
            pages.push_str(head);
            pages.push('\n');
            rest = &rest[head.len() + 1..];
        }
        pages.push_str(rest);
        pages.push('\n');
    }
    pages
}

#[test]
fn the_reference_of_options_is_current() {
    let counted: String =
        RESOURCES.iter().map(|counted| format!("| `{}` | {} |\n", counted.name, counted.meaning)).collect();
    let text = format!(
        "{}\n{}\n## What limits count\n\n| `count` | counts |\n|---|---|\n{counted}",
        include_str!("reference/configuration.md"),
        config::markdown(SECTIONS)
    );
    is_current("docs/configuration.md", &wrapped(&text));
}

#[test]
fn the_reference_of_metrics_is_current() {
    let facts: String =
        Fact::ALL.iter().map(|fact| format!("| `wasm.{}` | {} |\n", fact.name(), fact.meaning())).collect();
    let text = include_str!("reference/metrics.md")
        .replace("{{metrics}}\n", &metrics::markdown())
        .replace("{{facts}}\n", &format!("| filter state | value |\n|---|---|\n{facts}"));
    is_current("docs/metrics.md", &wrapped(&text));
}

#[test]
fn every_path_that_the_documents_name_exists() {
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = fs::read_to_string(document).unwrap();
        for word in text.split(|letter: char| letter.is_whitespace() || "`()[],;".contains(letter)) {
            let is_path =
                ["src/", "cli/", "tests/", "rig/", "docs/", "envoy/", "examples/", "benches/", "scripts/"]
                    .iter()
                    .any(|root| word.starts_with(root));
            let path = word.split('#').next().unwrap_or_default().trim_end_matches(['.', ':']);
            assert!(!is_path || Path::new(path).exists(), "{document} names {path}, which does not exist");
        }
    }
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for path in files_under(&["src", "cli/src", "rig/src", "tests", "benches", "examples"], "rs") {
        let is_unit_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if !is_unit_test {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
        }
    }
}

#[test]
fn prose_wraps_at_100_columns() {
    let code = ["src", "cli", "rig", "tests", "benches", "examples", "finisher", "fuzz"];
    for path in files_under(&code, "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let lines = (1..).zip(text.lines().map(str::trim_start));
        let comments = lines.filter(|(_, line)| line.starts_with("//"));
        assert_narrow(&path, text.as_str(), comments.map(|(number, line)| (number, without_marker(line))));
    }
    let mut documents = files_under(&["docs", "tests/reference"], "md");
    documents.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(Into::into));
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        assert_narrow(&path, text.as_str(), (1..).zip(text.lines()));
    }
}

/// Asserts that no line of prose is too wide. Code, tables and headings may be wider, and so may a
/// single word, such as an address.
fn assert_narrow<'t>(path: &Path, text: &str, prose: impl Iterator<Item = (usize, &'t str)>) {
    let whole: Vec<_> = text.lines().collect();
    let mut is_code = false;
    for (number, line) in prose {
        is_code ^= line.trim_start().starts_with("```");
        let is_free =
            is_code || line.starts_with(['|', '#']) || !line.trim_start_matches(['-', ' ']).contains(' ');
        let width = whole[number - 1].chars().count();
        assert!(is_free || width <= COLUMNS, "{}:{number} is {width} columns wide", path.display());
    }
}

fn without_marker(comment: &str) -> &str {
    let text = comment.trim_start_matches('/');
    text.strip_prefix('!').unwrap_or(text).trim_start_matches(' ')
}

#[test]
fn filter_state_has_the_same_names_in_all_documents() {
    let states: Vec<_> = Fact::ALL.iter().map(|fact| fact.name()).collect();
    let mut documents = files_under(&["docs"], "md");
    documents.push("README.md".into());
    for path in documents {
        let text = fs::read_to_string(&path).unwrap();
        for (before, state) in text.match_indices("tollgate.").map(|(at, _)| text.split_at(at)) {
            let end = state.find(|letter: char| !letter.is_ascii_lowercase() && !"._".contains(letter));
            let state = state[..end.unwrap_or(state.len())].trim_end_matches('.');
            // `tollgate.wasm` and `tollgate.yaml` are files, `tollgate.finisher` belongs to the
            // finisher.
            let is_other =
                ["tollgate.wasm", "tollgate.yaml", "tollgate.finisher", "tollgate"].contains(&state);
            let is_state = before.ends_with("wasm.") && states.contains(&state);
            assert!(is_other || is_state, "{}: `{state}` is no filter state", path.display());
        }
    }
}

/// Returns all files with this extension under these folders.
fn files_under(folders: &[&str], extension: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = folders.iter().map(Into::into).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn the_table_of_apis_in_the_readme_names_every_format() {
    let readme = fs::read_to_string("README.md").unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for format in tollgate::api::FORMATS.iter().copied() {
        let name = format!("`{}`", format.name);
        assert!(rows.iter().any(|row| row.contains(&name)), "{name} has no row in README.md");
    }
}
