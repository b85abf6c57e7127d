//! `tiers`: named lists of limits, each of which may extend another.
//!
//! In: nodes of the configuration. Out: [`Tiers`]. A tier that extends another has its limits too; a limit of the same name changes
//! only the options it gives. Limits are therefore merged as written and read after that.

use std::rc::Rc;

use crate::config::{Fields, Glob, Kind, Node, Ratio, Section, kind, optional, required, with_default};
use crate::identity::Dimension;
use crate::limits::{
    Algorithm, BUILT_IN_DIMENSIONS, COUNTED, Counted, GlobalLimit, Limit, Shape, Unit, counted,
};
use crate::rls::Service;
use crate::tiers::{TIER_DIMENSION, Tier, Tiers};
use crate::units::{Amount, Span};

const ALGORITHMS: [(&str, Algorithm); 3] = [
    ("token_bucket", Algorithm::TokenBucket),
    ("sliding_window", Algorithm::SlidingWindow),
    ("fixed_window", Algorithm::FixedWindow),
];

/// Whether a limit's budgets are kept by the rate limit service.
const SCOPES: [(&str, bool); 2] = [("local", false), ("global", true)];

const ENFORCE: [(&str, bool); 2] = [("on", false), ("shadow", true)];

pub(super) static TIER: Section = Section::new(
    "tiers.<name>",
    "A tier: what its callers may spend. Tiers have budgets of their own, also for limits they inherit.",
    &[
        optional("extends", Kind::Name, "none", "Another tier, whose limits this one has too."),
        with_default(
            "limits",
            Kind::List(&Kind::Section(&LIMIT)),
            "[]",
            "Its limits; all of them must let a call pass.",
        ),
    ],
);

pub(super) static LIMIT: Section = Section::new(
    "tiers.<name>.limits[]",
    "One limit. Where a tier extends another, a limit of the same name changes only the options it gives.",
    &[
        required(
            "name",
            Kind::Other("a name of letters, digits, `_`, `-` and `.`, at most 64"),
            "Its name in headers, refusals, metrics and logs.",
        ),
        required(
            "count",
            Kind::Choice(&["requests", "tokens", "input_tokens", "output_tokens", "cost_usd"]),
            "What it counts; the last table of this page says what each is.",
        ),
        with_default(
            "per",
            Kind::Several(&Kind::Name),
            "[]",
            "The dimensions it is counted per, each combination with a budget of its own; with none, all callers of the tier share one.",
        ),
        required(
            "max",
            Kind::Other("a number above zero such as 50_000, for `cost_usd` also 0.5"),
            "How much per window.",
        ),
        required("window", Kind::Duration, "Over which time."),
        with_default(
            "scope",
            Kind::Choice(&kind::names(&SCOPES)),
            "local",
            "Where its budgets are kept: in this Envoy process (`local`), or in the rate limit service of `global`, for all processes together (`global`).",
        ),
        with_default(
            "algorithm",
            Kind::Choice(&kind::names(&ALGORITHMS)),
            "token_bucket",
            "How it is given back: continuously (`token_bucket`), as calls leave the last window's length (`sliding_window`), or all at once when a window of the UTC calendar ends (`fixed_window`). With `scope: global` it is `fixed_window`, as the service has it.",
        ),
        optional(
            "burst",
            Kind::Other("a number above zero such as 50_000, for `cost_usd` also 0.5"),
            "as `max`",
            "With `token_bucket`: how much at once, where that differs from `max`.",
        ),
        with_default(
            "models",
            Kind::Several(&Kind::Glob),
            "[]",
            "The models it applies to, by patterns; with none, all. Calls whose model cannot be read count in every limit.",
        ),
        with_default(
            "enforce",
            Kind::Choice(&kind::names(&ENFORCE)),
            "on",
            "`shadow` counts and reports, and never refuses. A call it would have refused is not charged to it.",
        ),
        optional(
            "warn_at",
            Kind::Fraction,
            "as the top-level `warn_at`",
            "From which share of the budget on it warns.",
        ),
    ],
);

/// What limits refer to in other sections.
pub(super) struct Context<'a> {
    pub(super) dimensions: &'a [Rc<str>],
    pub(super) warn_at: Ratio,
    pub(super) has_prices: bool,
    /// Dimensions whose values are hashes that only this process can make: secret ones without a salt.
    pub(super) unshared: &'a [Rc<str>],
    /// Where budgets of `scope: global` are kept; `Err` if that is configured wrongly.
    pub(super) service: Result<Option<&'a Service>, Broken>,
}

/// A section that has errors of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// All tiers as the operator names them, each with the limits of those it extends.
pub(super) fn tiers(node: &Node<'_>, context: &Context<'_>) -> Option<Vec<Tier>> {
    let Some(entries) = node.entries() else { return node.unexpected("a map") };
    let written: Vec<_> =
        entries.filter_map(|(name, node)| Some((name.clone(), WrittenTier::read(&node, context)?))).collect();
    if written.is_empty() {
        return node.rule("needs at least one tier");
    }
    let tiers: Vec<_> = written.iter().map(|(name, tier)| tier.resolved(name, &written, context)).collect();
    tiers.into_iter().collect()
}

