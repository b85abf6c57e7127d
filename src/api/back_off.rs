//! Reads the back-off that an upstream asks for when it refuses a call.
//!
//! In: an answer's status and headers, and the time. Out: [`Pause`], if the answer asks for one.
//! Not here: the reaction to it (`limits`), and the bodies, which arrive after the filter decides
//! on the headers.
//!
//! Sources: RFC 9110 section 10.2.3 (`retry-after`), RFC 6585 section 4 (429), Anthropic's page
//! "Errors" (529), OpenAI's and Anthropic's pages "Rate limits" (the fields of [`BUDGETS`]; OpenAI
//! writes durations as Go prints them, Anthropic writes RFC 3339 dates), Azure's page "Quotas"
//! (`retry-after-ms`; plain seconds where OpenAI has durations).

use std::time::SystemTime;

use crate::config::scalars::{self, NotANumber};
use crate::identity::Head;
use crate::units::{Span, Timestamp};

/// An upstream's request to back off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// A request with a duration, which may be absurdly long.
    Told(Span),
    /// A request without a duration.
    Untold,
}

/// The headers that report upstreams' own budgets: the amount remaining, and the time of the
/// refill.
const BUDGETS: [[&str; 2]; 6] = [
    ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    ["anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"],
    ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"],
    ["anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"],
    ["anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"],
];

impl Pause {
    /// Reads the pause that an answer asks for: a 429 or 529 always asks for one, a 503 only if it
    /// gives a duration.
    #[must_use]
    pub fn asked_for(status: u16, head: &dyn Head, now: Timestamp) -> Option<Self> {
        let told = match status {
            429 | 529 => retry_after(head, now).or_else(|| spent_until(head, now)),
            503 => Some(retry_after(head, now)?),
            _ => return None,
        };
        Some(told.map_or(Self::Untold, Self::Told))
    }
}

/// Reads the back-off time that the upstream states explicitly. Zero counts as absent.
fn retry_after(head: &dyn Head, now: Timestamp) -> Option<Span> {
    let by_millis = read(head, "retry-after-ms", |text| Some(Span(seconds(text)?.0.div_ceil(1_000))));
    by_millis.or_else(|| {
        read(head, "retry-after", |text| {
            seconds(text).or_else(|| Some(until(httpdate::parse_http_date(text).ok()?, now)))
        })
    })
}

/// Returns the time until the last of the upstream's exhausted budgets refills.
fn spent_until(head: &dyn Head, now: Timestamp) -> Option<Span> {
    let is_spent = |name| head.header(name).is_some_and(|left| left.trim_ascii() == b"0");
    let spent = BUDGETS.iter().filter(|[remaining, _]| is_spent(remaining));
    spent.filter_map(|[_, reset]| read(head, reset, |text| moment(text, now))).max()
}

fn read(head: &dyn Head, name: &str, reader: impl FnOnce(&str) -> Option<Span>) -> Option<Span> {
    let value = head.header(name)?;
    reader(core::str::from_utf8(&value).ok()?.trim()).filter(|span| !span.is_zero())
}

/// Parses a duration, seconds, or a date.
fn moment(text: &str, now: Timestamp) -> Option<Span> {
    let duration = |text| {
        let nanos = humantime::parse_duration(text).ok()?.as_nanos();
        Some(Span(u64::try_from(nanos).unwrap_or(u64::MAX)))
    };
    let date = |text| Some(until(humantime::parse_rfc3339(text).ok()?, now));
    seconds(text).or_else(|| duration(text)).or_else(|| date(text))
}

/// Parses seconds with an optional fraction. A number too large to represent becomes [`Span::MAX`].
fn seconds(text: &str) -> Option<Span> {
    match scalars::billionths(text) {
        Ok(nanos) => Some(Span(nanos)),
        Err(NotANumber::TooLarge) => Some(Span::MAX),
        Err(_) => None,
    }
}

