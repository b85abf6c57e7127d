//! Times the tokenizer in V8, the engine in which Envoy runs the filter.
//!
//! In: texts. Out: for each text and encoding the tokens and the nanoseconds. Not here: the module
//! and its clock (`v8/`).

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// Returns the tokens and nanoseconds of each text in `o200k_base`, then in `cl100k_base`; nothing
/// without Node.
pub(crate) fn times(texts: &[(&str, String)]) -> Vec<(u64, f64)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Command::new("node").arg("--version").output().is_err() {
        return Vec::new();
    }
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "tollgate-count", "--profile", "wasm", "--target", TARGET]);
    let built = build.args(["--target-dir", "target"]).current_dir(root).status().expect("cargo runs");
    assert!(built.success(), "the tokenizer is built for wasm");
    let folder = root.join("target/tokenizer-texts");
    fs::create_dir_all(&folder).expect("target/ is writable");
    let files = texts.iter().map(|(name, text)| {
        let file = folder.join(format!("{name}.txt"));
        fs::write(&file, text).expect("the same");
        file
    });
    let module = root.join("target").join(TARGET).join("wasm/tollgate_count.wasm");
    let script = root.join("benches/tokenizer/v8/count.mjs");
    let output = Command::new("node").arg(script).arg(module).args(files).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("numbers");
    let parse = |line: &str| {
        let (tokens, ns) = line.split_once(' ')?;
        Some((tokens.parse().ok()?, ns.parse().ok()?))
    };
    lines.lines().map(|line| parse(line).expect("two numbers")).collect()
}
