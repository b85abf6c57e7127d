//! The configuration of envoyproxy/ratelimit.
//!
//! In: the domain and the global limits. Out: its YAML: a tree of descriptors, one branch for each limit. Not here: Limitador's.
//!
//! The format is that of its README, section "Configuration", and `src/config/config_impl.go`: `requests_per_unit` is 32 bits wide,
//! a key without a value matches any, and a limit applies only where the entries end. How long its units are is in
//! `src/utils/utilities.go`: a month has 30 days (unless the server is told to count calendar months), a year 365. Its
//! windows begin at multiples of their length since the Unix epoch. `week` is known to newer servers only.

use core::fmt::Write as _;
use std::rc::Rc;

use super::yaml::scalar;
use super::{Hits, Unfit, each, header, limit_value};
use crate::limits::Limit;
use crate::rls::descriptor::LIMIT_KEY;
use crate::units::Span;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Its units, in seconds.
const UNITS: [(u64, &str); 7] = [
    (1, "second"),
    (60, "minute"),
    (HOUR, "hour"),
    (DAY, "day"),
    (7 * DAY, "week"),
    (30 * DAY, "month"),
    (365 * DAY, "year"),
];

const NOTES: &str = "\
#
# A server counts a unit in windows of the UTC clock. Here a month has 30 days and a year 365.

";

/// The configuration of envoyproxy/ratelimit.
///
/// # Errors
/// All limits that it cannot have.
pub fn ratelimit(domain: &str, limits: &[Rc<Limit>]) -> Result<String, Vec<Unfit>> {
    let descriptors = each(limits, descriptor)?;
    let none = if limits.is_empty() { " []" } else { "" };
    let header = header("envoyproxy/ratelimit", NOTES);
    Ok(format!("{header}domain: {}\ndescriptors:{none}\n{descriptors}", scalar(domain)))
}

/// The branch of a limit: its name, then its dimensions, each below the one before.
fn descriptor(limit: &Limit) -> Result<String, Vec<Unfit>> {
    const FITS: &str =
        "envoyproxy/ratelimit counts to 4294967295 at most: take a shorter window, or another server";
    let (hits, unit) = match (Hits::of(limit, u32::MAX.into(), FITS), unit(limit)) {
        (Ok(hits), Ok(unit)) => (hits, unit),
        (hits, unit) => return Err([hits.err(), unit.err()].into_iter().flatten().collect()),
    };
    let value = limit_value(&limit.tier, &limit.name);
    let mut text = format!("- key: {LIMIT_KEY}\n  value: {}\n", scalar(&value));
    let mut indent = String::from("  ");
    for dimension in &limit.per {
        let _ = write!(text, "{indent}descriptors:\n{indent}- key: {}\n", scalar(dimension));
        indent.push_str("  ");
    }
    let Hits { amount, unit: counted } = hits;
    let _ = write!(
        text,
        "{indent}rate_limit:\n{indent}  unit: {unit}\n{indent}  requests_per_unit: {amount}  # {counted}\n"
    );
    Ok(text)
}

fn unit(limit: &Limit) -> Result<&'static str, Unfit> {
    let window = limit.shape.window;
    let unit = UNITS.iter().find(|(seconds, _)| Span::from_secs(*seconds) == window);
    unit.map(|(_, name)| *name).ok_or_else(|| {
        let window = humantime::format_duration(core::time::Duration::from_nanos(window.0));
        Unfit::new(
            limit,
            format!("its `window` is {window}"),
            "envoyproxy/ratelimit has windows of 1s, 1m, 1h, 1d, 7d, 30d and 365d",
        )
    })
}

#[cfg(test)]
#[path = "ratelimit_tests.rs"]
mod tests;
