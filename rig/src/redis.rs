//! A real Redis, started for one test and stopped with it.
//!
//! In: nothing. Out: a running `redis-server` (or `valkey-server`) on a free port of 127.0.0.1, empty, which keeps
//! nothing: no snapshots, no log of its writes. Not here: getting the binary (`make redis` does), and talking to it.

use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use crate::client::PATIENCE;

/// A running Redis; it is killed when this is dropped.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    address: SocketAddr,
    // Its working directory, which goes with it.
    _dir: TempDir,
}

impl Redis {
    /// Starts one and waits until it takes connections.
    ///
    /// # Panics
    ///
    /// If there is no binary, or it does not come up.
    #[must_use]
    pub fn start() -> Self {
        // Redis cannot choose a port by itself, so another process can be quicker to take the one that was free.
        for _ in 0..ATTEMPTS {
            if let Some(redis) = Self::try_start() {
                return redis;
            }
        }
        panic!("Redis did not start, each time on another port that was free");
    }

    /// Whether there is a binary to start.
    #[must_use]
    pub fn is_installed() -> bool {
        let runs = |binary| {
            let mut version = Command::new(binary);
            version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        BINARIES.into_iter().any(runs)
    }

    /// Where it is: `redis://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn try_start() -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("redis-").tempdir().expect("a temporary directory");
        let address = free_address();
        let mut process = BINARIES
            .iter()
            .find_map(|binary| spawn(binary, address, &dir))
            .unwrap_or_else(|| panic!("neither of {BINARIES:?} is there; run `make redis`"));
        let output = process.stdout.take().expect("its output is piped");
        // From here on dropping it kills the process.
        let redis = Self { process, address, _dir: dir };
        takes_connections(output).then_some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // By its own id, and waited for: no process and no port outlives the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const BINARIES: [&str; 2] = ["redis-server", "valkey-server"];
const ATTEMPTS: usize = 5;

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("the address of a listener")
}

/// Nothing if there is no such binary.
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

/// Whether it says that it takes connections, before it ends.
fn takes_connections(output: ChildStdout) -> bool {
    let (said, heard) = mpsc::channel();
    // Reads on to the end, so that it never has to wait for its output to be read.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains("Ready to accept connections") {
                let _ = said.send(());
            }
        }
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(()) => true,
        Err(mpsc::RecvTimeoutError::Disconnected) => false,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("Redis did not come up within {PATIENCE:?}"),
    }
}
