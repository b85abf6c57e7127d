//! The whole configuration, resolved into one immutable [`Config`], or errors.
//!
//! In: the bytes of the plugin configuration. Out: [`Config`] or [`ConfigErrors`]. One file per
//! section; each owns its table of options, from which the reference is generated. Not here: how
//! values are read and errors collected (`config`).

mod apis;
mod counting;
mod global;
mod degradation;
mod headers;
mod identity;
mod limits;
mod prices;
mod streams;
mod tiers;
mod upstreams;
mod workflows;

use std::rc::Rc;

use crate::api::Routes;
use crate::config::{
    self, ConfigErrors, Kind, Node, Ratio, Section, Value, kind, optional, required, with_default,
};
use crate::identity::{Salt, Sources};
use crate::limits::{Prices, Rates};
use crate::rls::Service;
use crate::store::{MOST_PLACES, WAYS};
use crate::tiers::Tiers;

pub use apis::Unrecognised;
pub use counting::{Counting, OnAbort};
pub use headers::{Family, Headers};
pub use streams::Streams;
pub use upstreams::Upstreams;
pub use workflows::Workflows;

/// The configuration of the filter.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to identify callers.
    pub identity: Sources,
    /// Paths whose format does not follow from their ending.
    pub routes: Routes,
    /// What becomes of calls that no API format recognises.
    pub unrecognised: Unrecognised,
    /// The limits of callers.
    pub tiers: Tiers,
    /// How to count tokens.
    pub counting: Counting,
    /// The prices of models.
    pub prices: Prices,
    /// Whether requests are held until their bodies are counted.
    pub hold: Hold,
    /// The number of budgets that the table has room for.
    pub table_size: u32,
    /// The service that counts global limits.
    pub global: Option<Rc<Service>>,
    /// The families of budget headers that clients get.
    pub headers: Headers,
    /// The treatment of streams whose budget is exhausted.
    pub streams: Streams,
    /// How workflows declare their budgets, if they may.
    pub workflows: Option<Workflows>,
    /// The treatment of upstreams that refuse; without it, refusals are not remembered.
    pub upstreams: Option<Upstreams>,
}

/// Whether requests are held until their bodies are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// If the host can, which the filter detects.
    Auto,
    /// Always, because the operator knows that the host can.
    Always,
    /// Never.
    Never,
}

const HOLDS: [(&str, Hold); 3] = [("auto", Hold::Auto), ("always", Hold::Always), ("never", Hold::Never)];

