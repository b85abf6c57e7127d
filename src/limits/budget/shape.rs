//! The shape of a limit: its amount, its window, and how it gives back.
//!
//! In: numbers of the configuration. Out: a [`Shape`]. Not here: the amount spent (`budget`).

use crate::units::{Amount, Span};

/// The length of a term. The calls of a dead worker stay counted for one to two terms. That is long
/// enough for a busy worker to renew its calls in time, and short enough to wait for after a crash.
/// Modules for tests of crashes (feature `trap`) have a short one.
pub(in crate::limits) const TERM: Span = Span::from_secs(if cfg!(feature = "trap") { 5 } else { 30 });

/// How a budget gives back over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Continuously, up to the burst.
    #[default]
    TokenBucket,
    /// As calls leave the sliding window, estimated from two windows.
    SlidingWindow,
    /// All at once, when a window of the UTC calendar ends.
    FixedWindow,
    /// Each call by itself, when it ends: the limit counts calls in flight.
    InFlight,
}

/// The amount that a limit allows, and how it gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How it is given back.
    pub algorithm: Algorithm,
    /// The amount per window.
    pub max: Amount,
    /// Token bucket only: the most that can be spent at once.
    pub burst: Amount,
    /// The window; zero counts as a nanosecond.
    pub window: Span,
}

impl Shape {
    /// Returns the most that can be spent at once. A larger amount is never allowed.
    #[must_use]
    pub const fn capacity(&self) -> Amount {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::InFlight => self.max,
        }
    }

    /// Returns the shape of a limit on calls in flight.
    #[must_use]
    pub const fn in_flight(max: Amount) -> Self {
        Self { algorithm: Algorithm::InFlight, max, burst: max, window: TERM }
    }

    pub(in crate::limits) fn window_nanos(&self) -> u64 {
        self.window.0.max(1)
    }
}
