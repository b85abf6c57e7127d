//! Where the counters are kept, and the one operation on them.
//!
//! In: charges, each an amount for a counter. Out: where each counter stands then. All charges of a
//! call are one atomic step, whatever else is going on. Windows are fixed and begin with the first
//! hit, as Limitador's do.
//!
//! Limits, conditions and counters are Limitador's, its storages are not used: they know one amount
//! for all counters of a call and none to give back; the one in memory checks and updates in two
//! steps, between which others may come; the one on Redis does so too, and as of 0.14 does not
//! compile without RocksDB. Its traits for other storages cannot be implemented elsewhere, because
//! nobody else can make their error. Not here: what a call means.

mod memory;
mod redis;

use core::time::Duration;

use ::redis::RedisError;
use limitador::counter::Counter;

/// The most that a counter holds. Two of it can be added exactly in the floating point numbers of
/// Redis' scripts.
pub(crate) const MOST: u64 = 1 << 52;

/// What to do to a counter.
pub(crate) struct Charge {
    pub(crate) counter: Counter,
    pub(crate) amount: Amount,
}

/// How much, and in which direction.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// 0 only looks.
    Take(u64),
    /// What is given back never makes room below nothing used. It is never refused.
    GiveBack(u64),
}

/// When charges are made.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Never: only says whether they would fit.
    Look,
    /// If all of them fit. What is given back, always.
    Fit,
    /// Always.
    Count,
}

/// Where a counter stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether its charge did not fit.
    pub(crate) is_over: bool,
    /// What has been used, after the call.
    pub(crate) used: u64,
    /// When its window ends; a whole window if none has begun.
    pub(crate) resets_in: Duration,
}

/// A storage of counters.
pub(crate) enum Store {
    /// In this process.
    Memory(memory::Memory),
    /// In a Redis, shared by all who use it.
    Redis(redis::Redis),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(memory::Memory::default())
    }

    pub(crate) async fn redis(url: &str) -> Result<Self, RedisError> {
        Ok(Self::Redis(redis::Redis::connect(url).await?))
    }

    /// Gives back what is to be given back, then charges what is to be charged; a standing for each
    /// charge.
    pub(crate) async fn apply(&self, act: Act, charges: &[Charge]) -> Result<Vec<Standing>, RedisError> {
        match self {
            Self::Memory(memory) => Ok(memory.apply(act, charges)),
            Self::Redis(redis) => redis.apply(act, charges).await,
        }
    }
}
