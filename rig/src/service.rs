//! The example `rate_limit_service` as a separate process, which a test can kill and restart.
//!
//! In: limits in Limitador's YAML, and the URL of a Redis or none. Out: a running process with its
//! address; a failing test prints its log. Not here: building it, which `cargo test` does with all
//! examples; the service with scripted answers ([`crate::rate_limits`]).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::port::ReservedPort;

/// A running service, which is killed when it is dropped.
pub struct RateLimitService {
    port: ReservedPort,
    dir: TempDir,
    options: Vec<String>,
    /// Keeps the output open, because the service would fail to write otherwise.
    running: Option<(Process, BufReader<ChildStdout>)>,
}

impl RateLimitService {
    /// Starts a service and waits until it listens. It counts in memory, or in Redis if there is a
    /// URL.
    ///
    /// # Panics
    ///
    /// If it has not been built, or does not start.
    pub async fn start(limits: &str, redis: Option<&str>) -> Self {
        let options: Vec<_> = redis.iter().flat_map(|url| ["--redis", url]).collect();
        Self::start_with(limits, &options).await
    }

    /// Starts a service with more command line options, beside `--listen` and `--limits`.
    ///
    /// # Panics
    ///
    /// As [`RateLimitService::start`].
    pub async fn start_with(limits: &str, options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("rate-limits-").tempdir().expect("a temporary directory");
        fs::write(dir.path().join(LIMITS), limits).expect("a file in a directory of our own");
        let port = ReservedPort::reserve();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut service = Self { port, dir, options, running: None };
        service.restart().await;
        service
    }

    /// Returns its address, whether or not it is running.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Kills it by SIGKILL. Its port then refuses connections.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Restarts it on the same port with the same limits.
    ///
    /// # Panics
    ///
    /// As [`RateLimitService::start`].
    pub async fn restart(&mut self) {
        self.kill();
        let log = fs::File::create(self.dir.path().join(LOG)).expect("a file in a directory of our own");
        let program = built();
        let child = Command::new(&program)
            .args(["--listen", &self.address().to_string(), "--limits"])
            .arg(self.dir.path().join(LIMITS))
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        // From here on a panic kills the process, which also ends a read of its output.
        let mut process = Process(child);
        let mut stdout = BufReader::new(process.0.stdout.take().expect("a pipe"));
        let first = spawn_blocking(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).map(|_| (line, stdout))
        });
        let Ok(first) = timeout(PATIENCE, first).await else {
            panic!("the rate limit service does not listen after {PATIENCE:?}")
        };
        let (line, stdout) = first.expect("reading does not panic").expect("its output is text");
        let expected = format!("listening on {}", self.address());
        assert_eq!(line.trim_end(), expected, "the rate limit service's first line");
        self.running = Some((process, stdout));
    }
}

impl Drop for RateLimitService {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read(self.dir.path().join(LOG)).unwrap_or_default();
            eprintln!("── the rate limit service's log\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// A process that is killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Kill by process id and wait, so that no process and no listener outlives this.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const LIMITS: &str = "limits.yaml";
const LOG: &str = "log";

/// Returns the path of the program. Cargo puts examples into `examples` below the profile's
/// directory, and tests and benchmarks into `deps` beside it.
fn built() -> PathBuf {
    let this = std::env::current_exe().expect("a program knows where it is");
    let mut places = this.ancestors().skip(1).take(2).map(|dir| dir.join("examples/rate_limit_service"));
    places.find(|place| place.exists()).unwrap_or_else(|| {
        let how = "run `cargo build --example rate_limit_service`";
        panic!("there is no rate limit service near {}: {how}", this.display())
    })
}
