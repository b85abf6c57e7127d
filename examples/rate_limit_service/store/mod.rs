//! The storage of counters, and its one operation.
//!
//! In: charges, each an amount for a counter. Out: the standing of each counter afterwards. All
//! charges of a call are one atomic step, even with concurrent calls. Windows are fixed and begin
//! with the first hit, as Limitador's do.
//!
//! Limits, conditions and counters come from Limitador, but its storages do not fit: they know one
//! amount for all counters of a call, and no refunds; the one in memory checks and updates in two
//! steps, between which other calls can come; the one on Redis does too, and as of 0.14 does not
//! compile without RocksDB. Other crates cannot implement its storage traits, because they cannot
//! create its error type. Not here: the meaning of a call.

mod memory;
mod redis;

use core::time::Duration;

use ::redis::RedisError;
use limitador::counter::Counter;

/// The most that a counter holds. Redis' scripts can add two of these exactly in floating point.
pub(crate) const MOST: u64 = 1 << 52;

/// A change to a counter.
pub(crate) struct Charge {
    pub(crate) counter: Counter,
    pub(crate) amount: Amount,
}

/// An amount with its direction.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Charges the amount; 0 only checks.
    Take(u64),
    /// Refunds the amount, down to zero. A refund always succeeds.
    GiveBack(u64),
}

/// The condition for making charges.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Makes no charge, and only checks whether they would fit.
    Look,
    /// Makes all charges if all fit. Makes refunds in any case.
    Fit,
    /// Makes all charges in any case.
    Count,
}

/// The standing of a counter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether its charge did not fit.
    pub(crate) is_over: bool,
    /// The amount used after the call.
    pub(crate) used: u64,
    /// The time until its window ends; a whole window if none has begun.
    pub(crate) resets_in: Duration,
}

/// A storage of counters.
pub(crate) enum Store {
    /// In this process.
    Memory(memory::Memory),
    /// In a Redis, which several services can share.
    Redis(redis::Redis),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(memory::Memory::default())
    }

    pub(crate) async fn redis(url: &str) -> Result<Self, RedisError> {
        Ok(Self::Redis(redis::Redis::connect(url).await?))
    }

    /// Makes the refunds, then the charges. Returns a standing for each.
    pub(crate) async fn apply(&self, act: Act, charges: &[Charge]) -> Result<Vec<Standing>, RedisError> {
        match self {
            Self::Memory(memory) => Ok(memory.apply(act, charges)),
            Self::Redis(redis) => redis.apply(act, charges).await,
        }
    }
}
