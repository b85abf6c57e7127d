//! One budget for many Envoys: limits whose budgets a rate limit service keeps.
//!
//! ```text
//! GlobalLimits ──▶ begin (leases of this process) ──▶ open? ── Questions ──▶ the service
//!                                                                                 │ Answers
//!                           settle ◀── Holding ◀── decide ◀───────────────────────┘
//!                             │
//! ReportQueue (on a tick) ◀── Tasks: differences to report, leases to request
//! ```
//!
//! In: a tier's global limits and a call's estimate; the service's answers. Out: the call's
//! holding, messages to the service. Not here: sending them (`host`), when a call asks and what
//! happens without an answer (`exchange`).

mod breaker;
pub mod descriptor;
mod task;
mod headers;
mod holding;
pub mod message;
mod report_queue;
mod part;
mod protocol;
mod service;

pub use breaker::{Breaker, BreakerPolicy, Change};
pub use holding::{Begun, Decided, Holding, begin, begin_leased, promised};
pub use message::HeaderValue;
pub use protocol::{Answer, Failure, Method, Question};
pub use report_queue::{Batch, Health, ReportQueue, SOON, TASK_TIMEOUT};
pub use service::{HitsAddend, LONGEST_CLUSTER, OnFailure, Protocol, Service, UNITS, Windows};
pub use task::Task;

#[cfg(test)]
pub(crate) use protocol::Hits;

#[cfg(test)]
mod tests;
