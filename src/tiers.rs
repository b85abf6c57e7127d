//! Tiers: named lists of limits, and which one a call belongs to.
//!
//! In: a [`Caller`]. Out: its [`Tier`]. Not here: what limits do.

use std::rc::Rc;

use crate::identity::Caller;
use crate::limits::{GlobalLimit, Limit};

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

    /// The tier of a caller, and whether it exists under the name that the caller has; one that does not is never a
    /// free ride, but the default.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> (Rc<Tier>, bool) {
        let Some(name) = caller.value(TIER_DIMENSION) else { return (self.default.clone(), true) };
        match self.all.iter().find(|tier| tier.name.as_bytes() == name) {
            Some(tier) => (tier.clone(), true),
            None => (self.default.clone(), false),
        }
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
        let tier = |name: &str| Tier { name: name.into(), limits: vec![], global: vec![] };
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
