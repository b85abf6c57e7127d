//! Numbers written as text: integers, exact decimals, durations, sizes.
//!
//! In: the text of one value. Out: an integer in the unit asked for, or a [`NotANumber`] with the
//! reason. Not here: floating point, which cannot hold 0.15 exactly, and the source of the text
//! (`kind`).

use crate::units::{Product, Span};
use core::fmt;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// The units of durations in nanoseconds. `ms` precedes `s`, because it ends in it.
const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", MILLISECOND), ("s", SECOND), ("m", 60 * SECOND), ("h", 3_600 * SECOND), ("d", 86_400 * SECOND)];

/// The units of sizes in bytes. `B` is last, because the others end in it.
const SIZE_UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// The bound of a number's digits: 24 digits are exact, and times a day in nanoseconds they fit 128
/// bits.
const MAX_DIGITS: u128 = 1 << 80;

/// The parts of one that [`Ratio`] counts.
const MILLION: u64 = 1_000_000;

/// A factor or share, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio {
    /// Millionths.
    pub ppm: u64,
}

impl Ratio {
    /// Zero.
    pub const ZERO: Self = Self { ppm: 0 };
    /// One.
    pub const ONE: Self = Self { ppm: MILLION };

    /// Returns this share of `whole`, rounded up, saturating.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        Product::of(whole, self.ppm).div_ceil(MILLION)
    }
}

/// The reason why a text is not the number wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotANumber {
    /// It is not written as a number.
    Syntax,
    /// It is less than zero.
    Negative,
    /// It is NaN or infinite.
    NotFinite,
    /// It is too large.
    TooLarge,
    /// It has a fraction, but must be whole.
    Fraction,
    /// It is zero, but must not be.
    Zero,
    /// Its unit is missing.
    NoUnit,
}

impl NotANumber {
    /// Returns the reason to add to "is not a number", or `None` if there is none to add.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Syntax => None,
            Self::Negative => Some("it is negative"),
            Self::NotFinite => Some("it is not finite"),
            Self::TooLarge => Some("it is too large"),
            Self::Fraction => Some("it has a fraction"),
            Self::Zero => Some("it must be more than zero"),
            Self::NoUnit => Some("the unit is missing"),
        }
    }
}

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().unwrap_or("it is not written as a number"))
    }
}

/// Parses a whole number: `50000`, `50_000`, `5e4`, `5.0`.
pub fn integer(text: &str) -> Result<u64, NotANumber> {
    let (whole, rest) = Decimal::parse(text)?.times(1)?;
    if rest { Err(NotANumber::Fraction) } else { Ok(whole) }
}

/// Parses a decimal number in billionths, rounded up: `0.15` is 150,000,000.
pub fn billionths(text: &str) -> Result<u64, NotANumber> {
    Decimal::parse(text)?.times_ceil(1_000_000_000)
}

/// Parses a decimal number in millionths, rounded up: `1.2` is 1,200,000.
pub fn ratio(text: &str) -> Result<Ratio, NotANumber> {
    Decimal::parse(text)?.times_ceil(MILLION).map(|ppm| Ratio { ppm })
}

/// Parses a number with one unit of time, above zero: `250ms`, `0.25s`, `30d`. Rounds up to a
/// nanosecond.
pub fn duration(text: &str) -> Result<Span, NotANumber> {
    let (number, unit) = split_unit(text, &DURATION_UNITS)?;
    match Decimal::parse(number)?.times_ceil(unit)? {
        0 => Err(NotANumber::Zero),
        nanos => Ok(Span(nanos)),
    }
}

/// Parses a number with a unit of bytes, or a plain number of bytes: `64KiB`, `1.5MiB`, `512`.
pub fn size(text: &str) -> Result<u64, NotANumber> {
    let (number, unit) = match split_unit(text, &SIZE_UNITS) {
        Err(NotANumber::NoUnit) => (text, 1),
        split => split?,
    };
    let (bytes, rest) = Decimal::parse(number)?.times(unit)?;
    if rest { Err(NotANumber::Fraction) } else { Ok(bytes) }
}

