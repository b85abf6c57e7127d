//! Numbers as LLM APIs send them in practice: integers, floats, numbers in strings, nothing,
//! nonsense.
//!
//! In: any JSON value. Out: [`Whole`]. Not here: the choice of numbers to read.

use core::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A count that must not make its whole document unreadable when it is malformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Whole {
    /// A count; fractions are rounded up.
    Count(u64),
    /// `null`, or absent.
    #[default]
    Absent,
    /// A value that is negative, not finite, or not a number.
    Invalid,
}

impl Whole {
    /// Returns the count, if it is one.
    pub(super) const fn count(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Absent | Self::Invalid => None,
        }
    }

    fn of_float(value: f64) -> Self {
        if value.is_finite() && value >= 0.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative by the check above; larger than u64 saturates, which is what is wanted"
            )]
            return Self::Count(value.ceil() as u64);
        }
        Self::Invalid
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_u64<E>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole::Count(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Whole, E> {
                Ok(u64::try_from(value).map_or(Whole::Invalid, Whole::Count))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Whole, E> {
                Ok(Whole::of_float(value))
            }
            fn visit_str<E>(self, text: &str) -> Result<Whole, E> {
                Ok(text.trim().parse().map_or(Whole::Invalid, Whole::of_float))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Whole, E> {
                Ok(Whole::Invalid)
            }
            fn visit_unit<E>(self) -> Result<Whole, E> {
                Ok(Whole::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Whole, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Whole::Invalid)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Whole, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Whole::Invalid)
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

impl Whole {
    /// Subtracts a count from a count.
    pub(super) fn less(self, other: u64) -> Self {
        match self {
            Self::Count(count) => Self::Count(count.saturating_sub(other)),
            other => other,
        }
    }
}

/// Splits a total into parts: each reported part, capped at the rest of the total, and finally the
/// rest. Unreported parts are zero.
pub(super) fn parts<const N: usize, const M: usize>(total: u64, told: [Whole; N]) -> [Option<u64>; M] {
    const { assert!(M == N + 1, "the parts and what is left") };
    let mut left = total;
    let mut told = told.into_iter();
    core::array::from_fn(|_| {
        let part = told.next().map_or(left, |part| part.count().unwrap_or(0).min(left));
        left = left.saturating_sub(part);
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::{Whole, parts};

    #[test]
    fn parts_never_exceed_their_total() {
        assert_eq!(parts(10, [Whole::Count(3), Whole::Absent]), [Some(3), Some(0), Some(7)]);
        assert_eq!(parts(10, [Whole::Count(8), Whole::Count(8)]), [Some(8), Some(2), Some(0)]);
        assert_eq!(parts(10, [Whole::Invalid]), [Some(0), Some(10)]);
    }

    fn read(json: &str) -> Whole {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn counts_in_every_dress_are_read() {
        for (json, count) in [("12", 12), ("12.0", 12), ("12.2", 13), ("\"12\"", 12), ("0", 0), ("1e3", 1000)]
        {
            assert_eq!(read(json), Whole::Count(count), "{json}");
        }
        assert_eq!(read("1e300"), Whole::Count(u64::MAX));
    }

    #[test]
    fn nonsense_is_told_from_absence() {
        assert_eq!(read("null"), Whole::Absent);
        for json in ["-1", "-0.5", "\"many\"", "true", "[1,[2]]", "{\"a\":{}}", "\"NaN\"", "\"inf\""] {
            assert_eq!(read(json), Whole::Invalid, "{json}");
        }
    }
}