/// Adds which tier is the default: the one that the dimension `tier` has as its default, or the only one.
pub(super) fn with_default_tier(
    fields: &Fields<'_>,
    tiers: Vec<Tier>,
    dimensions: &[Dimension],
) -> Option<Tiers> {
    let chooser = dimensions.iter().find(|dimension| *dimension.name == *TIER_DIMENSION);
    let default = match (chooser.and_then(|chooser| chooser.default.clone()), tiers.as_slice()) {
        (Some(name), _) => match tiers.iter().find(|tier| tier.name == name) {
            Some(tier) => tier.clone(),
            None => {
                return fields
                    .rule("tiers", format!("has no `{name}`, which is the default of `identity.tier`"));
            }
        },
        (None, [only]) => only.clone(),
        (None, _) => {
            return fields.rule(
                "identity",
                "needs a dimension `tier` with a `default`, because there are several tiers",
            );
        }
    };
    Some(Tiers::new(tiers, default))
}

/// A tier as it is written.
struct WrittenTier<'a> {
    fields: Fields<'a>,
    extends: Option<String>,
    limits: Vec<WrittenLimit<'a>>,
}

/// A limit as it is written: which options it needs is known only when it has been merged with the one it changes.
#[derive(Clone)]
struct WrittenLimit<'a> {
    node: Node<'a>,
    name: String,
    count: Option<&'static Counted>,
    per: Option<Vec<Rc<str>>>,
    max: Option<Node<'a>>,
    window: Option<Span>,
    global: Option<bool>,
    algorithm: Option<Algorithm>,
    burst: Option<Node<'a>>,
    models: Option<Vec<Glob>>,
    shadow: Option<bool>,
    warn_at: Option<Ratio>,
    /// An option could not be read, and more errors that follow from it would only mislead.
    is_broken: bool,
}

impl<'a> WrittenTier<'a> {
    fn read(node: &Node<'a>, context: &Context<'_>) -> Option<Self> {
        let fields = node.section(&TIER);
        let extends = fields.read("extends", kind::name);
        let limits = match fields.given("limits") {
            None => Some(Vec::new()),
            Some(node) => match node.items() {
                Some(items) => Some(items.filter_map(|node| WrittenLimit::read(&node, context)).collect()),
                None => node.unexpected("a list"),
            },
        };
        Some(Self { extends, limits: limits?, fields })
    }

    fn resolved(&self, name: &str, all: &[(String, Self)], context: &Context<'_>) -> Option<Tier> {
        let tier: Rc<str> = name.into();
        let merged = self.merged(all, &mut vec![name])?;
        let limits: Vec<_> =
            merged.iter().map(|limit| Some((limit.is_global(), limit.resolved(&tier, context)?))).collect();
        let limits: Vec<_> = limits.into_iter().collect::<Option<_>>()?;
        let (global, local): (Vec<_>, Vec<_>) = limits.into_iter().partition(|(is_global, _)| *is_global);
        let share = context.service.ok().flatten().map_or(Ratio::ONE, |service| service.local_share);
        Some(Tier {
            name: tier,
            limits: local.into_iter().map(|(_, limit)| Rc::new(limit)).collect(),
            global: global.into_iter().map(|(_, limit)| GlobalLimit::new(limit, share)).collect(),
        })
    }

    /// The limits of the tiers it extends, changed and added to by its own.
    fn merged<'t>(
        &'t self,
        all: &'t [(String, Self)],
        seen: &mut Vec<&'t str>,
    ) -> Option<Vec<WrittenLimit<'a>>> {
        let mut limits = Vec::new();
        if let Some(base) = &self.extends {
            if seen.contains(&base.as_str()) {
                return self.fields.rule(
                    "extends",
                    format!("comes back to `{base}`: tiers cannot extend each other in a circle"),
                );
            }
            let Some((name, tier)) = all.iter().find(|(name, _)| name == base) else {
                return self.fields.rule("extends", format!("names `{base}`, which is not a tier"));
            };
            seen.push(name);
            limits = tier.merged(all, seen)?;
        }
        for limit in &self.limits {
            match limits.iter_mut().find(|base| base.name == limit.name) {
                Some(base) => *base = limit.over(base),
                None => limits.push(limit.clone()),
            }
        }
        Some(limits)
    }
}