/// Splits `text` into its number and the value of its unit.
fn split_unit<'a>(text: &'a str, units: &[(&str, u64)]) -> Result<(&'a str, u64), NotANumber> {
    let text = text.trim();
    let ending = |&(name, worth): &(&str, u64)| Some((text.strip_suffix(name)?.trim_end(), worth));
    match units.iter().find_map(ending) {
        Some(split) => Ok(split),
        None if Decimal::parse(text).is_ok() => Err(NotANumber::NoUnit),
        None => Err(NotANumber::Syntax),
    }
}

/// A parsed number: `digits` × 10^`exponent`, and a little more if `more`.
struct Decimal {
    digits: u128,
    exponent: i64,
    more: bool,
}

impl Decimal {
    /// Parses `12`, `1_000`, `0.15`, `.5`, `1e-3`; a `_` may only stand between two digits.
    fn parse(text: &str) -> Result<Self, NotANumber> {
        let text = text.trim();
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let is_any_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is_any_of(&["nan", ".nan", "inf", ".inf", "infinity"]) {
            return Err(NotANumber::NotFinite);
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if (whole.is_empty() && fraction.is_empty()) || !is_digits(whole) || !is_digits(fraction) {
            return Err(NotANumber::Syntax);
        }
        let mut number = Self { digits: 0, exponent, more: false };
        for digit in whole.bytes().filter(u8::is_ascii_digit) {
            number.digits = number.with_digit(digit).ok_or(NotANumber::TooLarge)?;
        }
        for digit in fraction.bytes().filter(u8::is_ascii_digit) {
            match number.with_digit(digit) {
                Some(digits) if !number.more => {
                    number.digits = digits;
                    number.exponent = number.exponent.saturating_sub(1);
                }
                // Beyond `MAX_DIGITS` it only matters whether anything is left.
                _ => number.more |= digit != b'0',
            }
        }
        if negative && (number.digits > 0 || number.more) { Err(NotANumber::Negative) } else { Ok(number) }
    }

    /// Appends a digit, if the result can still be multiplied by any unit without overflow.
    fn with_digit(&self, digit: u8) -> Option<u128> {
        let digits = self.digits.checked_mul(10)?.checked_add(u128::from(digit.wrapping_sub(b'0')))?;
        (digits < MAX_DIGITS).then_some(digits)
    }

    /// Returns the whole part of `unit` times the number, and whether a fraction is left over.
    fn times(&self, unit: u64) -> Result<(u64, bool), NotANumber> {
        if self.digits == 0 {
            return Ok((0, self.more));
        }
        let power = u32::try_from(self.exponent.unsigned_abs()).ok().and_then(|e| 10_u128.checked_pow(e));
        let product = self.digits.checked_mul(u128::from(unit)).ok_or(NotANumber::TooLarge)?;
        let (whole, rest) = match power {
            Some(power) if self.exponent < 0 => {
                (product.checked_div(power).unwrap_or(0), product.checked_rem(power).unwrap_or(0) > 0)
            }
            None if self.exponent < 0 => (0, true),
            power => (power.and_then(|p| product.checked_mul(p)).ok_or(NotANumber::TooLarge)?, false),
        };
        let whole = u64::try_from(whole).map_err(|_| NotANumber::TooLarge)?;
        Ok((whole, rest || self.more))
    }

    /// Returns `unit` times the number, rounded up.
    fn times_ceil(&self, unit: u64) -> Result<u64, NotANumber> {
        let (whole, rest) = self.times(unit)?;
        whole.checked_add(u64::from(rest)).ok_or(NotANumber::TooLarge)
    }
}

/// Returns whether the text has only digits, or nothing; `_` may stand between two digits.
fn is_digits(text: &str) -> bool {
    text.is_empty() || text.split('_').all(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()))
}

fn parse_exponent(text: &str) -> Result<i64, NotANumber> {
    // An exponent beyond an `i32` is surely a mistake.
    text.parse::<i32>().map(i64::from).map_err(|_| NotANumber::Syntax)
}

