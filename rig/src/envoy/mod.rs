//! A real Envoy, for one test at a time.
//!
//! In: a configuration, mostly a [`Bootstrap`]. Out: its ports, log, metrics, access log, and use
//! of CPU and memory. A test sees only its own, but the process may have served other tests before
//! (`pool`), unless the test asks for its own process ([`Bootstrap::own_process`]). Dropping the
//! Envoy removes its directory; when a test fails, it prints the end of the log. The system chooses
//! the ports. Not here: installing the binary (`make envoy`).

mod admin;
mod bootstrap;
mod dynamic;
mod example;
mod filter;
mod metrics;
mod pool;
mod process;
mod resources;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::client::PATIENCE;
use crate::times;
use admin::Admin;
pub use bootstrap::Bootstrap;
pub use example::{example, example_global};
pub use filter::{Filter, finisher, wasm_module};
pub use metrics::{Metrics, Sample};
use pool::{Shared, Taken};
pub use process::binary;
use process::{Process, TURNS, framed};
pub use resources::Resources;

/// A placeholder in a configuration for the directory of the Envoy that runs it.
pub const DIR: &str = "@DIR@";

/// The file, below [`DIR`], that receives the access log of [`Bootstrap`] and Envoy's standard
/// output.
pub const ACCESS_LOG: &str = "access.log";

/// The file, below [`DIR`], that holds the listeners of a reloadable Envoy.
pub const LISTENERS: &str = "lds.yaml";

/// The settings with which an Envoy starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The bootstrap configuration as YAML. The admin interface must listen on port 0 of 127.0.0.1.
    pub bootstrap: String,
    /// More files for its directory: name and text.
    pub files: Vec<(String, String)>,
    /// The number of worker threads.
    pub concurrency: usize,
    /// The value of `--component-log-level`, such as `wasm:debug,http:trace`; empty for none.
    pub component_log_level: String,
    /// Whether Envoy closes the connections of a removed listener at once, instead of after ten
    /// minutes.
    pub drains_at_once: bool,
    /// The settings for a process that may have served other tests.
    shared: Option<Box<Shared>>,
}

/// A running Envoy. Dropping it kills the process, or returns it to the pool.
pub struct Envoy {
    /// `None` only during the drop.
    home: Option<Home>,
    listeners: Vec<(String, SocketAddr)>,
}

/// The process of an Envoy.
enum Home {
    Own(Process),
    Shared(Box<Taken>),
}

impl Home {
    const fn process(&self) -> &Process {
        match self {
            Self::Own(process) => process,
            Self::Shared(taken) => taken.process(),
        }
    }
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    ///
    /// # Panics
    ///
    /// If there is no binary, or Envoy does not start; the message has the end of its log.
    pub async fn start(setup: impl Into<Setup>) -> Self {
        match Self::try_start(setup).await {
            Ok(envoy) => envoy,
            Err(NotStarted { why, log }) => panic!("Envoy {why}\n{}", framed(&log)),
        }
    }

    /// Does the same as [`Envoy::start`], for configurations that Envoy should refuse.
    ///
    /// # Errors
    ///
    /// If Envoy exits, or does not serve in time: the reason, and its log.
    ///
    /// # Panics
    ///
    /// If there is no binary.
    pub async fn try_start(setup: impl Into<Setup>) -> Result<Self, NotStarted> {
        times::record();
        let setup = setup.into();
        if let Some(shared) = &setup.shared {
            let mut taken = Taken::take(shared).await?;
            let listeners = core::mem::take(&mut taken.listeners);
            return Ok(Self { home: Some(Home::Shared(Box::new(taken))), listeners });
        }
        let process = Process::start(&setup, TURNS.acquire().await.expect("turns are never closed")).await?;
        let Some(listeners) = process.admin().listeners().await else {
            return Err(NotStarted { why: "does not tell its listeners".to_owned(), log: process.log(0) });
        };
        Ok(Self { home: Some(Home::Own(process)), listeners })
    }

