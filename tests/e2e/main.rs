//! The filter on a real Envoy: the behaviour that depends on the host.
//!
//! Each test has its own Envoy, upstream and clients, on ports of the system's choice; the Envoy
//! process serves other tests before and after (`sharing`). `make test` builds the module, and
//! installs Envoy and the official Python and Node clients.

mod bench;
mod calls;
mod probe;

mod budgets;
mod workflows;
mod in_flight;
mod waiting;
mod refusals;
mod crowds;
mod identity;
mod streams;
mod upstreams;
mod endings;
mod finisher;
mod stopping;
mod softening;
mod warnings;
mod tools;
mod global;

mod apis;
mod untold;
mod sdks;
mod mcp;
mod golden;
mod holding;
mod host;
mod sharing;
mod upgrades;
mod sockets;
mod small_buffer;
mod full_table;
mod bad_answers;
mod bad_input;
mod configuration;
mod observability;
mod example;
