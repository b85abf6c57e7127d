//! The example rate limit service, as its clients see it: over gRPC, in memory and on a real Redis.
//!
//! Each test starts its own service, and its own Redis where it needs one (`make redis` gets the
//! binary). What holds for one storage holds for the other, so most tests run on both. Not here:
//! the filter.

mod service;

mod asking;
mod giving_back;
mod kuadrant;
mod restarting;
mod sharing;
mod starting;