    /// Returns the address of the listener, or of the first of several.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listeners.first().expect("the configuration has a listener").1
    }

    /// Returns the address of the listener of this name.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.unwrap_or_else(|| panic!("no listener {name:?} in {:?}", self.listeners)).1
    }

    /// Returns the address of the admin interface.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.interface().0
    }

    /// Returns the directory of this instance.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self.home() {
            Home::Own(process) => process.dir(),
            Home::Shared(taken) => taken.dir.path(),
        }
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.home().process().pid()
    }

    /// Returns the log so far.
    #[must_use]
    pub fn log(&self) -> String {
        match self.home() {
            Home::Own(process) => process.log(0),
            Home::Shared(taken) => taken.process().log(taken.log_from),
        }
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

    /// Returns the access log so far: each line as JSON.
    ///
    /// # Panics
    ///
    /// If a line is not JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = read_text(&self.dir().join(ACCESS_LOG));
        // Envoy is still writing a last line without a newline.
        let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines).lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("access log: {error} in {line}"))
            })
            .collect()
    }

    /// Waits until the access log has `count` lines and returns all lines.
    ///
    /// # Panics
    ///
    /// If it has fewer after [`PATIENCE`].
    pub async fn wait_for_access_log(&self, count: usize) -> Vec<Value> {
        let enough = || Some(self.access_log()).filter(|lines| lines.len() >= count);
        poll(enough).await.unwrap_or_else(|| {
            panic!(
                "{} lines instead of {count} in the access log after {PATIENCE:?}",
                self.access_log().len()
            )
        })
    }

    /// Returns all metrics, as Prometheus would read them, once the filter has written all that it
    /// has counted: when no reading for 0.4 seconds shows another value of the filter's metrics.
    ///
    /// # Panics
    ///
    /// If the admin interface does not answer, or the metrics go on to change for [`PATIENCE`].
    pub async fn metrics(&self) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        let mut metrics = self.metrics_so_far().await;
        let mut since = Instant::now();
        while since.elapsed() < SETTLED {
            assert!(Instant::now() < deadline, "the metrics still change after {PATIENCE:?}");
            sleep(SETTLED / 8).await;
            let later = self.metrics_so_far().await;
            if !later.of_filter().eq(metrics.of_filter()) {
                since = Instant::now();
            }
            metrics = later;
        }
        metrics
    }

    /// Returns all metrics as Envoy has them. The filter may be about to write more.
    ///
    /// # Panics
    ///
    /// If the admin interface does not answer.
    pub async fn metrics_so_far(&self) -> Metrics {
        self.interface().metrics().await.expect("Envoy's admin interface answers")
    }

    /// Polls the metrics until they satisfy `condition` and returns them.
    ///
    /// # Panics
    ///
    /// If they do not within [`PATIENCE`].
    pub async fn wait_for_metrics(&self, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.metrics_so_far().await;
            if condition(&metrics) {
                return metrics;
            }
            assert!(Instant::now() < deadline, "the metrics do not become as expected within {PATIENCE:?}");
            sleep(POLL).await;
        }
    }

    /// Returns the CPU time and memory used so far.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    #[must_use]
    pub fn resources(&self) -> Resources {
        Resources::of(self.home().process().pid())
    }

    /// Writes a file into its directory atomically, as Envoy requires of watched files.
    ///
    /// # Panics
    ///
    /// If the write fails, for example on a full disk.
    pub fn write_file(&self, name: &str, text: &str) {
        process::write_file(self.dir(), name, &process::in_place(text, self.dir()));
    }

    /// Replaces the listeners by those of `bootstrap`, and returns whether Envoy accepted them.
    /// Open connections keep their configuration.
    ///
    /// # Panics
    ///
    /// If this Envoy was not started with [`Bootstrap::reloadable`], or does not respond.
    pub async fn reload(&self, bootstrap: &Bootstrap) -> bool {
        assert!(matches!(self.home(), Home::Own(_)), "only one that is `reloadable` can be reloaded");
        let counts = |metrics: &Metrics| {
            ["success", "rejected"].map(|result| {
                let name = format!("envoy_listener_manager_lds_update_{result}");
                metrics.sum(&name, &[])
            })
        };
        let before = counts(&self.metrics_so_far().await);
        self.write_file(LISTENERS, &bootstrap.listeners());
        let after = self
            .wait_for_metrics(|metrics| {
                let warming = metrics.sum("envoy_listener_manager_total_listeners_warming", &[]);
                counts(metrics) != before && warming == 0.0
            })
            .await;
        counts(&after)[0] > before[0]
    }

    /// Returns the admin interface's answer to a path, as JSON.
    ///
    /// # Panics
    ///
    /// If the admin interface does not answer with JSON.
    pub async fn admin_json(&self, path: &str) -> Value {
        let text = self.interface().ask(path).await.expect("Envoy's admin interface answers");
        serde_json::from_str(&text).expect("an answer in JSON")
    }

    fn interface(&self) -> Admin {
        self.home().process().admin()
    }

    const fn home(&self) -> &Home {
        self.home.as_ref().expect("it is there until the end")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", framed(&self.log()));
        } else if let Some(Home::Shared(taken)) = self.home.take() {
            taken.give_back();
        }
    }
}

/// The failure of an Envoy to start.
#[derive(Clone, Debug)]
pub struct NotStarted {
    /// The reason, as a clause.
    pub why: String,
    /// Envoy's log.
    pub log: String,
}

/// The time after which metrics that do not change are complete. The filter writes its metrics
/// every 50 ms; a busy machine may be late.
const SETTLED: Duration = Duration::from_millis(400);

/// The interval between two polls.
const POLL: Duration = Duration::from_millis(5);

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

/// Returns the text of a file so far; a log may hold any bytes.
fn read_text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