fn until(date: SystemTime, now: Timestamp) -> Span {
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)).since(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::borrow::Cow;

    struct Answer<'a>(&'a [(&'a str, &'a [u8])]);

    impl Head for Answer<'_> {
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| Cow::Borrowed(*value))
        }
        fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
            None
        }
    }

    /// 2025-08-21T12:40:00Z.
    const NOW: Timestamp = Timestamp(1_755_780_000_000_000_000);

    fn asked(status: u16, fields: &[(&str, &str)]) -> Option<Pause> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        Pause::asked_for(status, &Answer(&fields), NOW)
    }

    fn told(fields: &[(&str, &str)]) -> Option<u64> {
        match asked(429, fields)? {
            Pause::Told(span) => Some(span.as_millis_ceil()),
            Pause::Untold => None,
        }
    }

    #[test]
    fn retry_after_is_seconds_fractions_milliseconds_or_a_date() {
        for (name, value, millis) in [
            ("retry-after", "7", Some(7_000)),
            ("retry-after", " 1.25 ", Some(1_250)),
            ("retry-after", "Thu, 21 Aug 2025 12:40:30 GMT", Some(30_000)),
            ("retry-after", "Thursday, 21-Aug-25 12:40:30 GMT", Some(30_000)),
            ("retry-after", "Thu, 21 Aug 2025 12:39:30 GMT", None),
            ("retry-after", "0", None),
            ("retry-after", "-5", None),
            ("retry-after", "soon", None),
            ("retry-after", "1, 2", None),
            ("retry-after", "NaN", None),
            ("retry-after-ms", "250", Some(250)),
            ("retry-after-ms", "0.5", Some(1)),
        ] {
            assert_eq!(told(&[(name, value)]), millis, "{name}: {value}");
        }
        assert_eq!(told(&[("retry-after", "2"), ("retry-after-ms", "1500")]), Some(1_500));
        assert_eq!(asked(429, &[("retry-after", "9e99")]), Some(Pause::Told(Span::MAX)));
    }

    #[test]
    fn a_budget_of_the_upstream_that_is_spent_says_when_it_is_refilled() {
        for (reset, millis) in [
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("1m30.951s", Some(90_951)),
            ("1h2m3s", Some(3_723_000)),
            ("12", Some(12_000)),
            ("0s", None),
            ("never", None),
        ] {
            let fields = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", reset)];
            assert_eq!(told(&fields), millis, "{reset}");
        }
        let anthropic = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2025-08-21T12:40:59Z"),
        ];
        assert_eq!(told(&anthropic), Some(59_000));
    }

    #[test]
    fn of_several_spent_budgets_the_last_counts_and_others_do_not() {
        let fields = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "2s"),
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2025-08-21T12:40:05Z"),
            ("x-ratelimit-remaining-tokens", "10"),
            ("x-ratelimit-reset-tokens", "1h"),
        ];
        assert_eq!(told(&fields), Some(5_000));
        let outright = [fields.as_slice(), &[("retry-after", "1")]].concat();
        assert_eq!(told(&outright), Some(1_000), "what it says outright comes first");
    }

    #[test]
    fn only_refusals_ask_to_be_left_alone() {
        let fields = [("retry-after", "1")];
        assert_eq!(asked(429, &[]), Some(Pause::Untold));
        assert_eq!(asked(529, &[]), Some(Pause::Untold));
        assert_eq!(asked(503, &[]), None);
        assert_eq!(asked(503, &fields), Some(Pause::Told(Span::from_secs(1))));
        let spent = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1s")];
        assert_eq!(asked(503, &spent), None);
        for status in [0, 200, 202, 301, 400, 401, 404, 500, 502, 504] {
            assert_eq!(asked(status, &fields), None, "{status}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[0-9a-zA-Z:., +-]{0,40}", now: u64) {
            for value in [bytes.as_slice(), text.as_bytes()] {
                let fields: Vec<_> = BUDGETS
                    .iter()
                    .flat_map(|[left, reset]| [(*left, b"0".as_slice()), (*reset, value)])
                    .collect();
                let _ = Pause::asked_for(429, &Answer(&fields), Timestamp(now));
                for name in ["retry-after", "retry-after-ms"] {
                    let _ = Pause::asked_for(503, &Answer(&[(name, value)]), Timestamp(now));
                }
            }
        }
    }
}
