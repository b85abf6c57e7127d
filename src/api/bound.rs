//! Bounds on the output of a request, and the edits that lower them in place.
//!
//! In: the members of a request. Out: [`Edit`]s, or the reason why there are none ([`Unbounded`]).
//! Not here: the names that each API uses (the `output_bound` of each format), and the value of the
//! bound.
//!
//! An edit sets a bound that is absent, `null` or nonsense, and only ever lowers one that is a
//! count. The rest of the body stays byte for byte.

use super::number::Whole;
use super::outline::Members;
use super::raw::{entries, string};
use super::{Bounded, Edit, Unbounded};

/// The names that an API has for the bound on the output of each choice.
pub(super) struct Bound {
    /// The names. If several are present, each is a bound.
    pub(super) names: &'static [&'static str],
    /// Whether zero means no bound.
    pub(super) zero_is_none: bool,
}

impl Bound {
    /// Creates a bound for which zero means zero.
    pub(super) const fn named(names: &'static [&'static str]) -> Self {
        Self { names, zero_is_none: false }
    }

    /// Returns the edits that lower the bound to `each`. If the bound is not set, the edit sets the
    /// member `absent`.
    pub(super) fn lowered(&self, object: &Members<'_>, absent: &str, each: u64) -> Vec<Edit> {
        self.lowered_if_set(object, each).unwrap_or_else(|| vec![object.set(absent, &each.to_string())])
    }

    /// Returns the edits that lower the bound to `each`; none if it is not set.
    pub(super) fn lowered_if_set(&self, object: &Members<'_>, each: u64) -> Option<Vec<Edit>> {
        let count = |name: &str| object.whole(name).filter(|count| *count > 0 || !self.zero_is_none);
        let counts: Vec<_> = self.names.iter().filter_map(|name| Some((*name, count(name)?))).collect();
        let higher = counts.iter().filter(|(_, count)| *count > each);
        let edits = higher.map(|(name, _)| object.set(name, &each.to_string())).collect();
        (!counts.is_empty()).then_some(edits)
    }

    /// Returns the edits that lower the bound to `each` in the object in the member `config`. If
    /// the bound or the object is missing, the edit sets the member `absent`, which must be one of
    /// the bound's names.
    ///
    /// # Errors
    /// [`Unbounded::Unknown`] if the member is not an object.
    pub(super) fn lowered_in(&self, object: &Members<'_>, config: &str, absent: &str, each: u64) -> Bounded {
        let Some(inner) = object.inside(config, self.names)? else {
            return Ok(vec![object.set(config, &format!("{{\"{absent}\":{each}}}"))]);
        };
        Ok(self.lowered(&inner, absent, each))
    }
}

/// Returns these edits if the API accepts a bound of `each` that they set: it must be at least
/// `least`, and higher than the requested `thinking`.
///
/// # Errors
/// [`Unbounded`] with the reason. An empty list of edits is always allowed.
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

/// Returns the tokens of thinking that an object such as Anthropic's `thinking` requests in its
/// member `budget`; none if it leaves the number to the model or disables thinking. Of several
/// values the largest counts, because parsers disagree on which one applies.
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
