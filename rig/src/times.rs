//! How long tests take, for the list at the end of `make test`.
//!
//! In: the start of an Envoy on a test's thread. Out: a line `seconds<tab>name` in the file that
//! `$TEST_TIMES` names, when the thread ends. Not here: the list (`scripts/test.sh`); tests without
//! an Envoy, of which the runner tells no times either.

use std::cell::OnceCell;
use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::Instant;

thread_local! {
    static TEST: OnceCell<Test> = const { OnceCell::new() };
}

/// Takes the time from now to the end of this thread, which the runner has named after its test.
pub(crate) fn record() {
    TEST.with(|test| {
        test.get_or_init(|| Test {
            name: thread::current().name().unwrap_or("?").to_owned(),
            begun: Instant::now(),
        });
    });
}

struct Test {
    name: String,
    begun: Instant,
}

impl Drop for Test {
    fn drop(&mut self) {
        let Some(path) = std::env::var_os("TEST_TIMES") else { return };
        // One write for one line: other tests append at the same time.
        let line = format!("{:.1}\t{}\n", self.begun.elapsed().as_secs_f64(), self.name);
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
            let _ = file.write_all(line.as_bytes());
        }
    }
}