#[cfg(test)]
mod tests {
    use super::NotANumber::{Fraction, Negative, NoUnit, NotFinite, Syntax, TooLarge, Zero};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_however_they_are_written() {
        for text in ["50000", "50_000", " 50000 ", "+50000", "5e4", "5E+4", "50000.0", "0.5e5", "500000e-1"] {
            assert_eq!(integer(text), Ok(50_000), "{text}");
        }
        assert_eq!(integer("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer("-0"), Ok(0));
    }

    #[test]
    fn what_is_no_integer_says_why() {
        for text in ["", " ", "-", ".", "e5", "5e", "5e5.0", "1__0", "_1", "1_", "1,000", "0x10", "many", "٣"]
        {
            assert_eq!(integer(text), Err(Syntax), "{text}");
        }
        assert_eq!(integer("-5"), Err(Negative));
        assert_eq!(integer("1.5"), Err(Fraction));
        assert_eq!(integer("1e-400"), Err(Fraction));
        for text in ["NaN", "inf", "-inf", "-Infinity", ".inf", ".nan"] {
            assert_eq!(integer(text), Err(NotFinite), "{text}");
        }
        for text in ["18446744073709551616", "1e20", "1e999999999", &"9".repeat(1000)] {
            assert_eq!(integer(text), Err(TooLarge), "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(billionths("0.15"), Ok(150_000_000));
        assert_eq!(billionths("1e-3"), Ok(1_000_000));
        assert_eq!(billionths(".075"), Ok(75_000_000));
        assert_eq!(billionths("18446744073.709551615"), Ok(u64::MAX));
        assert_eq!(ratio("1.2"), Ok(Ratio { ppm: 1_200_000 }));
        assert_eq!(ratio("1"), Ok(Ratio::ONE));
    }

    #[test]
    fn what_is_finer_than_the_unit_rounds_up() {
        assert_eq!(billionths("0.0000000001"), Ok(1));
        assert_eq!(billionths("1e-300"), Ok(1));
        assert_eq!(billionths(&format!("0.5{}1", "0".repeat(60))), Ok(500_000_001));
        assert_eq!(billionths(&format!("0.5{}", "0".repeat(60))), Ok(500_000_000));
        assert_eq!(ratio("0.3333333"), Ok(Ratio { ppm: 333_334 }));
    }

    #[test]
    fn durations_have_one_unit() {
        let second = 1_000_000_000;
        for (text, nanos) in [
            ("250ms", second / 4),
            ("0.25s", second / 4),
            ("30s", 30 * second),
            ("1m", 60 * second),
            ("1h", 3_600 * second),
            ("1 h", 3_600 * second),
            ("30d", 30 * 86_400 * second),
        ] {
            assert_eq!(duration(text), Ok(Span(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for text in ["1 fortnight", "", "s", "1h30m", "1H", "m1", "--1s"] {
            assert_eq!(duration(text), Err(Syntax), "{text}");
        }
        assert_eq!(duration("30"), Err(NoUnit));
        assert_eq!(duration("0s"), Err(Zero));
        assert_eq!(duration("-1s"), Err(Negative));
        assert_eq!(duration("300000d"), Err(TooLarge));
    }

    #[test]
    fn sizes_are_binary_and_whole() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1_048_576));
        assert_eq!(size("1.5KiB"), Ok(1_536));
        assert_eq!(size("2GiB"), Ok(2_147_483_648));
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("1_000"), Ok(1_000));
        assert_eq!(size("0.3B"), Err(Fraction));
        assert_eq!(size("64kb"), Err(Syntax));
        assert_eq!(size("-1KiB"), Err(Negative));
    }

    #[test]
    fn a_share_of_a_whole_rounds_up_and_saturates() {
        assert_eq!(Ratio { ppm: 500_000 }.of(3), 2);
        assert_eq!(Ratio::ONE.of(u64::MAX), u64::MAX);
        assert_eq!(Ratio { ppm: 2_000_000 }.of(u64::MAX), u64::MAX);
        assert_eq!(Ratio::ZERO.of(u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn any_count_of_billionths_survives_being_written_out(nano: u64) {
            let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
            prop_assert_eq!(billionths(&text), Ok(nano));
            prop_assert_eq!(billionths(&format!("{nano}e-9")), Ok(nano));
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9_.eEinfNa smhdKMiB]{0,40}|\\PC{0,20}") {
            let _ = (integer(&text), billionths(&text), duration(&text), size(&text));
        }
    }
}
