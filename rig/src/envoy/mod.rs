//! A real Envoy, started for one test and stopped with it.
//!
//! In: a configuration, mostly a [`Bootstrap`]. Out: a running process with its ports, log,
//! metrics, access log and use of CPU and memory. Everything it writes is in a directory of its own
//! that goes with it; when a test fails the end of the log is printed. Ports are the system's
//! choice, and two instances never share anything. Not here: getting the binary (`make envoy`
//! does).

mod bootstrap;
mod example;
mod filter;
mod metrics;
mod resources;

use core::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::client::{self, PATIENCE, Request};
pub use bootstrap::Bootstrap;
pub use example::{example, example_global};
pub use filter::{Filter, finisher, wasm_module};
pub use metrics::{Metrics, Sample};
pub use resources::Resources;

/// In a configuration, stands for the directory of the Envoy that runs it.
pub const DIR: &str = "@DIR@";

/// The file, below [`DIR`], into which [`Bootstrap`] has the access log written, and what Envoy
/// writes to its standard output.
pub const ACCESS_LOG: &str = "access.log";

/// The file, below [`DIR`], from which listeners come if they can be reloaded.
pub const LISTENERS: &str = "lds.yaml";

/// What an Envoy is started with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The bootstrap configuration as YAML. The admin interface must listen on port 0 of 127.0.0.1.
    pub bootstrap: String,
    /// More files for its directory: name and text.
    pub files: Vec<(String, String)>,
    /// Worker threads.
    pub concurrency: usize,
    /// For `--component-log-level`, such as `wasm:debug,http:trace`; empty for none.
    pub component_log_level: String,
}

/// A running Envoy; it is killed when this is dropped.
pub struct Envoy {
    process: Child,
    dir: TempDir,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
}

impl Envoy {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    ///
    /// If there is no binary, or it does not come up; the end of its log says why.
    pub async fn start(setup: impl Into<Setup>) -> Self {
        match Self::try_start(setup).await {
            Ok(envoy) => envoy,
            Err(NotStarted { why, log }) => panic!("Envoy {why}\n{}", framed(&log)),
        }
    }

