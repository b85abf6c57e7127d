//! Tollgate limits LLM traffic by what it costs: an Envoy HTTP filter.
//!
//! The way of a call, which is also the order of the modules:
//!
//! 1. The request's head says who calls ([`identity`]) and, by its path, which API ([`api`]).
//! 2. Its body says what the model will read, which is counted exactly ([`tokens`]).
//! 3. What the call will cost is held in every budget that applies ([`tiers`], [`limits`]), in a
//!    table that all workers share ([`store`]); or the call is refused ([`reply`]).
//! 4. The response passes; its usage is read on the way ([`api::answer`]).
//! 5. At the end, however it comes, the reservation is replaced by what was used ([`exchange`]).
//!
//! Everything here is plain Rust without I/O; the adapter to Envoy is compiled for wasm only.
//! `ARCHITECTURE.md` has the decisions.

// A panic in the filter ends a worker's whole VM and every stream on it, so whatever could panic is
// refused outside tests.
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

// In the order of dependency: a module uses only modules above it.
pub mod units;
pub mod coding;
pub mod protobuf;
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
