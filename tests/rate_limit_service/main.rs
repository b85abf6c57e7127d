//! The example rate limit service, from its clients' side: over gRPC, in memory and on a real
//! Redis.
//!
//! Each test starts its own service, and its own Redis if it needs one (`make redis` installs the
//! binary). Both storages must behave the same, so most tests run on both. Not here: the filter.

mod service;

mod asking;
mod giving_back;
mod kuadrant;
mod restarting;
mod sharing;
mod starting;
