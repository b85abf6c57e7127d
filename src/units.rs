//! Quantities: integers that saturate instead of wrapping.
//!
//! In: nothing. Out: [`Amount`], [`Tokens`], [`NanoUsd`], [`Timestamp`], [`Span`]. Not here: how
//! the configuration writes them (`config::scalars`) and how people see them (`reply`).

mod product;

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, AddAssign, Sub};

pub(crate) use product::Product;

/// Gives a counting newtype saturating `+`, `-` and `sum`, so that no hostile number can overflow.
macro_rules! saturating_quantity {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value, which stands for any larger one.
            pub const MAX: Self = Self(u64::MAX);

            /// Multiplies by `factor`.
            #[must_use]
            pub const fn times(self, factor: u64) -> Self {
                Self(self.0.saturating_mul(factor))
            }

            /// Returns whether it is zero.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

saturating_quantity! {
    /// A quantity of what a limit counts, in that limit's own unit: requests, tokens or
    /// nano-dollars.
    Amount
    /// Tokens, as a model reads or writes them.
    Tokens
    /// Money: billionths of a US dollar, so that the price of one token of any model is a whole
    /// number.
    NanoUsd
    /// A length of time in nanoseconds.
    Span
}

impl Span {
    /// Converts from seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Converts from milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the part `jitter` / 2^32 of it; a random `jitter` gives a random part.
    #[must_use]
    pub fn jittered(self, jitter: u32) -> Self {
        let part = u128::from(self.0).saturating_mul(u128::from(jitter)) >> 32;
        // The part is less than the whole, which fits.
        Self(u64::try_from(part).unwrap_or(u64::MAX))
    }

    /// Converts to whole seconds, rounded up.
    #[must_use]
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000_000)
    }

    /// Converts to whole milliseconds, rounded up.
    #[must_use]
    pub const fn as_millis_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }
}

/// A moment in nanoseconds since the Unix epoch, by the host's clock, which may step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the time since `earlier`, or zero if the clock stepped back.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_saturate_at_both_ends() {
        assert_eq!(Tokens::MAX + Tokens(1), Tokens::MAX);
        assert_eq!(Tokens(1) - Tokens(2), Tokens::ZERO);
        assert_eq!(NanoUsd(u64::MAX).times(2), NanoUsd::MAX);
        assert_eq!([Amount(1), Amount(2)].into_iter().sum::<Amount>(), Amount(3));
    }

    #[test]
    fn spans_round_up_to_the_unit_asked_for() {
        assert_eq!(Span(1).as_secs_ceil(), 1);
        assert_eq!(Span::from_secs(2).as_secs_ceil(), 2);
        assert_eq!(Span(1_000_001).as_millis_ceil(), 2);
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_time_passed() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Span::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Span(4));
    }
}
