//! Bounds on the output of a request, and how they are lowered where they stand.
//!
//! In: the members of a request. Out: [`Edit`]s, or why there are none ([`Unbounded`]). Not here:
//! the names of each API (the `softer` of each format), and how low a bound is to be.
//!
//! A bound that is absent, `null` or nonsense is set; one that is a count is only ever lowered. All
//! else of the body stays byte for byte.

use super::number::Whole;
use super::outline::Members;
use super::raw::{entries, string};
use super::{Bounded, Edit, Unbounded};

/// An API's names of the bound on the output of each choice.
pub(super) struct Bound {
    /// Its names. Where several are there, each is a bound.
    pub(super) names: &'static [&'static str],
    /// Whether zero stands for no bound.
    pub(super) zero_is_none: bool,
}

impl Bound {
    /// A bound of which zero means zero.
    pub(super) const fn named(names: &'static [&'static str]) -> Self {
        Self { names, zero_is_none: false }
    }

    /// The edits that lower it to `each`. If there is none, it is set by the name `absent`.
    pub(super) fn lowered(&self, object: &Members<'_>, absent: &str, each: u64) -> Vec<Edit> {
        self.lowered_if_set(object, each).unwrap_or_else(|| vec![object.set(absent, &each.to_string())])
    }

    /// The edits that lower it to `each`; none if it is not set.
    pub(super) fn lowered_if_set(&self, object: &Members<'_>, each: u64) -> Option<Vec<Edit>> {
        let count = |name: &str| object.whole(name).filter(|count| *count > 0 || !self.zero_is_none);
        let counts: Vec<_> = self.names.iter().filter_map(|name| Some((*name, count(name)?))).collect();
        let higher = counts.iter().filter(|(_, count)| *count > each);
        let edits = higher.map(|(name, _)| object.set(name, &each.to_string())).collect();
        (!counts.is_empty()).then_some(edits)
    }

    /// The edits that lower it to `each` in the object that the member `config` is. If there is
    /// none, or no such object, it is set by the name `absent`, which is looked for like all others
    /// of it.
    ///
    /// # Errors
    /// [`Unbounded::Unknown`] if the member is something else than an object.
    pub(super) fn lowered_in(&self, object: &Members<'_>, config: &str, absent: &str, each: u64) -> Bounded {
        let Some(inner) = object.inside(config, self.names)? else {
            return Ok(vec![object.set(config, &format!("{{\"{absent}\":{each}}}"))]);
        };
        Ok(self.lowered(&inner, absent, each))
    }
}

/// These edits, if the API takes a bound of `each` that they set: it must be at least `least`, and
/// leave room for more than the `thinking` that is asked for.
///
/// # Errors
/// [`Unbounded`] says why not. No edits are always allowed.
pub(super) fn allowed(edits: Vec<Edit>, each: u64, least: u64, thinking: Option<u64>) -> Bounded {
    if edits.is_empty() {
        return Ok(edits);
    }
    if each < least {
        return Err(Unbounded::TooLow { least });
    }
    if thinking.is_some_and(|budget| budget >= each) {
        return Err(Unbounded::Thinking);
    }
    Ok(edits)
}

/// The tokens of thinking that an object such as Anthropic's `thinking` asks for in its member
/// `budget`; none if it leaves them to the model or has thinking switched off. Of several the most,
/// because parsers disagree on which one counts.
pub(super) fn thinking(raw: Option<&str>, budget: &str) -> Option<u64> {
    let members = entries(raw?)?;
    let is_off = |raw| string(raw).is_some_and(|kind| kind.eq_ignore_ascii_case("disabled"));
    if members.iter().any(|(name, raw)| name == "type" && is_off(raw)) {
        return None;
    }
    let budgets = members.iter().filter(|(name, _)| name == budget);
    budgets.filter_map(|(_, raw)| serde_json::from_str::<Whole>(raw).ok()?.count()).max()
}

#[cfg(test)]
#[path = "bound_tests.rs"]
mod tests;

#[cfg(test)]
pub(super) use tests::edited;
