//! One Envoy process and its directory.
//!
//! In: a [`Setup`]. Out: a serving process, with its admin interface and its log. Dropping the
//! value kills the process, and so does the death of the program that started it. Not here: who
//! uses the process, and for how long (`pool`).

use core::fmt::Write as _;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::admin::Admin;
use super::{ACCESS_LOG, DIR, NotStarted, POLL, Setup};
use crate::client::PATIENCE;

/// A running Envoy.
pub(super) struct Process {
    envoy: Child,
    guard: Child,
    dir: TempDir,
    admin: Admin,
}

impl Process {
    /// Starts an Envoy and waits until it serves.
    pub(super) async fn start(setup: &Setup, turn: Turn) -> Result<Self, NotStarted> {
        let dir = tempfile::Builder::new().prefix("envoy-").tempdir().expect("a temporary directory");
        let path = dir.path();
        write_file(path, "envoy.yaml", &in_place(&setup.bootstrap, path));
        for (name, text) in &setup.files {
            write_file(path, name, &in_place(text, path));
        }
        let file = |name| fs::File::create(path.join(name)).expect("a file in a directory of our own");
        let binary = binary();
        let mut command = Command::new(&binary);
        command
            .arg("--config-path")
            .arg(path.join("envoy.yaml"))
            .arg("--admin-address-path")
            .arg(path.join(ADMIN))
            .args(["--concurrency", &setup.concurrency.max(1).to_string()])
            // Instances must not share memory.
            .arg("--disable-hot-restart")
            // A misspelt field of a test must be an error in watched files too.
            .arg("--reject-unknown-dynamic-fields")
            // The default of ten seconds would delay each read of an access log.
            .args(["--file-flush-interval-msec", "20"])
            .args(["--log-level", "info", "--component-log-level", &setup.component_log_level]);
        if setup.drains_at_once {
            command.args(["--drain-time-s", "0", "--drain-strategy", "immediate"]);
        }
        let envoy =
            command.stdin(Stdio::null()).stdout(file(ACCESS_LOG)).stderr(file(LOG)).spawn().unwrap_or_else(
                |error| panic!("cannot start {}: {error}; {HOW_TO_GET_ENVOY}", binary.display()),
            );
        let guard = guard(&envoy, path);
        // From here on, dropping the value kills the process.
        let mut process = Self { envoy, guard, dir, admin: Admin::default() };
        process.come_up().await.map_err(|why| NotStarted { why, log: process.log(0) })?;
        drop(turn);
        Ok(process)
    }

    pub(super) const fn admin(&self) -> Admin {
        self.admin
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn pid(&self) -> u32 {
        self.envoy.id()
    }

    /// Returns the log after this many bytes.
    pub(super) fn log(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = fs::File::open(self.dir().join(LOG)) {
            let _ = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut bytes));
        }
        // A log may hold any bytes.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the length of the log in bytes.
    pub(super) fn logged(&self) -> u64 {
        fs::metadata(self.dir().join(LOG)).map_or(0, |file| file.len())
    }

    async fn come_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + STARTS_WITHIN;
        loop {
            if let Some(status) = self.envoy.try_wait().expect("our own child can be asked") {
                return Err(format!("ended at its start ({status})"));
            }
            if Instant::now() > deadline {
                return Err(format!("is not ready after {STARTS_WITHIN:?}"));
            }
            let address = fs::read_to_string(self.dir().join(ADMIN)).unwrap_or_default();
            if let Ok(address) = address.trim().parse() {
                self.admin = Admin(address);
                if self.admin.ask("/ready").await.is_some_and(|answer| answer.trim() == "LIVE") {
                    return Ok(());
                }
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Kills each process by its own id and waits for it: no process and no port outlives the
        // test. The guard goes first, so that it never kills an id that the system has given to
        // another process.
        for child in [&mut self.guard, &mut self.envoy] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The right to start a process. Each start keeps all cores busy, and many at once would all be
/// late.
pub(super) type Turn = SemaphorePermit<'static>;

/// The turns that are free.
pub(super) static TURNS: Semaphore = Semaphore::const_new(2);

/// The time limit of a start: compiling the module takes five seconds of CPU time, and other tests
/// compete for it.
const STARTS_WITHIN: Duration = Duration::from_secs(2 * PATIENCE.as_secs());
const LOG: &str = "envoy.log";
const ADMIN: &str = "admin.address";
const HOW_TO_GET_ENVOY: &str = "run `make envoy` or set ENVOY=/path/to/envoy";
/// The number of log lines that a failed test prints.
const TAIL: usize = 60;
/// The number of characters that it prints of a line.
const LONG_LINE: usize = 500;

/// Starts a process that kills Envoy and removes its directory when this program ends in any way:
/// the program's end of the pipe closes then. Signals from a terminal reach the guard as well; it
/// waits for the pipe.
fn guard(envoy: &Child, dir: &Path) -> Child {
    Command::new("sh")
        .args([
            "-c",
            "trap '' INT TERM HUP; read -r _; kill -9 \"$0\"; rm -rf \"$1\"",
            &envoy.id().to_string(),
        ])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a system with a shell")
}

/// Returns the path of the Envoy under test: `$ENVOY`, or the one that `make envoy` installs.
///
/// # Panics
///
/// If the binary does not exist.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ENVOY").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/envoy");
    assert!(installed.exists(), "there is no Envoy to test with: {HOW_TO_GET_ENVOY}");
    installed
}

/// Returns a text with [`DIR`] replaced by `dir`.
pub(super) fn in_place(text: &str, dir: &Path) -> String {
    text.replace(DIR, &dir.display().to_string())
}

/// Writes a file into `dir` atomically, as Envoy requires of watched files.
pub(super) fn write_file(dir: &Path, name: &str, text: &str) {
    let unfinished = dir.join(format!("{name}.new"));
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, dir.join(name)))
        .unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
}

/// Returns the end of a log, framed, without Envoy's messages of every start and the ends of very
/// long lines.
pub(super) fn framed(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.contains("[info][main]")).collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(TAIL));
    let mut text = format!("┌── Envoy's log, last {} lines\n", tail.len());
    for line in tail {
        let _ = writeln!(text, "│ {}", line.chars().take(LONG_LINE).collect::<String>());
    }
    text.push_str("└──");
    text
}
