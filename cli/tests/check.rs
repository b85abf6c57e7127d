//! `tollgate check`, run as a user runs it.
//!
//! In: the files of `tests/check/`. Out: the printed text and the exit status, compared with the
//! file of the same name that ends in `.txt`. `UPDATE=1` writes these files; review the difference.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn tollgate(arguments: &[&OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).output().unwrap()
}

/// Returns exit status, standard output and standard error.
fn told(arguments: &[&str]) -> (i32, String, String) {
    let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    let Output { status, stdout, stderr } = tollgate(&arguments);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn every_file_is_reported_as_its_text_says() {
    let mut files: Vec<PathBuf> =
        fs::read_dir("tests/check").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "txt"));
    files.sort();
    assert!(files.len() > 8, "{files:?}");
    for file in files {
        let Output { status, stdout, stderr } = tollgate(&["check".as_ref(), file.as_ref()]);
        assert_eq!(String::from_utf8_lossy(&stderr), "");
        let text = format!("{}exit status {}\n", String::from_utf8(stdout).unwrap(), status.code().unwrap());
        let kept = PathBuf::from(format!("{}.txt", file.display()));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&kept, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&kept).unwrap(), "{}", file.display());
    }
}

#[test]
fn the_examples_have_nothing_to_look_at() {
    for example in ["../envoy/envoy.yaml", "../envoy/envoy-global.yaml"] {
        let (status, stdout, _) = told(&["check", example]);
        assert_eq!(status, 0, "{stdout}");
        assert!(!stdout.contains("Worth a look"), "{stdout}");
    }
}

#[test]
fn the_recipe_for_voice_agents_has_nothing_to_look_at() {
    let recipe = fs::read_to_string("../docs/voice-agents.md").unwrap();
    let (_, block) = recipe.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recipe.yaml");
    fs::write(&file, block).unwrap();
    let (status, stdout, _) = told(&["check", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{stdout}");
    assert!(!stdout.contains("Worth a look"), "{stdout}");
    for bound in [
        "5 calls at a time",
        "50,000 input tokens in 1h",
        "25,000 output tokens in 1h",
        "$5.00 in 1h",
        "3,600 audio seconds in 1h",
    ] {
        assert!(stdout.contains(bound), "{bound}: {stdout}");
    }
}

#[test]
fn the_worst_of_several_files_decides() {
    let check = |files: &[&str]| told(&[&["check", "--quiet"], files].concat());
    assert_eq!(check(&["tests/check/own.yaml", "tests/check/own.json"]), (0, String::new(), String::new()));
    assert_eq!(check(&["tests/check/own.yaml", "tests/check/errors.yaml"]).0, 1);
    assert_eq!(check(&["tests/check/errors.yaml", "tests/check/none.yaml"]).0, 2);
    assert_eq!(check(&["tests/check/nowhere.yaml"]).0, 2);
}

#[test]
fn a_secret_is_in_no_report() {
    for file in ["own.yaml", "errors.yaml"] {
        let (_, stdout, stderr) = told(&["check", &format!("tests/check/{file}")]);
        for secret in ["fleet-wide-secret", "hunter2"] {
            assert!(!stdout.contains(secret) && !stderr.contains(secret), "{file}: {stdout}{stderr}");
        }
    }
}

#[test]
fn wrong_arguments_are_told_and_help_is_given() {
    for (arguments, why) in [
        (&["check"][..], "missing FILE"),
        (&["chekc", "x"], "unknown command `chekc`"),
        (&["check", "--domain", "x", "y"], "invalid option '--domain'"),
        (&["ratelimit-config", "a", "b"], "expected one FILE"),
    ] {
        let (status, stdout, stderr) = told(arguments);
        assert_eq!((status, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.starts_with(&format!("tollgate: {why}")), "{stderr}");
    }
    for arguments in [&["--help"][..], &["check", "-h"], &[]] {
        let (status, stdout, _) = told(arguments);
        assert_eq!(status, 0);
        assert!(stdout.contains("Exit status"), "{stdout}");
    }
}

#[test]
fn limits_of_rate_limit_servers_are_written_to_a_folder_or_shown() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("limits");
    let (status, stdout, stderr) =
        told(&["ratelimit-config", "tests/servers/envoy.yaml", "--out", folder.to_str().unwrap()]);
    assert_eq!((status, stderr.as_str(), stdout.lines().count()), (0, "", 2));
    for name in ["ratelimit.yaml", "limitador.yaml"] {
        let (written, expected) = (folder.join(name), format!("tests/servers/{name}"));
        assert_eq!(fs::read_to_string(written).unwrap(), fs::read_to_string(expected).unwrap());
    }
    let (status, stdout, _) = told(&["ratelimit-config", "tests/servers/envoy.yaml"]);
    assert_eq!((status, stdout.matches("# Limits for").count()), (0, 2));
    let (status, _, stderr) = told(&["ratelimit-config", "tests/check/none.yaml"]);
    assert_eq!(
        (status, stderr.as_str()),
        (2, "tollgate: tests/check/none.yaml: contains no Tollgate configuration\n")
    );
}
