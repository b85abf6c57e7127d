//! Envoys that serve several tests in turn. A start takes seconds to compile the module; a new
//! listener in a process that has compiled it takes a tenth of a second.
//!
//! In: the needs of a test ([`Shared`]). Out: a process that no other test uses at the time, shows
//! nothing of earlier tests, and serves the test's clusters and listener. A failed test does not
//! return its process. Not here: which tests share (`Setup`), the process itself (`process`).
//!
//! A removed listener takes its connections (`--drain-time-s 0`), VMs and metrics with it at once.
//! So a process is clean when it shows only the metrics from before its first test; the pool kills
//! a process that does not become clean. The pool resets the counters of Envoy as a whole. Shared
//! data outlives a VM and belongs to a `vm_id`, so each use has its own ([`USE`]).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use super::process::{Process, TURNS, Turn, in_place, write_file};
use super::{LISTENERS, Metrics, NotStarted, POLL, Setup};
use crate::client::PATIENCE;

/// A placeholder in a configuration for the number of this use of a process.
pub(super) const USE: &str = "@USE@";

/// The file, below [`super::DIR`], that holds the clusters.
pub(super) const CLUSTERS: &str = "cds.yaml";

/// The text of a resource file without resources.
pub(super) const NOTHING: &str = "resources: []\n";

/// The needs of a test that shares its process with earlier tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// The settings of the process; it serves all tests with equal settings.
    pub(super) process: Setup,
    /// The text of [`CLUSTERS`].
    pub(super) clusters: String,
    /// The text of [`LISTENERS`], with one listener.
    pub(super) listeners: String,
}

/// A process in use by a test.
pub(super) struct Taken {
    member: Member,
    /// The directory of this use.
    pub(super) dir: TempDir,
    /// The offset of this use's part of the log.
    pub(super) log_from: u64,
    pub(super) listeners: Vec<(String, SocketAddr)>,
}

impl Taken {
    /// Takes a process from the pool and configures the clusters and the listener.
    pub(super) async fn take(shared: &Shared) -> Result<Self, NotStarted> {
        let mut member = Member::clean(&shared.process).await?;
        member.uses += 1;
        let dir = tempfile::Builder::new().prefix("envoy-use-").tempdir().expect("a temporary directory");
        let log_from = member.process.logged();
        let mut taken = Self { member, dir, log_from, listeners: Vec::new() };
        if taken.serve(shared).await {
            return Ok(taken);
        }
        let log = taken.process().log(log_from);
        taken.give_back();
        Err(NotStarted { why: "refuses its clusters or its listener".to_owned(), log })
    }

    pub(super) const fn process(&self) -> &Process {
        &self.member.process
    }

    /// Returns the process to the pool and ends everything that this use began.
    pub(super) fn give_back(self) {
        self.member.put(LISTENERS, NOTHING);
        self.member.put(CLUSTERS, NOTHING);
        if self.member.uses >= MAX_USES {
            return;
        }
        let mut idle = lock();
        idle.push(self.member);
        let one_too_many = (idle.len() > MAX_IDLE).then(|| idle.remove(0));
        // A process takes a moment to exit, and other tests wait for the list.
        drop(idle);
        drop(one_too_many);
    }

    async fn serve(&mut self, shared: &Shared) -> bool {
        static USES: AtomicUsize = AtomicUsize::new(0);
        let this_use = format!("-{}", USES.fetch_add(1, Ordering::Relaxed));
        let place = |text: &str| in_place(text, self.dir.path()).replace(USE, &this_use);
        for (file, text, kind) in [
            (CLUSTERS, &shared.clusters, "cluster_manager_cds"),
            (LISTENERS, &shared.listeners, "listener_manager_lds"),
        ] {
            self.member.put(file, &place(text));
            if !self.member.accepts(kind).await {
                return false;
            }
        }
        self.listeners = self.member.process.admin().listeners().await.unwrap_or_default();
        !self.listeners.is_empty()
    }
}

/// A process of the pool.
struct Member {
    process: Process,
    setup: Setup,
    /// The names and labels of the metrics that it showed before its first use.
    shown: HashSet<String>,
    uses: u32,
}

static IDLE: Mutex<Vec<Member>> = Mutex::new(Vec::new());

/// The most idle processes in the pool. Each takes about 200 MiB.
const MAX_IDLE: usize = 12;

/// The most tests of one process: each leaves its shared data and a thread that writes its access
/// log.
const MAX_USES: u32 = 60;

/// The time limit for a process to drop all traces of its last use.
const FORGETS_WITHIN: Duration = Duration::from_secs(5);

fn lock() -> std::sync::MutexGuard<'static, Vec<Member>> {
    // The list is consistent at every moment, so a panic cannot corrupt it.
    IDLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Member {
    /// Returns a process without traces of earlier uses: an idle one if there is one, otherwise a
    /// new one.
    async fn clean(setup: &Setup) -> Result<Self, NotStarted> {
        loop {
            if let Some(member) = Self::idle(setup) {
                if member.forgets().await {
                    return Ok(member);
                }
                continue;
            }
            if let Ok(turn) = TURNS.try_acquire() {
                return Self::start(setup, turn).await;
            }
            sleep(POLL).await;
        }
    }

    /// Returns the process that has been idle longest.
    fn idle(setup: &Setup) -> Option<Self> {
        let mut idle = lock();
        let found = idle.iter().position(|member| member.setup == *setup)?;
        Some(idle.remove(found))
    }

    async fn start(setup: &Setup, turn: Turn) -> Result<Self, NotStarted> {
        let process = Process::start(setup, turn).await?;
        let metrics = process.admin().metrics().await.expect("Envoy's admin interface answers");
        Ok(Self { process, setup: setup.clone(), shown: series(&metrics).collect(), uses: 0 })
    }

    /// Returns whether the last use ends in time, including its metrics.
    async fn forgets(&self) -> bool {
        let deadline = Instant::now() + FORGETS_WITHIN;
        while Instant::now() < deadline {
            let Some(metrics) = self.process.admin().metrics().await else { return false };
            if series(&metrics).all(|name| self.shown.contains(&name)) {
                return self.process.admin().reset_counters().await.is_some();
            }
            sleep(POLL).await;
        }
        false
    }

    /// Waits for Envoy's verdict on a resource file written after the reset of the counters.
    async fn accepts(&self, kind: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Some(metrics) = self.process.admin().metrics().await else { return false };
            let of = |name: &str| metrics.sum(&format!("envoy_{name}"), &[]);
            let present =
                of("listener_manager_total_listeners_active") + of("cluster_manager_active_clusters");
            let warming =
                of("listener_manager_total_listeners_warming") + of("cluster_manager_warming_clusters");
            if of(&format!("{kind}_update_rejected")) > 0.0 {
                return false;
            }
            if of(&format!("{kind}_update_success")) > 0.0 && present > 0.0 && warming == 0.0 {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }

    fn put(&self, name: &str, text: &str) {
        write_file(self.process.dir(), name, text);
    }
}

/// Returns the names and labels of all metrics but those of the admin interface, which every read
/// changes.
fn series(metrics: &Metrics) -> impl Iterator<Item = String> {
    let samples = metrics.samples.iter().filter(|sample| {
        sample.label("envoy_http_conn_manager_prefix") != Some("admin")
            && !sample.name.starts_with("envoy_listener_admin")
            // This metric appears with the first VM and stays.
            && sample.name != "envoy_wasm_wasm_vm_count"
    });
    samples.map(|sample| format!("{}{:?}", sample.name, sample.labels))
}
