//! `tiers.<name>.limits`: the resource, dimensions, amount and window of each limit.
//!
//! In: nodes of the configuration. Out: [`Limit`]s. A limit needs different options once it is
//! merged with the one that it changes, so limits are merged as written (`tiers`) and read
//! afterwards.

use std::rc::Rc;

use crate::config::{
    Fields, Glob, Kind, Node, Ratio, Section, distinct, kind, optional, required, with_default,
};
use crate::limits::{
    Algorithm, BUILT_IN_DIMENSIONS, Limit, OnExhausted, RESOURCE_NAMES, RESOURCES, Reserved, Resource, Shape,
    UPSTREAM_DIMENSION, Unit, resource,
};
use crate::rls::Service;
use crate::units::{Amount, Span};

const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("token_bucket", Algorithm::TokenBucket),
    ("sliding_window", Algorithm::SlidingWindow),
    ("fixed_window", Algorithm::FixedWindow),
];

/// Whether the rate limit service keeps a limit's budgets.
const SCOPES: [(&str, bool); 2] = [("local", false), ("global", true)];

/// The treatment of calls that offer a tool whose budget is exhausted.
const ON_EXHAUSTED: [(&str, OnExhausted); 2] =
    [("hide_tool", OnExhausted::HideTool), ("refuse", OnExhausted::Refuse)];

const ENFORCE: [(&str, bool); 2] = [("on", false), ("shadow", true)];

pub(super) static LIMIT: Section = Section::new(
    "tiers.<name>.limits[]",
    "One limit. In a tier that extends another, a limit of the same name overrides only the options it sets.",
    &[
        required(
            "name",
            Kind::Other("a name of letters, digits, `_`, `-` and `.`, at most 64"),
            "Its name in headers, refusals, metrics and logs.",
        ),
        required(
            "count",
            Kind::Choice(&RESOURCE_NAMES),
            "What it counts; see [What limits count](#what-limits-count).",
        ),
        with_default(
            "per",
            Kind::Several(&Kind::Name),
            "[]",
            "The dimensions it is counted per; each combination of values has its own budget. Without any, \
            all callers of the tier share one.",
        ),
        required(
            "max",
            Kind::Other("a number above zero such as 50_000, for `cost_usd` also 0.5"),
            "The amount per window; for `concurrent_requests`, the number of calls at the same time.",
        ),
        optional(
            "window",
            Kind::Duration,
            "**required**, except for `concurrent_requests`, which has none",
            "The length of the window. With `scope: global`, it must be one that the service has: `1s`, \
            `1m`, `1h`, `1d`, `7d`, `30d` or `365d`; with `hits_addend: request`, as for Limitador, any \
            whole number of seconds.",
        ),
        with_default(
            "scope",
            Kind::Choice(&kind::names(&SCOPES)),
            "local",
            "Where to keep its budgets: in this Envoy process (`local`), or for all processes together in \
            the rate limit service of `global` (`global`).",
        ),
        with_default(
            "algorithm",
            Kind::Choice(&kind::names(&ALGORITHMS)),
            "token_bucket",
            "How the budget refills: continuously (`token_bucket`), as calls drop out of the last window \
            (`sliding_window`), or all at once when a window of the UTC calendar ends (`fixed_window`). \
            With `scope: global` it is always `fixed_window`, as in the service.",
        ),
        optional(
            "burst",
            Kind::Other("a number above zero such as 50_000, for `cost_usd` also 0.5"),
            "as `max`",
            "With `token_bucket`: the capacity of the bucket, if it differs from `max`.",
        ),
        with_default(
            "models",
            Kind::Several(&Kind::Glob),
            "[]",
            "Patterns of the models it applies to; without any, all models. A call whose model cannot be \
            read counts in every limit.",
        ),
        with_default(
            "tools",
            Kind::Several(&Kind::Glob),
            "[]",
            "With `tool_calls`: patterns of the names of the tools whose calls it counts; at least one.",
        ),
        with_default(
            "on_exhausted",
            Kind::Choice(&kind::names(&ON_EXHAUSTED)),
            "hide_tool",
            "With `tool_calls`: what to do with an LLM call that offers a tool whose budget is exhausted. \
            `hide_tool` removes the tool from the request, or refuses the call if the request cannot be \
            changed. `refuse` refuses the call. An MCP `tools/call` is refused either way.",
        ),
        optional(
            "once_per",
            Kind::Name,
            "every call counts",
            "With `requests`: a dimension, such as `workflow`. All calls with the same value count as one.",
        ),
        with_default(
            "adaptive",
            Kind::Flag,
            "false",
            "Keeps calls just below what the upstream really allows, typically with `per: [upstream, \
            model]`. When the upstream refuses a call that the limit admitted (429 or 529, or 503 with \
            `retry-after`), the limit's size is halved, at most once a second and down to a sixteenth. It \
            grows by a twentieth of `max` every 10 s, up to `max`. Only with `scope: local`.",
        ),
        with_default(
            "enforce",
            Kind::Choice(&kind::names(&ENFORCE)),
            "on",
            "`shadow` counts and reports but never refuses. It does not charge a call that it would have \
            refused.",
        ),
        optional(
            "warn_at",
            Kind::Fraction,
            "as the top-level `warn_at`",
            "The used share of the budget above which it warns.",
        ),
    ],
);

