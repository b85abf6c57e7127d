//! The adapter to Envoy: the only place that names `proxy_wasm`.
//!
//! In: the host's callbacks. Out: events for the exchange, and its effects carried out as host calls. Not here: any decision about
//! a call. A host call that fails is dropped or worked around, never unwrapped: a panic ends the VM of a worker.
//!
//! ```text
//! Root (one per configuration and VM) ── creates ──▶ Stream (one per exchange)
//!    │ on_tick: Hold, Remote, Waiting, Slots          │ callbacks ⇄ Exchange
//!    └──────────────── Vm (one per VM: counter, metrics, keys, Remotes) ───┘
//! ```

mod calls;
mod configured;
mod flow;
mod hold;
mod lines;
mod remote;
mod root;
mod stream;
mod ticker;
#[cfg(feature = "trap")]
mod trap;
mod vm;
mod waiting;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    // The SDK's own log goes unused: every line comes from `calls::log`.
    proxy_wasm::set_log_level(LogLevel::Critical);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::new()));
}}
