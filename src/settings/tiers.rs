//! `tiers`: named lists of limits, each of which may extend another, and the milder answers that
//! precede a refusal.
//!
//! In: nodes of the configuration. Out: [`Tiers`]. A tier that extends another has its limits too;
//! a limit of the same name changes only the options it gives. Not here: what a limit is
//! (`limits`), how calls are softened (`degradation`).

use std::rc::Rc;

use super::degradation::{self, SOFTEN, WAIT};
use super::limits::{Context, LIMIT, WrittenLimit};
use super::upstreams;
use crate::config::{Fields, Kind, Node, Ratio, Section, distinct, kind, optional, with_default};
use crate::identity::Dimension;
use crate::limits::{GlobalLimit, Limit};
use crate::store::WAYS;
use crate::tiers::{TIER_DIMENSION, Tier, Tiers};

pub(super) static TIER: Section = Section::new(
    "tiers.<name>",
    "A tier: what its callers may spend. Each tier has its own budgets, even for limits that it inherits.",
    &[
        optional("extends", Kind::Name, "none", "Another tier, whose limits this one inherits."),
        with_default(
            "limits",
            Kind::List(&Kind::Section(&LIMIT)),
            "[]",
            "Its limits, each with a unique name. A call must pass all of them.",
        ),
        with_default(
            "soften",
            Kind::List(&Kind::Section(&SOFTEN)),
            "[]",
            "Steps that soften requests as budgets fill. Of the steps whose `at` the caller's most used \
            budget has reached, the one with the highest `at` applies.",
        ),
        with_default(
            "clamp_output",
            Kind::Flag,
            "false",
            "If a call does not fit, lowers its output bound (`max_tokens` and the like) to what is left, \
            rather than refusing it. Calls that ask for more thinking than that are refused.",
        ),
        optional(
            "wait",
            Kind::Section(&WAIT),
            "none: they are refused",
            "Holds calls that will fit soon, rather than refusing them.",
        ),
    ],
);

/// Reads all tiers, each with the limits of those it extends.
pub(super) fn tiers(node: &Node<'_>, context: &Context<'_>) -> Option<Vec<Tier>> {
    let Some(entries) = node.entries() else { return node.unexpected("a map") };
    let written: Vec<_> =
        entries.map(|(name, node)| (name.clone(), WrittenTier::read(&node, context))).collect();
    if written.is_empty() {
        return node.rule("needs at least one tier");
    }
    let resolved =
        |(name, tier): &(String, Option<WrittenTier<'_>>)| tier.as_ref()?.resolved(name, &written, context);
    let tiers: Vec<_> = written.iter().map(resolved).collect();
    tiers.into_iter().collect()
}

/// Adds the default tier: the default of the dimension `tier`, or the only tier.
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

/// The most limits of a tier whose budgets for one caller share a line of the table: half of its
/// places, so that a line has room for two such callers.
const MOST_IN_A_LINE: usize = WAYS / 2;

/// Keeps the budgets of limits apart from each other where too many have the same dimensions.
fn keep_apart(limits: &mut [(bool, Limit)]) {
    let per: Vec<_> = limits.iter().map(|(_, limit)| limit.per.clone()).collect();
    for (_, limit) in limits {
        limit.is_apart = per.iter().filter(|per| **per == limit.per).count() > MOST_IN_A_LINE;
    }
}

/// A tier as written.
struct WrittenTier<'a> {
    fields: Fields<'a>,
    extends: Option<String>,
    limits: Vec<WrittenLimit<'a>>,
    degradation: degradation::Written,
}

impl<'a> WrittenTier<'a> {
    fn read(node: &Node<'a>, context: &Context<'_>) -> Option<Self> {
        let fields = node.section(&TIER);
        let extends = fields.read("extends", kind::name);
        let limits = match fields.given("limits") {
            None => Some(Vec::new()),
            Some(node) => match node.items() {
                Some(items) => {
                    let limits = items.filter_map(|node| {
                        let limit = WrittenLimit::read(&node, context)?;
                        Some((limit, node.entry("name")?))
                    });
                    Some(distinct::uncovered(limits.collect(), |earlier, limit| earlier.name == limit.name))
                }
                None => node.unexpected("a list"),
            },
        };
        let degradation = degradation::Written::read(&fields);
        Some(Self { extends, limits: limits?, degradation, fields })
    }

    fn resolved(&self, name: &str, all: &[(String, Option<Self>)], context: &Context<'_>) -> Option<Tier> {
        let tier: Rc<str> = name.into();
        let (merged, degradation) = self.merged(all, &mut vec![name])?;
        let limits: Vec<_> =
            merged.iter().map(|limit| Some((limit.is_global(), limit.resolved(&tier, context)?))).collect();
        let mut limits: Vec<_> = limits.into_iter().collect::<Option<_>>()?;
        keep_apart(&mut limits);
        let (global, local): (Vec<_>, Vec<_>) = limits.into_iter().partition(|(is_global, _)| *is_global);
        let share = context.service.ok().flatten().map_or(Ratio::ONE, |service| service.local_share);
        Some(Tier {
            names_upstream: local.iter().chain(&global).any(|(_, limit)| upstreams::is_named_by(limit)),
            limits: local.into_iter().map(|(_, limit)| Rc::new(limit)).collect(),
            global: global.into_iter().map(|(_, limit)| GlobalLimit::new(limit, share)).collect(),
            degradation: degradation.resolved(&tier, context.warn_at),
            name: tier,
        })
    }

    /// Returns the limits and options inherited from the tiers that it extends, changed and
    /// extended by its own.
    fn merged<'t>(
        &'t self,
        all: &'t [(String, Option<Self>)],
        seen: &mut Vec<&'t str>,
    ) -> Option<(Vec<WrittenLimit<'a>>, degradation::Written)> {
        let (mut limits, mut degradation) = (Vec::new(), degradation::Written::default());
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
            (limits, degradation) = tier.as_ref()?.merged(all, seen)?;
        }
        for limit in &self.limits {
            match limits.iter_mut().find(|base| base.name == limit.name) {
                Some(base) => *base = limit.over(base),
                None => limits.push(limit.clone()),
            }
        }
        Some((limits, self.degradation.over(&degradation)))
    }
}
