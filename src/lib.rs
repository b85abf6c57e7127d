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

pub mod api;
pub mod config;
pub mod identity;
pub mod limits;
pub mod metrics;
pub mod store;
pub mod tokens;
pub mod units;
