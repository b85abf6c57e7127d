//! What is to be done at the service without a call waiting for it.
//!
//! In: holdings that were settled, leases that run short. Out: [`Task`]s. Not here: when they are
//! done (`report_queue`).

use super::descriptor::Descriptor;
use crate::limits::{Account, Unit};
use crate::units::{Amount, Timestamp};

/// Something to be done at the service without a call waiting for it.
#[derive(Debug)]
pub enum Task {
    /// To be told what was used.
    Report(Report),
    /// To be asked for.
    Lease(LeaseRequest),
}

/// What was used of a budget and the service does not know of, or what it charged and was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The budget.
    pub of: Descriptor,
    /// How much, as the service counts.
    pub hits: u64,
    /// Whether they are given back.
    pub given_back: bool,
    /// When the window ends that they belong to; they mean nothing after that.
    pub until: Timestamp,
}

/// A part of a budget that is to be spent in this process.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The budget.
    pub of: Descriptor,
    /// What the budget counts.
    pub unit: Unit,
    /// Where the lease is kept.
    pub account: Account,
    /// How much.
    pub amount: Amount,
}

/// One hit on a limit on money: a micro-dollar, because servers count hits in 32 bits.
const NANO_USD_PER_HIT: u64 = 1_000;

/// An amount as the service counts it, rounded up.
#[must_use]
pub(super) fn hits_of(unit: Unit, amount: Amount) -> u64 {
    match unit {
        Unit::NanoUsd => amount.0.div_ceil(NANO_USD_PER_HIT),
        Unit::Requests | Unit::Tokens | Unit::Characters | Unit::InFlight | Unit::ToolCalls => amount.0,
    }
}

/// What the service counts, as an amount.
#[must_use]
pub(super) fn amount_of(unit: Unit, hits: u64) -> Amount {
    match unit {
        Unit::NanoUsd => Amount(hits).times(NANO_USD_PER_HIT),
        Unit::Requests | Unit::Tokens | Unit::Characters | Unit::InFlight | Unit::ToolCalls => Amount(hits),
    }
}