/// The parts of other sections that limits refer to.
pub(super) struct Context<'a> {
    pub(super) dimensions: &'a [Rc<str>],
    pub(super) warn_at: Ratio,
    pub(super) has_prices: bool,
    /// Dimensions whose hashes only this process can make: secret ones without a salt.
    pub(super) unshared: &'a [Rc<str>],
    /// The service that keeps budgets of `scope: global`; `Err` if its section has errors.
    pub(super) service: Result<Option<&'a Service>, Broken>,
    /// The reserved share of budgets per upstream.
    pub(super) priority: Option<&'a Reserved>,
}

/// A section that has errors of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// A limit as written.
#[derive(Clone)]
pub(super) struct WrittenLimit<'a> {
    node: Node<'a>,
    pub(super) name: String,
    count: Option<&'static Resource>,
    per: Option<Vec<Rc<str>>>,
    max: Option<Node<'a>>,
    window: Option<Span>,
    global: Option<bool>,
    algorithm: Option<Algorithm>,
    burst: Option<Node<'a>>,
    models: Option<Vec<Glob>>,
    tools: Option<Vec<Glob>>,
    on_exhausted: Option<OnExhausted>,
    once_per: Option<Rc<str>>,
    adaptive: Option<bool>,
    shadow: Option<bool>,
    warn_at: Option<Ratio>,
    /// An option could not be read, and further errors that follow from it would only mislead.
    is_broken: bool,
}

impl<'a> WrittenLimit<'a> {
    pub(super) fn read(node: &Node<'a>, context: &Context<'_>) -> Option<Self> {
        let fields = node.section(&LIMIT);
        let name = fields.read("name", limit_name);
        let per_dimension = |node: &Node<'_>| dimension(node, context);
        let count = fields.read_given("count", counted_thing);
        let per = fields.read_given("per", distinct::set(per_dimension));
        let window = fields.read_given("window", kind::duration);
        let global = fields.read_given("scope", kind::choice(&SCOPES));
        let algorithm = fields.read_given("algorithm", kind::choice(&ALGORITHMS));
        let models = fields.read_given("models", distinct::set(kind::glob));
        let tools = fields.read_given("tools", distinct::set(kind::glob));
        let on_exhausted = fields.read_given("on_exhausted", kind::choice(&ON_EXHAUSTED));
        let once_per = fields.read_given("once_per", per_dimension);
        let adaptive = fields.read_given("adaptive", kind::flag);
        let shadow = fields.read_given("enforce", kind::choice(&ENFORCE));
        let warn_at = fields.read_given("warn_at", kind::fraction);
        let (max, burst) = (fields.given("max"), fields.given("burst"));
        let node = node.clone();
        Some(Self {
            node,
            name: name?,
            count,
            per,
            max,
            window,
            global,
            algorithm,
            burst,
            models,
            tools,
            on_exhausted,
            once_per,
            adaptive,
            shadow,
            warn_at,
            is_broken: fields.has_failed(),
        })
    }