impl<'a> WrittenLimit<'a> {
    fn read(node: &Node<'a>, context: &Context<'_>) -> Option<Self> {
        let fields = node.section(&LIMIT);
        let name = fields.read("name", limit_name);
        let mut is_broken = false;
        let per_dimension = |node: &Node<'_>| dimension(node, context);
        let count = own(&fields, "count", &mut is_broken, counted_thing);
        let per = own(&fields, "per", &mut is_broken, kind::several(per_dimension));
        let window = own(&fields, "window", &mut is_broken, kind::duration);
        let global = own(&fields, "scope", &mut is_broken, kind::choice(&SCOPES));
        let algorithm = own(&fields, "algorithm", &mut is_broken, kind::choice(&ALGORITHMS));
        let models = own(&fields, "models", &mut is_broken, kind::several(kind::glob));
        let shadow = own(&fields, "enforce", &mut is_broken, kind::choice(&ENFORCE));
        let warn_at = own(&fields, "warn_at", &mut is_broken, kind::fraction);
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
            shadow,
            warn_at,
            is_broken,
        })
    }

    /// This limit, with what it does not say taken from the one it changes.
    fn over(&self, base: &Self) -> Self {
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
            shadow: this.shadow.or(base.shadow),
            warn_at: this.warn_at.or(base.warn_at),
            is_broken: this.is_broken || base.is_broken,
        }
    }

    /// The limit, if nothing is missing or wrong; what is missing after all merging is reported at the one merged last.
    fn resolved(&self, tier: &Rc<str>, context: &Context<'_>) -> Option<Limit> {
        let fields = self.node.section(&LIMIT);
        let amount = |node: &Node<'_>| amount(node, self.count.map_or(Unit::NanoUsd, |counts| counts.unit));
        let max = self.max.as_ref().map(|node| node.read(amount));
        let burst = self.burst.as_ref().map(|node| node.read(amount));
        let usual = if self.is_global() { Algorithm::FixedWindow } else { Algorithm::default() };
        let algorithm = self.algorithm.unwrap_or(usual);
        if burst.is_some() && algorithm != Algorithm::TokenBucket {
            fields.rule::<()>("burst", "means something only with `algorithm: token_bucket`");
        }
        if self.is_global() {
            self.check_global(&fields, algorithm, context);
        }
        if self.count.is_some_and(|counts| counts.unit == Unit::NanoUsd) && !context.has_prices {
            fields.rule::<()>("count", "is `cost_usd`, which needs `prices`");
        }
        if self.is_broken {
            return None;
        }
        let counts = self.count.or_else(|| fields.read("count", counted_thing));
        let max = max.unwrap_or_else(|| fields.read("max", amount));
        let window = self.window.or_else(|| fields.read("window", kind::duration));
        let (max, per, models) = (max?, self.per.clone(), self.models.clone());
        Some(Limit {
            name: self.name.as_str().into(),
            tier: tier.clone(),
            id: Limit::id(tier, &self.name, counts?),
            counts: counts?,
            per: per.unwrap_or_default(),
            shape: Shape { algorithm, max, burst: burst.unwrap_or(Some(max))?, window: window? },
            models: models.unwrap_or_default(),
            shadow: self.shadow.unwrap_or_default(),
            warn_at: self.warn_at.unwrap_or(context.warn_at),
        })
    }
}

impl WrittenLimit<'_> {
    fn is_global(&self) -> bool {
        self.global.unwrap_or_default()
    }

    /// What must hold for a limit that the rate limit service counts.
    fn check_global(&self, fields: &Fields<'_>, algorithm: Algorithm, context: &Context<'_>) {
        if context.service.is_ok_and(|service| service.is_none()) {
            fields.rule::<()>("scope", "is `global`, which needs the section `global`");
        }
        if algorithm != Algorithm::FixedWindow {
            fields.rule::<()>(
                "algorithm",
                "must be `fixed_window` with `scope: global`: so the service counts",
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

/// An option that this limit gives itself; one that cannot be read breaks it.
fn own<T>(
    fields: &Fields<'_>,
    name: &str,
    is_broken: &mut bool,
    reader: impl FnOnce(&Node<'_>) -> Option<T>,
) -> Option<T> {
    let value = fields.given(name)?.read(reader);
    *is_broken |= value.is_none();
    value
}

/// A name that can stand in headers, metrics and logs without quoting.
fn limit_name(node: &Node<'_>) -> Option<String> {
    let name = kind::name(node)?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    if name.len() > 64 || !name.chars().all(plain) {
        return node.unexpected("a name of letters, digits, `_`, `-` and `.`, at most 64");
    }
    Some(name)
}

fn counted_thing(node: &Node<'_>) -> Option<&'static Counted> {
    let name = kind::name(node)?;
    let names: Vec<_> = COUNTED.iter().map(|counted| counted.name).collect();
    counted(&name).or_else(|| node.unexpected(format!("one of {}", names.join(", "))))
}

fn dimension(node: &Node<'_>, context: &Context<'_>) -> Option<Rc<str>> {
    let name = kind::name(node)?;
    if let Some(built_in) = BUILT_IN_DIMENSIONS.iter().find(|built_in| **built_in == name) {
        return Some((*built_in).into());
    }
    let known = context.dimensions.iter().find(|dimension| ***dimension == *name);
    known.cloned().or_else(|| {
        let known: Vec<_> =
            context.dimensions.iter().map(|dimension| &**dimension).chain(BUILT_IN_DIMENSIONS).collect();
        node.unexpected(format!("a dimension of `identity`: {}", known.join(", ")))
    })
}

fn amount(node: &Node<'_>, unit: Unit) -> Option<Amount> {
    let amount = match unit {
        Unit::Requests | Unit::Tokens => kind::integer(node)?,
        Unit::NanoUsd => kind::usd(node)?.0,
    };
    if amount == 0 { node.unexpected("a number above zero") } else { Some(Amount(amount)) }
}
