//! The filter on a real Envoy: what only the host can prove.
//!
//! Each test starts its own Envoy, upstream and clients on ports of the system's choice. `make test` builds the module and gets
//! Envoy first.

mod bench;

mod bad_input;
mod budgets;
mod configuration;
mod holding;
mod host;
mod observability;
