//! Tasks: work at the service that no call waits for.
//!
//! In: settled holdings, leases that run short. Out: [`Task`]s. Not here: when they are done
//! (`report_queue`).

use super::descriptor::Descriptor;
use crate::limits::{Account, Unit};
use crate::units::{Amount, Timestamp};

/// A request to the service that no call waits for.
#[derive(Debug)]
pub enum Task {
    /// Report a difference.
    Report(Report),
    /// Request a lease.
    Lease(LeaseRequest),
}

/// An amount used of a budget that the service has not charged, or charged and not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The budget.
    pub of: Descriptor,
    /// The amount, as the service counts.
    pub hits: u64,
    /// Whether it is given back.
    pub given_back: bool,
    /// The end of the window that it belongs to. After that it means nothing.
    pub until: Timestamp,
}

/// A request for a part of a budget to spend in this process.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The budget.
    pub of: Descriptor,
    /// The unit of the budget.
    pub unit: &'static Unit,
    /// The account of the lease.
    pub account: Account,
    /// The amount.
    pub amount: Amount,
}
