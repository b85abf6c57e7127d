//! Formats numbers for people and clients.
//!
//! In: spans, moments, money and other amounts. Out: text.

use std::time::{Duration, SystemTime};

use crate::limits::Unit;
use crate::units::{Amount, Span, Timestamp};

/// Formats a number in decimal digits. Like [`push_decimal`], it avoids the standard library's
/// formatter, because every call has headers with numbers.
pub(super) fn decimal(number: u64) -> String {
    itoa::Buffer::new().format(number).to_owned()
}

/// Appends a number in decimal digits.
pub(super) fn push_decimal(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// Formats a duration as Go prints it and OpenAI sends it: `0s`, `120ms`, `1.5s`, `6m0s`, `1h2m3s`.
/// Rounds up to milliseconds.
pub(super) fn go_duration(span: Span) -> String {
    let millis = span.as_millis_ceil();
    let mut text = String::with_capacity(24);
    if (1..1_000).contains(&millis) {
        push_decimal(&mut text, millis);
        text.push_str("ms");
        return text;
    }
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        push_decimal(&mut text, hours);
        text.push('h');
    }
    if hours > 0 || minutes > 0 {
        push_decimal(&mut text, minutes);
        text.push('m');
    }
    push_decimal(&mut text, seconds);
    if millis > 0 {
        text.push('.');
        push_fraction(&mut text, millis, 1_000, 0);
    }
    text.push('s');
    text
}

/// Appends the decimals of `part` of a `whole`, which is a power of ten: at least `least` of them,
/// and otherwise no zeros at the end.
fn push_fraction(text: &mut String, part: u64, whole: u64, least: u32) {
    let (mut rest, mut decimals) = (part, 0_u32);
    while rest > 0 || decimals < least {
        let tenths = rest.saturating_mul(10);
        push_decimal(text, tenths.checked_div(whole).unwrap_or(0));
        rest = tenths.checked_rem(whole).unwrap_or(0);
        decimals = decimals.saturating_add(1);
    }
}

/// Formats a window as in the configuration: `1m`, `1h`, `30d`.
#[must_use]
pub fn window(span: Span) -> String {
    const UNITS: [(&str, u64); 4] =
        [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];
    for (unit, length) in UNITS {
        if let (Some(0), Some(count @ 1..)) = (span.0.checked_rem(length), span.0.checked_div(length)) {
            return format!("{count}{unit}");
        }
    }
    format!("{}ms", span.as_millis_ceil())
}

/// Formats a moment in UTC as in RFC 3339, section 5.6, in whole seconds, rounded up:
/// `2025-08-21T12:40:59Z`.
pub(super) fn rfc3339(at: Timestamp) -> String {
    let seconds = Duration::from_secs(at.0.div_ceil(1_000_000_000));
    // Nanoseconds in 64 bits end in the year 2554, which both the type and the format can hold.
    let time = SystemTime::UNIX_EPOCH.checked_add(seconds).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Formats an amount of a unit for people.
pub(super) fn amount(unit: &Unit, amount: Amount) -> String {
    if unit.is_money { format!("${}", usd(amount.0)) } else { unit.wholes_ceil(amount).to_string() }
}

/// Formats nano-dollars as exact decimal dollars with at least two decimals.
#[must_use]
pub fn usd(nano: u64) -> String {
    let mut text = decimal(nano / 1_000_000_000);
    text.push('.');
    push_fraction(&mut text, nano % 1_000_000_000, 1_000_000_000, 2);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (millis, text) in [
            (0, "0s"),
            (120, "120ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (90_951, "1m30.951s"),
            (360_000, "6m0s"),
            (3_723_000, "1h2m3s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Span::from_millis(millis)), text);
        }
        assert_eq!(go_duration(Span(1)), "1ms");
    }

    #[test]
    fn windows_are_written_as_configured() {
        for (seconds, text) in
            [(1, "1s"), (60, "1m"), (90, "90s"), (3_600, "1h"), (86_400, "1d"), (30 * 86_400, "30d")]
        {
            assert_eq!(window(Span::from_secs(seconds)), text);
        }
        assert_eq!(window(Span::from_millis(250)), "250ms");
    }

    #[test]
    fn money_is_exact_to_the_nano_dollar() {
        for (nano, text) in [
            (0, "0.00"),
            (1, "0.000000001"),
            (12_500_000, "0.0125"),
            (5_000_000_000, "5.00"),
            (1_200_000_000, "1.20"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(usd(nano), text);
        }
    }

    #[test]
    fn moments_are_written_in_utc_and_rounded_up_to_the_second() {
        const SECOND: u64 = 1_000_000_000;
        for (nanos, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:01Z"),
            (951_782_399 * SECOND, "2000-02-28T23:59:59Z"),
            (951_782_399 * SECOND + 1, "2000-02-29T00:00:00Z"),
            (1_755_780_059 * SECOND, "2025-08-21T12:40:59Z"),
            (4_107_542_399 * SECOND, "2100-02-28T23:59:59Z"),
            (4_107_542_400 * SECOND, "2100-03-01T00:00:00Z"),
            (u64::MAX, "2554-07-21T23:34:34Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn durations_and_money_are_as_the_formatter_writes_them(number: u64) {
            let millis = number.div_ceil(1_000_000);
            let (seconds, fraction) = (millis / 1_000, format!(".{:03}", millis % 1_000));
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            let text = match seconds {
                0 if millis > 0 => format!("{millis}ms"),
                0..60 => format!("{seconds}{fraction}s"),
                60..3_600 => format!("{}m{}{fraction}s", seconds / 60, seconds % 60),
                _ => format!("{}h{}m{}{fraction}s", seconds / 3_600, seconds / 60 % 60, seconds % 60),
            };
            prop_assert_eq!(go_duration(Span(number)), text);
            let dollars = usd(number);
            let (whole, decimals) = dollars.split_once('.').unwrap();
            prop_assert_eq!(format!("{whole}{decimals:0<9}").parse(), Ok(number));
            prop_assert!(decimals.len() == 2 || !decimals.ends_with('0'));
        }

        #[test]
        fn a_moment_is_never_told_too_early_and_less_than_a_second_late(nanos: u64) {
            let text = rfc3339(Timestamp(nanos));
            prop_assert_eq!(text.len(), "2025-08-21T12:40:59Z".len());
            let told = humantime::parse_rfc3339(&text).unwrap();
            let told = told.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
            prop_assert!((0..1_000_000_000).contains(&(told - u128::from(nanos))), "{}", text);
        }
    }
}
