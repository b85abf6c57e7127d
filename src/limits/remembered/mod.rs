//! Records beside budgets that all workers share: pauses that upstreams ask for, learned values of
//! models, rates of limits that adapt, crossings of global budgets, names.
//!
//! In: a key and an event. Out: the record of it. Each file is one kind of [`Record`], which has an
//! entry of its own or none at all.
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
pub(in crate::limits) mod recent;
pub(in crate::limits) mod record;
mod running_mean;
