//! The generated documents are current, and what ARCHITECTURE.md names exists.

use std::fs;
use std::path::Path;

use tollgate::exchange::Fact;
use tollgate::limits::RESOURCES;
use tollgate::settings::SECTIONS;
use tollgate::{config, metrics};

/// Compares a document with what it is generated from; `UPDATE=1` (`make reference`) writes it.
fn is_current(path: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{path} is not what the tables in src/ say; run `make reference`");
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
    is_current("docs/configuration.md", &text);
}

#[test]
fn the_reference_of_metrics_is_current() {
    let facts: String =
        Fact::ALL.iter().map(|fact| format!("| `wasm.{}` | {} |\n", fact.name(), fact.meaning())).collect();
    let text = include_str!("reference/metrics.md")
        .replace("{{metrics}}\n", &metrics::markdown())
        .replace("{{facts}}\n", &format!("| filter state | value |\n|---|---|\n{facts}"));
    is_current("docs/metrics.md", &text);
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
    let mut folders = vec![
        "src".into(),
        "cli/src".into(),
        "rig/src".into(),
        "tests".into(),
        "benches".into(),
        "examples".into(),
    ];
    while let Some(folder) = folders.pop() {
        let folder: std::path::PathBuf = folder;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            let is_unit_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
            if is_source && !is_unit_test {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
            }
        }
    }
}

#[test]
fn the_table_of_apis_in_the_readme_names_every_format() {
    let readme = fs::read_to_string("README.md").unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for format in tollgate::api::FORMATS {
        let name = format!("`{}`", format.name);
        assert!(rows.iter().any(|row| row.contains(&name)), "{name} has no row in README.md");
    }
}
