//! A real Envoy, for one test at a time.
//!
//! In: a configuration, mostly a [`Bootstrap`]. Out: its ports, log, metrics, access log and
//! use of CPU and memory. A test never sees more than its own, but the process may have served
//! others before it (`pool`), unless it asks for one of its own ([`Bootstrap::own_process`]).
//! Its files are in a directory that goes with it; when a test fails the end of the log is
//! printed. Ports are the system's choice. Not here: getting the binary (`make envoy` does).

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
use process::{Process, Turn, framed};
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
    /// Closes the connections of a listener that goes at once, instead of after ten minutes.
    pub drains_at_once: bool,
    /// The same for a process that may have served others.
    shared: Option<Box<Shared>>,
}

impl Setup {
    /// Whether a process that was started with this is what `other` asks for.
    fn suits(&self, other: &Self) -> bool {
        let parts = |setup: &Self| (setup.concurrency, setup.drains_at_once);
        parts(self) == parts(other)
            && self.bootstrap == other.bootstrap
            && self.files == other.files
            && self.component_log_level == other.component_log_level
    }
}

/// A running Envoy; it is killed when this is dropped, or serves the next test.
pub struct Envoy {
    /// None only while it is dropped.
    home: Option<Home>,
    listeners: Vec<(String, SocketAddr)>,
}

/// Where an Envoy runs.
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
        times::record();
        let setup = setup.into();
        if let Some(shared) = &setup.shared {
            let mut taken = Taken::take(shared).await?;
            let listeners = core::mem::take(&mut taken.listeners);
            return Ok(Self { home: Some(Home::Shared(Box::new(taken))), listeners });
        }
        let process = Process::start(&setup, Turn::wait().await).await?;
        let Some(listeners) = process.admin().listeners().await else {
            return Err(NotStarted { why: "does not tell its listeners".to_owned(), log: process.log(0) });
        };
        Ok(Self { home: Some(Home::Own(process)), listeners })
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
    pub fn admin(&self) -> SocketAddr {
        self.interface().0
    }

    /// The directory of this instance.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self.home() {
            Home::Own(process) => process.dir(),
            Home::Shared(taken) => taken.dir.path(),
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.home().process().pid()
    }

    /// Everything it has logged so far.
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

    /// The access log so far: each line as JSON.
    ///
    /// # Panics
    ///
    /// If a line is not JSON.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = read_text(&self.dir().join(ACCESS_LOG));
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
        Resources::of(self.home().process().pid())
    }

    /// Puts a file into its directory at once and whole, as Envoy wants files that it watches.
    ///
    /// # Panics
    ///
    /// If the disk is full or the like.
    pub fn write_file(&self, name: &str, text: &str) {
        process::write_file(self.dir(), name, &process::in_place(text, self.dir()));
    }

    /// Replaces the listeners by those of `bootstrap` and waits for Envoy's word on them; whether
    /// it accepted. Connections that are open keep the configuration they had.
    ///
    /// # Panics
    ///
    /// If this Envoy was not started with [`Bootstrap::reloadable`], or says nothing.
    pub async fn reload(&self, bootstrap: &Bootstrap) -> bool {
        assert!(matches!(self.home(), Home::Own(_)), "only one that is `reloadable` can be reloaded");
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

    /// What the admin interface answers to a path, as JSON.
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

/// Why an Envoy did not start.
#[derive(Clone, Debug)]
pub struct NotStarted {
    /// In half a sentence.
    pub why: String,
    /// Its log.
    pub log: String,
}

/// Between two looks at something that only can be polled.
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

/// What is there already; a log may hold any bytes.
fn read_text(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
