//! The configuration of envoyproxy/ratelimit.
//!
//! In: the domain and the global limits. Out: its YAML, a tree of descriptors with one branch for
//! each limit. Not here: Limitador's.
//!
//! The server's README, section "Configuration", and `src/config/config_impl.go` define the format:
//! `requests_per_unit` is 32 bits wide, a key without a value matches any, and a limit applies only
//! where the entries end. Windows begin at multiples of their length since the Unix epoch.

use core::fmt::Write as _;
use std::rc::Rc;

use tollgate::limits::Limit;
use tollgate::reply;
use tollgate::rls::UNITS;
use tollgate::rls::descriptor::LIMIT_KEY;
use tollgate::units::Span;

use super::yaml::scalar;
use super::{Hits, Unsupported, each, header, limit_value};

const NOTES: &str = "\
#
# Windows are aligned with the UTC clock. A month has 30 days here, and a year 365.

";

/// Writes the configuration of envoyproxy/ratelimit.
///
/// # Errors
/// Returns all limits that the server does not support.
pub(crate) fn ratelimit(domain: &str, limits: &[Rc<Limit>]) -> Result<String, Vec<Unsupported>> {
    let descriptors = each(limits, descriptor)?;
    let none = if limits.is_empty() { " []" } else { "" };
    let header = header("envoyproxy/ratelimit", NOTES);
    Ok(format!("{header}domain: {}\ndescriptors:{none}\n{descriptors}", scalar(domain)))
}

/// Writes the branch of a limit: its name, then its dimensions, each below the previous one.
fn descriptor(limit: &Limit) -> Result<String, Vec<Unsupported>> {
    const FITS: &str = "envoyproxy/ratelimit counts up to 4294967295: use a shorter window or another server";
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

fn unit(limit: &Limit) -> Result<&'static str, Unsupported> {
    let window = limit.shape.window;
    let unit = UNITS.iter().find(|(seconds, _)| Span::from_secs(*seconds) == window);
    unit.map(|(_, name)| *name).ok_or_else(|| {
        Unsupported::new(
            limit,
            format!("its `window` is {}", reply::window(window)),
            "envoyproxy/ratelimit supports windows of 1s, 1m, 1h, 1d, 7d, 30d and 365d",
        )
    })
}