    /// Returns this limit, with absent options inherited from `base`.
    pub(super) fn over(&self, base: &Self) -> Self {
        let this = self.clone();
        Self {
            node: this.node,
            name: this.name,
            count: this.count.or(base.count),
            per: this.per.or_else(|| base.per.clone()),
            max: this.max.or_else(|| base.max.clone()),
            window: this.window.or(base.window),
            global: this.global.or(base.global),
            algorithm: this.algorithm.or(base.algorithm),
            burst: this.burst.or_else(|| base.burst.clone()),
            models: this.models.or_else(|| base.models.clone()),
            tools: this.tools.or_else(|| base.tools.clone()),
            on_exhausted: this.on_exhausted.or(base.on_exhausted),
            once_per: this.once_per.or_else(|| base.once_per.clone()),
            adaptive: this.adaptive.or(base.adaptive),
            shadow: this.shadow.or(base.shadow),
            warn_at: this.warn_at.or(base.warn_at),
            is_broken: this.is_broken || base.is_broken,
        }
    }

    /// Returns the limit, if nothing is missing or wrong. An option still missing after all merging
    /// is reported at the limit merged last.
    pub(super) fn resolved(&self, tier: &Rc<str>, context: &Context<'_>) -> Option<Limit> {
        let fields = self.node.section(&LIMIT);
        let amount = |node: &Node<'_>| amount(node, self.count.map_or(&Unit::NANO_USD, |counts| counts.unit));
        let max = self.max.as_ref().map(|node| node.read(amount));
        let burst = self.burst.as_ref().map(|node| node.read(amount));
        let usual = if self.is_global() { Algorithm::FixedWindow } else { Algorithm::default() };
        let algorithm = self.algorithm.unwrap_or(usual);
        if burst.is_some() && algorithm != Algorithm::TokenBucket {
            fields.rule::<()>("burst", "requires `algorithm: token_bucket`");
        }
        if self.is_global() {
            self.check_global(&fields, algorithm, context);
        }
        self.check_counted(&fields);
        if self.count.is_some_and(|counts| counts.unit.is_money) && !context.has_prices {
            fields.rule::<()>("count", "is `cost_usd`, which needs `prices`");
        }
        if self.is_broken {
            return None;
        }
        let counts = self.count.or_else(|| fields.read("count", counted_thing));
        let max = max.unwrap_or_else(|| fields.read("max", amount));
        let shape = match counts? {
            counts if counts.is_in_flight() => Shape::in_flight(max?),
            _ => {
                let window = self.window.or_else(|| {
                    fields.rule("window", "is missing, expected a duration such as 30s, 1m, 1h, 1d")
                })?;
                Shape { algorithm, max: max?, burst: burst.unwrap_or(max)?, window }
            }
        };
        let (models, tools) = (self.models.clone(), self.tools.clone());
        let per = self.per.clone().unwrap_or_default();
        let is_per_upstream = per.iter().any(|dimension| **dimension == *UPSTREAM_DIMENSION);
        let limit = Limit::new(tier, &self.name, counts?, shape);
        Some(Limit {
            // No configured limit can have this id, because names have no slashes.
            rate_id: self.is_adaptive().then(|| format!("{}/rate", limit.id).into()),
            per,
            models: models.unwrap_or_default(),
            tools: tools.unwrap_or_default(),
            on_exhausted: self.on_exhausted.unwrap_or_default(),
            once_per: self.once_per.clone(),
            reserved: context.priority.filter(|_| is_per_upstream).cloned(),
            shadow: self.shadow.unwrap_or_default(),
            warn_at: self.warn_at.unwrap_or(context.warn_at),
            ..limit
        })
    }
}

