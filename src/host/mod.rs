//! The adapter to Envoy: the only place that names `proxy_wasm`.
//!
//! In: the host's callbacks. Out: events for the exchange, and its effects carried out as host
//! calls. Not here: any decision about a call. A failed host call is ignored or worked around,
//! never unwrapped, because a panic kills the VM of a worker.
//!
//! ```text
//! Root (one per configuration and VM) ── creates ──▶ Stream (one per exchange)
//!    │ on_tick: Hold, Remote, WaitingRequests, Slots, Counts  │ callbacks ⇄ Exchange
//!    └──────────────── Vm (one per VM: counter, metrics, keys, Remotes) ───┘
//! ```

mod allocator;
#[cfg(target_arch = "wasm32")]
mod calls;
#[cfg(target_arch = "wasm32")]
mod configured;
mod counts;
#[cfg(target_arch = "wasm32")]
mod flow;
mod functions;
mod hold;
#[cfg(target_arch = "wasm32")]
mod lines;
#[cfg(target_arch = "wasm32")]
mod remote;
#[cfg(target_arch = "wasm32")]
mod root;
#[cfg(test)]
mod script;
#[cfg(target_arch = "wasm32")]
mod stream;
mod ticker;
#[cfg(all(feature = "trap", target_arch = "wasm32"))]
mod trap;
#[cfg(target_arch = "wasm32")]
mod vm;
#[cfg(target_arch = "wasm32")]
mod waiting;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: allocator::SizeClasses<std::alloc::System> =
    allocator::SizeClasses::new(std::alloc::System);

#[cfg(target_arch = "wasm32")]
proxy_wasm::main! {{
    // The SDK's own log is silent; every line comes from `calls::log`.
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Critical);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::new()));
}}
