//! The calls between host and filter are those that `docs/performance.md` lists.
//!
//! In: the built module. Out: with `UPDATE=1` (`make host-calls`), the table in the document. The
//! module runs in Node under our own host (`benches/wasm/`), which repeats exactly, so one call
//! more or less is a difference. Not here: what the calls cost.

use std::fs;
use std::process::Command;

use tollgate_rig::envoy::wasm_module;

const DOCUMENT: &str = "docs/performance.md";
const HEADING: &str = "\n## Host calls\n";

#[test]
fn a_call_makes_the_host_calls_and_callbacks_that_the_document_lists() {
    let output = Command::new("node").arg("benches/wasm/count.mjs").arg(wasm_module()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counted = String::from_utf8(output.stdout).unwrap();

    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (before, section) = text.split_once(HEADING).expect("the section on host calls");
    let (introduction, rest) = section.split_once("\n|").expect("a table in the section");
    let (table, after) = rest.split_once("\n\n").expect("text behind the table");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, format!("{before}{HEADING}{introduction}\n{counted}\n{after}")).unwrap();
        return;
    }
    let listed = format!("|{table}\n");
    assert!(
        listed == counted,
        "a call crosses the border between host and filter in another way than {DOCUMENT} lists.\n\
         If that is intended, run `make host-calls`.\n{}",
        differences(&listed, &counted)
    );
}

/// Returns the lines that only one of the tables has.
fn differences(listed: &str, counted: &str) -> String {
    let only = |sign: char, table: &str, other: &str| -> String {
        let lines = table.lines().filter(|line| !other.lines().any(|known| known == *line));
        lines.map(|line| format!("{sign} {line}\n")).collect()
    };
    only('-', listed, counted) + &only('+', counted, listed)
}
