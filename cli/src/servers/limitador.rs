//! The configuration of Limitador.
//!
//! In: the domain and the global limits. Out: its YAML, a list of limits. Not here:
//! envoyproxy/ratelimit's.
//!
//! The crate `limitador` defines the format (`src/limit.rs`, `src/limit/cel.rs`), and the server
//! reads its limits file with it. Conditions and variables are CEL expressions, in which the server
//! binds `descriptors` to the entries of a request. The expressions here look at the first
//! descriptor only, so the filter asks Limitador for one budget at a time (`hits_addend: request`).
//! The entries of a descriptor form a map, so each key must be unique.

use core::fmt::Write as _;
use std::rc::Rc;

use tollgate::limits::Limit;
use tollgate::reply;
use tollgate::rls::Windows;
use tollgate::rls::descriptor::LIMIT_KEY;

use super::yaml::scalar;
use super::{Hits, Unsupported, each, header, limit_value};

/// Limitador counts in 64 bits, Redis in 63.
const LARGEST: u64 = i64::MAX.cast_unsigned();

const NOTES: &str = "\
#
# A window begins with its first call.

";

/// Writes the configuration of Limitador.
///
/// # Errors
/// Returns all limits that Limitador does not support.
pub(crate) fn limitador(domain: &str, limits: &[Rc<Limit>]) -> Result<String, Vec<Unsupported>> {
    let entries = each(limits, |limit| entry(domain, limit))?;
    let none = if limits.is_empty() { "[]\n" } else { "" };
    Ok(header("Limitador", NOTES) + none + &entries)
}

fn entry(domain: &str, limit: &Limit) -> Result<String, Vec<Unsupported>> {
    let hits = Hits::of(limit, LARGEST, "Redis counts up to 9223372036854775807");
    let (hits, seconds) = match (hits, seconds(limit), own_keys(limit)) {
        (Ok(hits), Ok(seconds), Ok(())) => (hits, seconds),
        (hits, seconds, keys) => {
            return Err([hits.err(), seconds.err(), keys.err()].into_iter().flatten().collect());
        }
    };
    let value = limit_value(&limit.tier, &limit.name);
    let condition = format!("{} == {}", member(LIMIT_KEY), literal(&value));
    let Hits { amount, unit } = hits;
    let mut text = format!("- namespace: {}\n  name: {}\n", scalar(domain), scalar(&value));
    let _ = write!(text, "  max_value: {amount}  # {unit}\n  seconds: {seconds}\n");
    let _ = write!(text, "  conditions:\n  - {}\n", scalar(&condition));
    text.push_str(if limit.per.is_empty() { "  variables: []\n" } else { "  variables:\n" });
    for dimension in &limit.per {
        let _ = writeln!(text, "  - {}", scalar(&member(dimension)));
    }
    Ok(text)
}

fn seconds(limit: &Limit) -> Result<u64, Unsupported> {
    let window = limit.shape.window;
    if Windows::Seconds.have(window) {
        return Ok(window.as_secs_ceil());
    }
    let found = format!("its `window` is {}", reply::window(window));
    Err(Unsupported::new(limit, found, "Limitador supports windows of whole seconds"))
}

/// Checks that no dimension hides the entry with the limit's own key.
fn own_keys(limit: &Limit) -> Result<(), Unsupported> {
    if limit.per.iter().any(|dimension| **dimension == *LIMIT_KEY) {
        let found = format!("its `per` has a dimension `{LIMIT_KEY}`");
        return Err(Unsupported::new(
            limit,
            found,
            "rename it, because Limitador finds the limit by that key",
        ));
    }
    Ok(())
}

/// Returns the CEL expression for an entry's value.
fn member(key: &str) -> String {
    format!("descriptors[0][{}]", literal(key))
}

/// Quotes a string for CEL, as its language definition says in "String and Bytes Values".
fn literal(text: &str) -> String {
    let mut literal = String::from("'");
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => literal.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(literal, "\\U{:08x}", u32::from(letter));
            }
            _ => literal.push(letter),
        }
    }
    literal.push('\'');
    literal
}
