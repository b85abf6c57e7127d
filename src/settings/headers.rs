//! `headers`: the families of budget headers that clients get.
//!
//! In: a node of the configuration. Out: [`Headers`]. Not here: the names and values of the headers
//! (`reply`).

use crate::config::{Node, distinct, kind};

/// Headers of one form that tell the standing of budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `x-ratelimit-*`.
    XRatelimit,
    /// `ratelimit` and `ratelimit-policy`.
    Ietf,
    /// `anthropic-ratelimit-*`.
    Anthropic,
}

pub(super) const FAMILIES: [(&str, Family); 3] =
    [("x_ratelimit", Family::XRatelimit), ("ietf", Family::Ietf), ("anthropic", Family::Anthropic)];

/// The families of budget headers that clients get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers(Vec<Family>);

impl Headers {
    /// Returns all families, as without the option.
    #[must_use]
    pub fn all() -> Self {
        Self(FAMILIES.map(|(_, family)| family).to_vec())
    }

    /// Returns whether clients get this family, where their API has it.
    #[must_use]
    pub fn include(&self, family: Family) -> bool {
        self.0.contains(&family)
    }
}

#[cfg(test)]
impl Headers {
    /// Returns these families.
    pub(crate) fn of(families: &[Family]) -> Self {
        Self(families.to_vec())
    }
}

pub(super) fn headers(node: &Node<'_>) -> Option<Headers> {
    distinct::set(kind::choice(&FAMILIES))(node).map(Headers)
}
