//! A client of the rate limit service, in which global budgets are held.
//!
//! In and out: see its modules. Not here: what is leased from a budget (`limits::lease`).

pub mod breaker;
