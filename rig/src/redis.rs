//! A real Redis for one test, which the test can kill and restart.
//!
//! In: nothing. Out: a running, empty `redis-server` (or `valkey-server`) on its own port of
//! 127.0.0.1, without persistence. Not here: installing the binary (`make redis`), and talking to
//! it.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::port::ReservedPort;

/// A running Redis, which is killed when it is dropped.
#[derive(Debug)]
pub struct Redis {
    port: ReservedPort,
    // Its working directory, removed with it.
    dir: TempDir,
    running: Option<Process>,
}

impl Redis {
    /// Starts a Redis and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If the binary is missing, or the server does not start.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("redis-").tempdir().expect("a temporary directory");
        let mut redis = Self { port: ReservedPort::reserve(), dir, running: None };
        redis.restart();
        redis
    }

    /// Returns whether a binary is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        let runs = |binary| {
            let mut version = Command::new(binary);
            version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        BINARIES.into_iter().any(runs)
    }

    /// Returns its URL, `redis://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Kills it by SIGKILL. Its data is lost, and its port refuses connections.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Restarts it, empty, on the same port.
    ///
    /// # Panics
    ///
    /// As [`Redis::start`].
    pub fn restart(&mut self) {
        self.kill();
        let mut child = BINARIES
            .iter()
            .find_map(|binary| spawn(binary, self.port.address(), &self.dir))
            .unwrap_or_else(|| panic!("found none of {BINARIES:?}; run `make redis`"));
        let output = child.stdout.take().expect("its output is piped");
        // From here on a panic kills the process.
        self.running = Some(Process(child));
        wait_for_connections(output);
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Kill by process id and wait, so that no process and no port outlives the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];

/// Starts `binary`, or returns nothing if it does not exist.
fn spawn(binary: &str, address: SocketAddr, dir: &TempDir) -> Option<Child> {
    let spawned = Command::new(binary)
        .args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    match spawned {
        Ok(process) => Some(process),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("cannot start {binary}: {error}"),
    }
}

/// Waits until the server reports that it accepts connections.
fn wait_for_connections(output: ChildStdout) {
    let (said, heard) = mpsc::channel();
    // Read to the end, so that the server never blocks on its output.
    thread::spawn(move || {
        let mut log = String::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                let _ = said.send(None);
            }
            log = log + &line + "\n";
        }
        let _ = said.send(Some(log));
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(None) => {}
        Ok(Some(log)) => panic!("Redis failed to start:\n{log}"),
        Err(_) => panic!("Redis did not start within {PATIENCE:?}"),
    }
}
