//! Configurations of rate limit servers that match the filter's own, so that each limit is written
//! in one place.
//!
//! In: the domain and the limits with `scope: global`. Out: YAML for one kind of server, or all
//! limits that it does not support, each with the reason. Not here: the descriptors themselves
//! (`tollgate::rls::descriptor`), files (`ratelimit_config`).
//!
//! - Money is written in micro-dollars, the unit in which the filter reports it, and rounded down,
//!   so that a server's limit is never higher than the filter's.
//! - `enforce: shadow` changes nothing here. The filter lets such calls pass itself and needs to
//!   learn what the limit would refuse; a server's own shadow mode would hide that.
//! - `models`, `warn_at` and all other conditions of a limit stay with the filter.

use core::fmt;
use std::rc::Rc;

use tollgate::limits::{Limit, Unit};
use tollgate::rls::descriptor::limit_value;

mod limitador;
mod ratelimit;
pub(crate) mod yaml;

pub(crate) use limitador::limitador;
pub(crate) use ratelimit::ratelimit;

/// A limit that a server does not support.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) tier: Rc<str>,
    pub(crate) limit: Rc<str>,
    /// The value that the server does not support.
    pub(crate) found: String,
    /// The values that it does.
    pub(crate) fits: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, limit, found, fits } = self;
        write!(f, "limit `{limit}` of tier `{tier}`: {found}; {fits}")
    }
}

impl Unfit {
    fn new(limit: &Limit, found: String, fits: &'static str) -> Self {
        Self { tier: limit.tier.clone(), limit: limit.name.clone(), found, fits }
    }
}

/// The amount of a limit, in the unit that the filter reports to a service.
pub(crate) struct Hits {
    pub(crate) amount: u64,
    unit: &'static str,
}

impl Hits {
    /// Converts a limit's amount per window. Fails if it is zero or more than the server can count.
    pub(crate) fn of(limit: &Limit, at_most: u64, fits: &'static str) -> Result<Self, Unfit> {
        let max = limit.shape.max.0;
        let (amount, unit) = match limit.counts.unit {
            Unit::Requests | Unit::InFlight => (max, "requests"),
            Unit::Characters => (max, "characters"),
            Unit::ToolCalls => (max, "tool calls"),
            Unit::Tokens => (max, "tokens"),
            Unit::NanoUsd => (max / 1_000, "micro-dollars"),
        };
        if amount == 0 {
            return Err(Unfit::new(
                limit,
                "its `max` is less than a micro-dollar".to_owned(),
                "a service counts whole micro-dollars (0.000001 US dollars)",
            ));
        }
        if amount > at_most {
            return Err(Unfit::new(limit, format!("its `max` is {amount} {unit}"), fits));
        }
        Ok(Self { amount, unit })
    }
}

/// Writes all limits in order, or returns all that the server does not support.
fn each(
    limits: &[Rc<Limit>],
    write: impl Fn(&Limit) -> Result<String, Vec<Unfit>>,
) -> Result<String, Vec<Unfit>> {
    let (mut text, mut unfit) = (String::new(), Vec::new());
    for limit in limits {
        match write(limit) {
            Ok(limit) => text.push_str(&limit),
            Err(more) => unfit.extend(more),
        }
    }
    if unfit.is_empty() { Ok(text) } else { Err(unfit) }
}

/// Returns the comment above the configuration of any server.
fn header(server: &str, notes: &str) -> String {
    format!(
        "\
# Limits for {server}: every limit with `scope: global` in Tollgate's configuration. Do not edit this
# file; edit Tollgate's configuration and run `make ratelimit-config` again.
#
# Tollgate identifies a budget by these entries, in this order:
#
#   tollgate_limit   the names of tier and limit, joined by `/`
#   <dimension>      the caller's value, one entry for each dimension of the limit's `per`, in that order
#
# Values are escaped as in a URL: all bytes but letters, digits and - . ~ @ : / + | become %XX. A caller without the
# dimension has the value _. A value of more than 128 escaped bytes becomes _ and 32 hex digits of its SHA-256.
#
# Amounts are in the limit's unit: requests, tokens, or micro-dollars (1000000 are one US dollar).
{notes}"
    )
}