    /// As [`Envoy::start`], for configurations that it shall not accept.
    ///
    /// # Errors
    ///
    /// If it ends, or does not serve in time: why, and its log.
    ///
    /// # Panics
    ///
    /// If there is no binary.
    pub async fn try_start(setup: impl Into<Setup>) -> Result<Self, NotStarted> {
        let setup = setup.into();
        let dir = tempfile::Builder::new().prefix("envoy-").tempdir().expect("a temporary directory");
        let path = dir.path();
        write_file(path, "envoy.yaml", &setup.bootstrap);
        for (name, text) in &setup.files {
            write_file(path, name, text);
        }
        let file = |name| fs::File::create(path.join(name)).expect("a file in a directory of our own");
        let binary = binary();
        let process = Command::new(&binary)
            .arg("--config-path")
            .arg(path.join("envoy.yaml"))
            .arg("--admin-address-path")
            .arg(path.join(ADMIN))
            .args(["--concurrency", &setup.concurrency.max(1).to_string()])
            // Each instance is on its own: no shared memory to meet in.
            .arg("--disable-hot-restart")
            // The default of ten seconds is long to wait for an access log.
            .args(["--file-flush-interval-msec", "20"])
            .args(["--log-level", "info", "--component-log-level", &setup.component_log_level])
            .stdin(Stdio::null())
            .stdout(file(ACCESS_LOG))
            .stderr(file(LOG))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}; {HOW_TO_GET_ENVOY}", binary.display()));
        // From here on dropping it kills the process.
        let admin = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { process, dir, admin, listeners: Vec::new() };
        envoy.come_up().await.map_err(|why| NotStarted { why, log: envoy.log() })?;
        Ok(envoy)
    }

    /// Where the listener listens; if there are several, the first.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listeners.first().expect("the configuration has a listener").1
    }

    /// Where the listener of this name listens.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no listener {name:?} in {:?}", self.listeners)).1
    }

    /// Where the admin interface listens.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The directory of this instance.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_text(&self.dir.path().join(LOG))
    }

    /// Waits until a line of the log contains `text` and returns that line.
    ///
    /// # Panics
    ///
    /// If none does within [`PATIENCE`].
    pub async fn wait_for_log(&self, text: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(text)).map(str::to_owned);
        poll(line).await.unwrap_or_else(|| panic!("Envoy logged no {text:?} within {PATIENCE:?}"))
    }

    /// The access log so far: each line as JSON.
    ///
    /// # Panics
    ///
    /// If a line is not JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = read_text(&self.dir.path().join(ACCESS_LOG));
        // A last line without its end is still being written.
        let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines).lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("access log: {error} in {line}"))
            })
            .collect()
    }

    /// Waits until the access log has `count` lines and returns all there are.
    ///
    /// # Panics
    ///
    /// If it has not within [`PATIENCE`].
    pub async fn wait_for_access_log(&self, count: usize) -> Vec<Value> {
        let enough = || Some(self.access_log()).filter(|lines| lines.len() >= count);
        poll(enough).await.unwrap_or_else(|| {
            panic!(
                "{} lines instead of {count} in the access log after {PATIENCE:?}",
                self.access_log().len()
            )
        })
    }

    /// All metrics, as Prometheus would read them.
    ///
    /// # Panics
    ///
    /// If the admin interface does not answer.
    pub async fn metrics(&self) -> Metrics {
        Metrics::parse(&self.ask_admin("/stats/prometheus").await.expect("Envoy's admin interface answers"))
    }

    /// Polls the metrics until they satisfy `condition` and returns them.
    ///
    /// # Panics
    ///
    /// If they do not within [`PATIENCE`].
    pub async fn wait_for_metrics(&self, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics().await;
            if condition(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "the metrics do not become as expected within {PATIENCE:?}");
            sleep(POLL).await;
        }
    }

    /// CPU time and memory used so far.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[must_use]
    pub fn resources(&self) -> Resources {
        Resources::of(self.process.id())
    }

    /// Puts a file into its directory at once and whole, as Envoy wants files that it watches.
    ///
    /// # Panics
    ///
    /// If the disk is full or the like.
    pub fn write_file(&self, name: &str, text: &str) {
        write_file(self.dir.path(), name, text);
    }

    /// Replaces the listeners by those of `bootstrap` and waits for Envoy's word on them; whether
    /// it accepted. Connections that are open keep the configuration they had.
    ///
    /// # Panics
    ///
    /// If this Envoy was not started with [`Bootstrap::reloadable`], or says nothing.
    pub async fn reload(&self, bootstrap: &Bootstrap) -> bool {
        let counts = |metrics: &Metrics| {
            ["success", "rejected"].map(|result| {
                let name = format!("envoy_listener_manager_lds_update_{result}");
                metrics.sum(&name, &[])
            })
        };
        let before = counts(&self.metrics().await);
        self.write_file(LISTENERS, &bootstrap.listeners());
        let after = self
            .wait_for_metrics(|metrics| {
                let warming = metrics.sum("envoy_listener_manager_total_listeners_warming", &[]);
                counts(metrics) != before && warming == 0.0
            })
            .await;
        counts(&after)[0] > before[0]
    }

    async fn come_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("our own child can be asked") {
                return Err(format!("ended at its start ({status})"));
            }
            if Instant::now() > deadline {
                return Err(format!("is not ready after {PATIENCE:?}"));
            }
            if let Ok(admin) = read_text(&self.dir.path().join(ADMIN)).trim().parse() {
                self.admin = admin;
                if self.ask_admin("/ready").await.is_some_and(|answer| answer.trim() == "LIVE") {
                    break;
                }
            }
            sleep(POLL).await;
        }
        let listeners =
            self.ask_admin("/listeners?format=json").await.ok_or("does not tell its listeners")?;
        let listeners: Value =
            serde_json::from_str(&listeners).map_err(|error| format!("/listeners: {error}"))?;
        for listener in listeners["listener_statuses"].as_array().into_iter().flatten() {
            let address = &listener["local_address"]["socket_address"];
            let (ip, port) = (address["address"].as_str(), address["port_value"].as_u64());
            if let (Some(Ok(ip)), Some(Ok(port))) = (ip.map(str::parse), port.map(u16::try_from)) {
                let name = listener["name"].as_str().unwrap_or_default().to_owned();
                self.listeners.push((name, SocketAddr::new(ip, port)));
            }
        }
        Ok(())
    }

    /// What the admin interface answers to a GET with 200.
    /// What the admin interface answers to a path, as JSON.
    ///
    /// # Panics
    ///
    /// If the admin interface does not answer with JSON.
    pub async fn admin_json(&self, path: &str) -> Value {
        let text = self.ask_admin(path).await.expect("Envoy's admin interface answers");
        serde_json::from_str(&text).expect("an answer in JSON")
    }

    async fn ask_admin(&self, path: &str) -> Option<String> {
        let mut response = client::send(self.admin, Request::get(path)).await.ok()?;
        let body = response.body().await.ok()?;
        (response.status() == 200).then(|| String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // By its own id, and waited for: no process and no port outlives the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", framed(&self.log()));
        }
    }
}

/// Why an Envoy did not start.
#[derive(Clone, Debug)]
pub struct NotStarted {
    /// In half a sentence.
    pub why: String,
    /// Its log.
    pub log: String,
}

const LOG: &str = "envoy.log";
const ADMIN: &str = "admin.address";
const HOW_TO_GET_ENVOY: &str = "run `make envoy` or set ENVOY=/path/to/envoy";
/// Lines of log that are shown when a test fails.
const TAIL: usize = 60;
/// Characters of a line that are shown.
const LONG_LINE: usize = 500;
/// Between two looks at something that only can be polled.
const POLL: Duration = Duration::from_millis(5);

/// The Envoy to test with: `$ENVOY`, or what `make envoy` has installed.
///
/// # Panics
///
/// If it has not been installed.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ENVOY").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/envoy");
    assert!(installed.exists(), "there is no Envoy to test with: {HOW_TO_GET_ENVOY}");
    installed
}

async fn poll<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if seen.is_some() || Instant::now() > deadline {
            return seen;
        }
        sleep(POLL).await;
    }
}

fn write_file(dir: &Path, name: &str, text: &str) {
    let text = text.replace(DIR, &dir.display().to_string());
    let unfinished = dir.join(format!("{name}.new"));
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, dir.join(name)))
        .unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
}

/// What is there already; a log may hold any bytes.
fn read_text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The end of a log, ready to be read. Without what Envoy says of itself at every start, and
/// without the ends of very long lines.
fn framed(log: &str) -> String {
    let lines: Vec<_> = log.lines().filter(|line| !line.contains("[info][main]")).collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(TAIL));
    let mut text = format!("┌── Envoy's log, last {} lines\n", tail.len());
    for line in tail {
        let _ = writeln!(text, "│ {}", line.chars().take(LONG_LINE).collect::<String>());
    }
    text.push_str("└──");
    text
}
