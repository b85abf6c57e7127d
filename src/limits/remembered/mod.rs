//! Records beside budgets that all workers share: pauses that upstreams ask for, what
//! was learned of models, rates of limits that adapt, crossings of global budgets, names.
//!
//! In: a key and what happened. Out: what is remembered of it. Each file is one kind of [`Record`],
//! which lives in an entry of its own or not at all.
//!
//! Not here: budgets (`budget`), notes of workflows (`workflow::note`), leases (`lease`), the queue
//! (`queue`).
//!
//! [`Record`]: record::Record

pub(in crate::limits) mod adaptive;
pub(in crate::limits) mod busy;
pub(in crate::limits) mod calibration;
pub(in crate::limits) mod crossing;
pub(in crate::limits) mod known;
pub(in crate::limits) mod output_reserve;
pub(in crate::limits) mod record;
mod running_mean;
