//! The configuration of rate limit servers that matches the filter's own, so that every limit is
//! written in one place.
//!
//! In: the domain and the limits that have `scope: global`. Out: YAML text for one kind of server,
//! or all limits that it cannot have, each with the reason. Not here: the descriptors themselves
//! (`tollgate::rls::descriptor`), files (`ratelimit_config`).
//!
//! - Money is written in micro-dollars, as the filter reports it, rounded down: a server's limit is
//!   never higher than the filter's.
//! - `enforce: shadow` makes no difference here. The filter lets such calls pass itself, and has to
//!   be told what the limit would refuse, which a server's own shadow mode would keep from it.
//! - `models`, `warn_at` and whatever else decides whether or how a limit applies stays with the
//!   filter.

use core::fmt;
use std::rc::Rc;

use tollgate::limits::{Limit, Unit};
use tollgate::rls::descriptor::limit_value;

mod limitador;
mod ratelimit;
pub(crate) mod yaml;

pub(crate) use limitador::limitador;
pub(crate) use ratelimit::ratelimit;

/// A limit that a server cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The limit's tier.
    pub(crate) tier: Rc<str>,
    /// Its name.
    pub(crate) limit: Rc<str>,
    /// What the server cannot have.
    pub(crate) found: String,
    /// What it could.
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

/// How much a limit allows, as the filter counts at a service.
pub(crate) struct Hits {
    pub(crate) amount: u64,
    unit: &'static str,
}

impl Hits {
    /// What a limit allows per window, if that is something and no more than the server can count
    /// to.
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

/// The text of all limits in their order, or all that do not fit.
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

/// What stands above the configuration of any server.
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
