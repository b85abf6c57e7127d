//! The shape of a limit: how much it allows, over which time, and how it gives back.
//!
//! In: numbers of the configuration. Out: a [`Shape`]. Not here: what is spent (`budget`).

use crate::units::{Amount, Span};

/// How long a term is: calls of a worker that has died stay counted at least so long, and twice
/// that at most. Long enough for a busy worker to renew its calls in time, short enough to wait for
/// after a crash. Modules for tests of crashes (feature `trap`) have a short one.
pub(in crate::limits) const TERM: Span = Span::from_secs(if cfg!(feature = "trap") { 5 } else { 30 });

/// How a budget is given back over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Continuously, up to the burst.
    #[default]
    TokenBucket,
    /// As calls leave the last window's length, estimated from two windows.
    SlidingWindow,
    /// All at once, when a window of the UTC calendar ends.
    FixedWindow,
    /// Each call by itself, when it ends: what is counted is in flight.
    InFlight,
}

/// The amount that a limit allows, and how it gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How it is given back.
    pub algorithm: Algorithm,
    /// How much per window.
    pub max: Amount,
    /// Token bucket only: how much at once.
    pub burst: Amount,
    /// Over which time; none counts as a nanosecond.
    pub window: Span,
}

impl Shape {
    /// The most that can be spent at once: nothing larger is ever allowed.
    #[must_use]
    pub const fn capacity(&self) -> Amount {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::InFlight => self.max,
        }
    }

    /// So many calls at the same time.
    #[must_use]
    pub const fn in_flight(max: Amount) -> Self {
        Self { algorithm: Algorithm::InFlight, max, burst: max, window: TERM }
    }

    pub(in crate::limits) fn window_nanos(&self) -> u64 {
        self.window.0.max(1)
    }
}