impl WrittenLimit<'_> {
    pub(super) fn is_global(&self) -> bool {
        self.global.unwrap_or_default()
    }

    fn is_adaptive(&self) -> bool {
        self.adaptive.unwrap_or_default()
    }

    /// Checks the options against the resource.
    fn check_counted(&self, fields: &Fields<'_>) {
        let Some(counts) = self.count else { return };
        if counts.is_in_flight() {
            for option in ["window", "algorithm", "burst"] {
                if fields.has(option) {
                    fields.rule::<()>(option, "is not allowed with `count: concurrent_requests`");
                }
            }
        }
        let of_tools = counts.is_of_tools();
        if of_tools && self.tools.as_ref().is_none_or(Vec::is_empty) {
            fields.rule::<()>("tools", "is required with `count: tool_calls`");
        }
        for (option, given) in
            [("tools", self.tools.is_some()), ("on_exhausted", self.on_exhausted.is_some())]
        {
            if given && !of_tools {
                fields.rule::<()>(option, "requires `count: tool_calls`");
            }
        }
        if self.once_per.is_some() && *counts.unit != Unit::REQUESTS {
            fields.rule::<()>("once_per", "requires `count: requests`");
        }
        if let Some(once) =
            self.once_per.as_ref().filter(|once| self.per.iter().flatten().any(|per| per == *once))
        {
            fields.rule::<()>(
                "once_per",
                format!("must not be a dimension of `per`: each budget would count `{once}` once and never be spent"),
            );
        }
        if self.is_adaptive() && (self.is_global() || counts.is_in_flight()) {
            fields.rule::<()>("adaptive", "needs `scope: local` and a `window`");
        }
        if self.is_global() && (!counts.can_be_global() || self.once_per.is_some()) {
            let local = RESOURCES.iter().filter(|counts| !counts.can_be_global());
            let local: Vec<_> = local.map(|counts| format!("`{}`", counts.name)).collect();
            fields.rule::<()>(
                "scope",
                format!(
                    "cannot be `global` with {} or `once_per`: the service counts amounts of single calls",
                    local.join(", ")
                ),
            );
        }
    }

    /// Checks the rules for a limit that the rate limit service counts.
    fn check_global(&self, fields: &Fields<'_>, algorithm: Algorithm, context: &Context<'_>) {
        if context.service.is_ok_and(|service| service.is_none()) {
            fields.rule::<()>("scope", "is `global`, which needs the section `global`");
        }
        if algorithm != Algorithm::FixedWindow {
            fields.rule::<()>(
                "algorithm",
                "must be `fixed_window` with `scope: global`, as the service counts",
            );
        }
        let windows = context.service.ok().flatten().map(|service| service.hits_addend.windows());
        if let (Some(windows), Some(window)) = (windows, self.window)
            && !windows.have(window)
        {
            fields.rule::<()>(
                "window",
                format!("must be {windows} with `scope: global`, as the service counts"),
            );
        }
        let per = self.per.iter().flatten();
        if let Some(unshared) = per.into_iter().find(|dimension| context.unshared.contains(dimension)) {
            fields.rule::<()>(
                "per",
                format!("names the secret dimension `{unshared}`, whose hashes agree between processes only with a `salt`"),
            );
        }
    }
}

/// Reads a name that can stand in headers, metrics and logs without quoting.
fn limit_name(node: &Node<'_>) -> Option<String> {
    let name = kind::name(node)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    if name.len() > 64 || !name.chars().all(plain) {
        return node.unexpected("a name of letters, digits, `_`, `-` and `.`, at most 64");
    }
    Some(name)
}

fn counted_thing(node: &Node<'_>) -> Option<&'static Resource> {
    let name = kind::name(node)?;
    resource(&name).or_else(|| node.unexpected(format!("one of {}", RESOURCE_NAMES.join(", "))))
}

fn dimension(node: &Node<'_>, context: &Context<'_>) -> Option<Rc<str>> {
    declared_dimension(node, context.dimensions)
}

/// Reads the name of a dimension that is declared or built in.
pub(super) fn declared_dimension(node: &Node<'_>, dimensions: &[Rc<str>]) -> Option<Rc<str>> {
    let name = kind::name(node)?;
    if let Some(built_in) = BUILT_IN_DIMENSIONS.iter().find(|built_in| **built_in == name) {
        return Some((*built_in).into());
    }
    let known = dimensions.iter().find(|dimension| ***dimension == *name);
    known.cloned().or_else(|| {
        let known: Vec<_> =
            dimensions.iter().map(|dimension| &**dimension).chain(BUILT_IN_DIMENSIONS).collect();
        node.unexpected(format!("a dimension of `identity`: {}", known.join(", ")))
    })
}

fn amount(node: &Node<'_>, unit: &Unit) -> Option<Amount> {
    let amount = if unit.is_money { kind::usd(node)?.0 } else { unit.amount(kind::integer(node)?).0 };
    if amount == 0 { node.unexpected("a number above zero") } else { Some(Amount(amount)) }
}
