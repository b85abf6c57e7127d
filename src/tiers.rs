//! Tiers: named lists of limits, and the tier of a call.
//!
//! In: a [`Caller`]. Out: its [`Tier`]. Not here: how limits work.

use std::rc::Rc;

use crate::config::{Glob, Ratio};
use crate::identity::Caller;
use crate::limits::{GlobalLimit, Limit};
use crate::units::Span;

/// The dimension that selects the tier.
pub const TIER_DIMENSION: &str = "tier";

/// A named list of limits.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Its name.
    pub name: Rc<str>,
    /// Its limits with budgets in this process; those of the tiers it extends come first.
    pub limits: Vec<Rc<Limit>>,
    /// Its limits with budgets in the rate limit service.
    pub global: Vec<GlobalLimit>,
    /// The milder answers that its callers get before a refusal.
    pub degradation: Degradation,
    /// Whether one of its limits depends on the upstream.
    pub names_upstream: bool,
}

/// The milder answers that precede a refusal.
#[derive(Clone, Debug, Default)]
pub struct Degradation {
    /// The steps that soften requests as budgets fill, the earliest first.
    pub soften: Vec<Step>,
    /// Whether the output of a call that does not fit is bounded to what is left.
    pub clamp_output: bool,
    /// How calls wait that will soon fit; `None` if they do not.
    pub wait: Option<WaitPolicy>,
}

/// A step of softening, taken from some share of a budget on.
#[derive(Clone, Debug)]
pub struct Step {
    /// The share of the most used budget at which the step begins.
    pub at: Ratio,
    /// Patterns of models and their replacements; the first match counts.
    pub models: Vec<(Glob, String)>,
    /// The highest bound on output tokens.
    pub max_output: Option<u64>,
}

impl Step {
    /// Returns the model that replaces this one, if it is another.
    #[must_use]
    pub fn cheaper(&self, model: &str) -> Option<&String> {
        let matching = self.models.iter().find(|(from, _)| from.matches(model));
        matching.map(|(_, to)| to).filter(|to| *to != model)
    }
}

/// How calls wait until they fit.
#[derive(Clone, Debug)]
pub struct WaitPolicy {
    /// The longest wait.
    pub max_wait: Span,
    /// The most calls that wait at a time, as a limit on calls in flight.
    pub places: Rc<Limit>,
}

impl Tier {
    /// Returns whether it has any limits.
    #[must_use]
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty() || !self.global.is_empty()
    }

    /// Returns whether it has limits on tools.
    #[must_use]
    pub fn limits_tools(&self) -> bool {
        self.limits.iter().any(|limit| limit.is_of_tools())
    }
}

impl Degradation {
    /// Returns the longest wait of a call.
    #[must_use]
    pub fn patience(&self) -> Span {
        self.wait.as_ref().map_or(Span::ZERO, |wait| wait.max_wait)
    }
}

/// All tiers, and the default for calls that name none or an unknown one.
#[derive(Clone, Debug)]
pub struct Tiers {
    all: Vec<Rc<Tier>>,
    default: Rc<Tier>,
}

impl Tiers {
    /// Collects all tiers and the default.
    #[must_use]
    pub fn new(all: Vec<Tier>, default: Tier) -> Self {
        Self { all: all.into_iter().map(Rc::new).collect(), default: Rc::new(default) }
    }

    /// Returns the tier of a caller, and whether the configuration has the tier that the caller
    /// names. An unknown tier gets the default, never unlimited access.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> (Rc<Tier>, bool) {
        let Some(name) = caller.value(TIER_DIMENSION) else { return (self.default.clone(), true) };
        match self.all.iter().find(|tier| tier.name.as_bytes() == name) {
            Some(tier) => (tier.clone(), true),
            None => (self.default.clone(), false),
        }
    }

    /// Returns whether any tier has limits on tools.
    #[must_use]
    pub fn limit_tools(&self) -> bool {
        self.all.iter().any(|tier| tier.limits_tools())
    }

    /// Returns the default tier, for calls that name none or an unknown one.
    #[must_use]
    pub fn default(&self) -> &Rc<Tier> {
        &self.default
    }

    /// Returns every tier.
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
