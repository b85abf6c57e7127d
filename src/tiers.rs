//! Tiers: named lists of limits, and which one a call belongs to.
//!
//! In: a [`Caller`]. Out: its [`Tier`]. Not here: what limits do.

use std::rc::Rc;

use crate::config::{Glob, Ratio};
use crate::identity::Caller;
use crate::limits::{GlobalLimit, Limit};
use crate::units::Span;

/// The dimension that chooses the tier.
pub const TIER_DIMENSION: &str = "tier";

/// A named list of limits.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Its name.
    pub name: Rc<str>,
    /// Its limits with budgets in this process, those of the tiers it extends first.
    pub limits: Vec<Rc<Limit>>,
    /// Its limits with budgets in the rate limit service.
    pub global: Vec<GlobalLimit>,
    /// How its callers are treated before they are refused.
    pub degradation: Degradation,
    /// Whether one of its limits depends on the upstream.
    pub names_upstream: bool,
}

/// Softer answers than a refusal.
#[derive(Clone, Debug, Default)]
pub struct Degradation {
    /// How requests are softened as budgets fill, the earliest step first.
    pub soften: Vec<Step>,
    /// Whether the output of a call that does not fit is bounded to what is left.
    pub clamp_output: bool,
    /// Whether calls that will soon fit are held.
    pub wait: Option<Waiting>,
}

/// How requests are softened from some share of a budget on.
#[derive(Clone, Debug)]
pub struct Step {
    /// From which share of the most used budget on.
    pub at: Ratio,
    /// Models, and those that they are replaced by; the first that matches counts.
    pub models: Vec<(Glob, String)>,
    /// The highest bound on output tokens.
    pub max_output: Option<u64>,
}

impl Step {
    /// The model that takes the place of this one, if it is another.
    #[must_use]
    pub fn cheaper(&self, model: &str) -> Option<&String> {
        let matching = self.models.iter().find(|(from, _)| from.matches(model));
        matching.map(|(_, to)| to).filter(|to| *to != model)
    }
}

/// How calls are held until they fit.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// How long at most.
    pub max_wait: Span,
    /// How many at the same time, as a limit on calls in flight.
    pub places: Rc<Limit>,
}

impl Tier {
    /// Whether it has limits on tools.
    #[must_use]
    pub fn limits_tools(&self) -> bool {
        self.limits.iter().any(|limit| limit.is_of_tools())
    }
}

impl Degradation {
    /// How long a call may be held.
    #[must_use]
    pub fn patience(&self) -> Span {
        self.wait.as_ref().map_or(Span::ZERO, |wait| wait.max_wait)
    }
}

/// All tiers, of which one is for calls that name none, or one that does not exist.
#[derive(Clone, Debug)]
pub struct Tiers {
    all: Vec<Rc<Tier>>,
    default: Rc<Tier>,
}

impl Tiers {
    /// All tiers and the one that is the default.
    #[must_use]
    pub fn new(all: Vec<Tier>, default: Tier) -> Self {
        Self { all: all.into_iter().map(Rc::new).collect(), default: Rc::new(default) }
    }

    /// The tier of a caller, and whether it exists under the name that the caller has; one that
    /// does not is never a free ride, but the default.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> (Rc<Tier>, bool) {
        let Some(name) = caller.value(TIER_DIMENSION) else { return (self.default.clone(), true) };
        match self.all.iter().find(|tier| tier.name.as_bytes() == name) {
            Some(tier) => (tier.clone(), true),
            None => (self.default.clone(), false),
        }
    }

    /// Whether any tier has limits on tools.
    #[must_use]
    pub fn limit_tools(&self) -> bool {
        self.all.iter().any(|tier| tier.limits_tools())
    }

    /// The tier of calls that name none, or one that does not exist.
    #[must_use]
    pub fn default(&self) -> &Rc<Tier> {
        &self.default
    }

    /// Every tier.
    #[must_use]
    pub fn all(&self) -> &[Rc<Tier>] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers() -> Tiers {
        let tier = |name: &str| Tier {
            name: name.into(),
            limits: vec![],
            global: vec![],
            degradation: Degradation::default(),
            names_upstream: false,
        };
        Tiers::new(vec![tier("free"), tier("pro")], tier("free"))
    }

    fn of(tier: Option<&[u8]>) -> (String, bool) {
        let values = tier.map(|tier| ("tier".into(), tier.to_vec()));
        let (tier, known) = tiers().of(&Caller::new(values.into_iter().collect()));
        (tier.name.to_string(), known)
    }

    #[test]
    fn a_call_has_the_tier_it_names() {
        assert_eq!(of(Some(b"pro")), ("pro".into(), true));
        assert_eq!(of(None), ("free".into(), true));
    }

    #[test]
    fn a_tier_that_does_not_exist_is_the_default_and_told() {
        assert_eq!(of(Some(b"platinum")), ("free".into(), false));
        assert_eq!(of(Some(b"\xff")), ("free".into(), false));
    }
}