static ROOT: Section = Section::new(
    "",
    "The configuration of the filter.",
    &[
        with_default(
            "identity",
            Kind::Map(&Kind::Section(&identity::DIMENSION)),
            "{}",
            "Dimensions by name, and where to read each one. The dimension `tier` chooses the tier. The \
            dimensions `model`, `api` and `upstream` (the cluster that Envoy routes the call to) are built \
            in.",
        ),
        optional(
            "salt",
            Kind::Name,
            "a random key for each Envoy process",
            "The key for hashes of secrets. Processes with the same salt compute the same hashes.",
        )
        .secret(),
        with_default(
            "on_missing",
            Kind::Map(&Kind::Choice(&kind::names(&identity::MISSING))),
            "{}",
            "What to do with calls that lack a dimension, by its name: `share` (they share one budget) or \
            `refuse` (401). The default for each dimension is `share`.",
        ),
        with_default(
            "apis",
            Kind::List(&Kind::Section(&apis::API)),
            "[]",
            "Paths whose ending does not show their API format. Tollgate recognises all others by method \
            and path.",
        ),
        with_default(
            "unrecognised",
            Kind::Choice(&kind::names(&apis::UNRECOGNISED)),
            "pass",
            "What to do with calls on a path that no API format has: `pass` them, free of charge, or `refuse` \
            them (404). Refuse them where callers could otherwise use paths of a provider that Tollgate \
            does not limit, such as `/v1/batches`; for paths that must pass, such as a health check, add a \
            row with `format: none` to `apis`. Calls with another method on the path of an LLM API pass in \
            any case, and so do MCP and token counting.",
        ),
        required("tiers", Kind::Map(&Kind::Section(&tiers::TIER)), "Tiers by name."),
        with_default(
            "warn_at",
            Kind::Fraction,
            "0.8",
            "The used share of a budget above which allowed calls carry a warning, unless the limit sets \
            its own.",
        ),
        with_default(
            "headers",
            Kind::Several(&Kind::Choice(&kind::names(&headers::FAMILIES))),
            r#"["x_ratelimit", "ietf", "anthropic"]"#,
            "The families of headers that tell clients the standing of their budgets: `x_ratelimit` \
            (`x-ratelimit-*`, on all paths but Anthropic's), `anthropic` (`anthropic-ratelimit-*`, on \
            Anthropic's paths), `ietf` (`ratelimit` and `ratelimit-policy`, on all). With `[]` clients get \
            none of them. The choice does not change `retry-after` and the other headers of a refusal, nor \
            warnings; and an upstream's own budget headers never reach clients.",
        ),
        with_default("counting", Kind::Section(&counting::COUNTING), "{}", "Token counting."),
        with_default(
            "prices",
            Kind::List(&Kind::Section(&prices::PRICE)),
            "[]",
            "The price list. The first row that matches a model sets its prices. A model without a row \
            costs the highest price in the list, class by class.",
        ),
        with_default(
            "hold",
            Kind::Choice(&kind::names(&HOLDS)),
            "auto",
            "Whether to hold requests until their bodies are counted. `always` needs \
            `allow_on_headers_stop_iteration: true` on the filter; without it, held requests hang. `auto` \
            detects whether it is set.",
        ),
        with_default(
            "table_size",
            Kind::Integer,
            // Four limits for each of 130,000 callers at the same time, with half of the places
            // free. Fewer callers do not pay for it, because a place uses memory only once it is
            // taken. With 891,730 places taken Envoy was larger by 87 MB.
            "1_048_576",
            "The number of places for budgets, from 64 to 16,777,216, rounded up to a power of two. A \
            budget is one limit for one caller. It takes a place with its first call and frees it when its \
            window has passed unused. Set it to twice the number of budgets in use at the same time: about \
            1 in 100 of them then has no place of its own. If budgets in use fill three quarters of the \
            places, it is 1 in 20. Callers without a place share a budget and can be refused for what \
            others spent. From three quarters on, Envoy's log warns, once; `tollgate_table_places` shows \
            how many are taken. Only taken places use memory, about 100 bytes each. Changing the size \
            resets all budgets.",
        ),
        optional(
            "global",
            Kind::Section(&global::GLOBAL),
            "none",
            "The rate limit service that keeps the budgets of limits with `scope: global`.",
        ),
        with_default(
            "streams",
            Kind::Section(&streams::STREAMS),
            "{}",
            "How to treat streamed responses while they pass.",
        ),
        optional(
            "workflows",
            Kind::Section(&workflows::WORKFLOWS),
            "none; the header is ignored",
            "How workflows declare in advance what they may use.",
        ),
        optional(
            "upstreams",
            Kind::Section(&upstreams::UPSTREAMS),
            "Tollgate does not remember refusals",
            "What to do with calls to an upstream that has refused one.",
        ),
        optional(
            "priority",
            Kind::Section(&upstreams::PRIORITY),
            "all callers are equal",
            "Which callers get a reserved share of upstream budgets.",
        ),
    ],
);

/// Every section, in the order of the reference.
pub static SECTIONS: &[&Section] = &[
    &ROOT,
    &identity::DIMENSION,
    &apis::API,
    &tiers::TIER,
    &degradation::SOFTEN,
    &degradation::WAIT,
    &limits::LIMIT,
    &counting::COUNTING,
    &counting::WEIGHTS,
    &counting::MODEL,
    &counting::OUTPUT_RESERVE,
    &prices::PRICE,
    &global::GLOBAL,
    &global::LEASE,
    &global::BREAKER,
    &streams::STREAMS,
    &workflows::WORKFLOWS,
    &upstreams::UPSTREAMS,
    &upstreams::PRIORITY,
];

