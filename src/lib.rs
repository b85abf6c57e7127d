//! Tollgate limits LLM traffic by what it costs.

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
pub mod config;
pub mod identity;
pub mod api;
pub mod tokens;
pub mod store;
pub mod limits;
pub mod tiers;
pub mod settings;
pub mod metrics;
pub mod reply;
pub mod exchange;
#[cfg(target_arch = "wasm32")]
mod host;
