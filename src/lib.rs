//! Tollgate is an Envoy HTTP filter that limits LLM traffic by cost.
//!
//! A call passes these steps; the modules come in the same order:
//!
//! 1. The request's head identifies the caller ([`identity`]) and, by its path, the API ([`api`]).
//! 2. The tokens of its body are counted exactly ([`tokens`]).
//! 3. The expected cost is reserved in every budget that applies ([`tiers`], [`limits`]), in a
//!    table that all workers share ([`store`]), or the call is refused ([`reply`]).
//! 4. Usage is read while the response passes ([`api::answer`]).
//! 5. At the end of the exchange, however it ends, the reservation is replaced by the usage
//!    ([`exchange`]).
//!
//! Everything here is plain Rust without I/O; the adapter to Envoy is compiled for wasm only.
//! `ARCHITECTURE.md` explains the decisions.

// A panic in the filter kills a worker's VM and every stream on it. Outside tests, these lints deny
// code that could panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

// In the order of dependency: a module uses only the modules above it.
pub mod units;
pub mod coding;
pub mod protobuf;
pub mod websocket;
pub mod config;
pub mod identity;
pub mod api;
pub mod tokens;
pub mod store;
pub mod limits;
pub mod tiers;
pub mod metrics;
pub mod rls;
pub mod settings;
pub mod reply;
pub mod exchange;
#[cfg(any(target_arch = "wasm32", test))]
mod host;