impl Config {
    /// Reads a configuration. `random` keys the hashes of secrets if no salt is configured.
    ///
    /// # Errors
    /// Returns all of them at once, each with its path, what was found and what was expected.
    pub fn read(bytes: &[u8], random: &[u8]) -> Result<Self, ConfigErrors> {
        Self::of(&config::parse(bytes)?, random)
    }

    /// Reads a configuration from its tree.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn of(tree: &Value, random: &[u8]) -> Result<Self, ConfigErrors> {
        config::read_tree(tree, |node| root(node, random))
    }

    /// Returns the rates of a model's tokens.
    #[must_use]
    pub fn rates(&self, model: &str) -> Rates {
        Rates {
            weights: self.counting.weights,
            multiplier: self.counting.multiplier(model),
            price: self.prices.of(model),
        }
    }

    /// Returns the number of sets of the table.
    #[must_use]
    pub fn sets(&self) -> u32 {
        let ways = u32::try_from(WAYS).unwrap_or(u32::MAX);
        self.table_size.div_ceil(ways)
    }

    /// Returns whether there is a price list.
    #[must_use]
    pub const fn has_prices(&self) -> bool {
        !self.prices.0.is_empty()
    }
}

fn root(node: &Node<'_>, random: &[u8]) -> Option<Config> {
    let fields = node.section(&ROOT);
    let dimensions = fields.read("identity", kind::map(identity::dimension));
    let salt = fields.read("salt", kind::name).map_or_else(|| random.to_vec(), String::into_bytes);
    let on_missing = fields.read("on_missing", kind::map(kind::choice(&identity::MISSING)));
    let warn_at = fields.read("warn_at", kind::fraction);
    let routes = fields.read("apis", apis::apis);
    let unrecognised = fields.read("unrecognised", kind::choice(&apis::UNRECOGNISED));
    let counting = fields.read("counting", counting::counting);
    let prices = fields.read("prices", prices::prices).map(Prices);
    let headers = fields.read("headers", headers::headers);
    let hold = fields.read("hold", kind::choice(&HOLDS));
    let table_size = fields.read("table_size", kind::integer_in(64..=MOST_PLACES.into()));
    let global = fields.read("global", global::service);
    let streams = fields.read("streams", streams::streams);
    let upstreams = fields.read("upstreams", upstreams::upstreams);
    let declared = identity::declared(&fields);
    let priority = fields.read("priority", |node| upstreams::priority(node, &declared));
    let workflows = fields.read("workflows", |node| workflows::workflows(node, &declared));
    let has_salt = fields.has("salt");
    let secrets = dimensions.iter().flatten().filter(|(_, dimension)| dimension.secret && !has_salt);
    let unshared: Vec<_> = secrets.map(|(name, _)| name.as_str().into()).collect();
    let context = limits::Context {
        dimensions: &declared,
        warn_at: warn_at.unwrap_or(Ratio::ONE),
        has_prices: prices.as_ref().is_none_or(|prices| !prices.0.is_empty()),
        unshared: &unshared,
        service: match &global {
            None if fields.has("global") => Err(limits::Broken),
            global => Ok(global.as_ref()),
        },
        priority: priority.as_ref(),
    };
    let tiers = fields.read("tiers", |node| tiers::tiers(node, &context));
    let dimensions = identity::with_missing(&fields, &declared, dimensions?, &on_missing?);
    let tiers = tiers::with_default_tier(&fields, tiers?, &dimensions);
    Some(Config {
        identity: Sources { dimensions, salt: Salt(salt) },
        routes: routes?,
        unrecognised: unrecognised?,
        tiers: tiers?,
        counting: counting?,
        prices: prices?,
        headers: headers?,
        hold: hold?,
        table_size: u32::try_from(table_size?).ok()?,
        global: global.map(Rc::new),
        streams: streams?,
        workflows,
        upstreams,
    })
}

#[cfg(test)]
mod tests;
