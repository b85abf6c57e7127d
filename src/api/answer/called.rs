//! The tools that a model has called in an answer, each call counted once.
//!
//! In: the calls in each document of the answer ([`Called`]). Out: the number of calls of each tool
//! ([`ToolsCalled`]). Not here: the place of calls in documents (the formats), and documents too
//! long to read, whose calls are not seen (`Found::unread` counts their bytes).
//!
//! Streams name a call at its start, but some servers repeat its name in later pieces, with its id
//! or only its index among the calls of the message; some give every call the index 0 and an id of
//! its own. Therefore the id identifies a call, and the index only if there is no id.

use core::hash::{Hash, Hasher};
use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};

/// The most tools that are counted by name, more than a request may offer (OpenAI: 128). Calls of
/// further tools are counted together.
const MOST_NAMES: usize = 256;

/// The longest name, in bytes, that is counted separately; the longest that an API allows is 128.
const LONGEST_NAME: usize = 256;

/// The most calls that are remembered to detect repeats. A later call that is named twice counts
/// twice.
const MOST_REMEMBERED: usize = 4096;

/// A call of a tool in one document of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called<'a> {
    /// The tool's name; empty in documents that continue a call.
    pub name: Cow<'a, str>,
    /// The call's raw id.
    pub id: Option<Cow<'a, str>>,
    /// Its position among the calls of its choice.
    pub index: Option<u64>,
    /// The choice that contains it.
    pub choice: u64,
}

impl<'a> Called<'a> {
    /// Creates a call that an answer names only once.
    #[must_use]
    pub fn once(name: Cow<'a, str>) -> Self {
        Self { name, ..Self::default() }
    }

    /// Returns the same call with owned data.
    #[must_use]
    pub fn into_owned(self) -> Called<'static> {
        Called {
            name: Cow::Owned(self.name.into_owned()),
            id: self.id.map(|id| Cow::Owned(id.into_owned())),
            index: self.index,
            choice: self.choice,
        }
    }
}

/// The number of calls of each tool. At most 256 names of at most 256 bytes are counted separately,
/// all other calls together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolsCalled {
    named: BTreeMap<String, u64>,
    others: u64,
    /// Hashed ids and positions of calls.
    remembered: BTreeSet<u64>,
}

impl ToolsCalled {
    /// Adds a call, unless it has no name or is known already.
    pub fn add(&mut self, called: &Called<'_>) {
        if called.name.is_empty() || !self.is_new(called) {
            return;
        }
        if let Some(count) = self.named.get_mut(&*called.name) {
            *count = count.saturating_add(1);
        } else if self.named.len() < MOST_NAMES && called.name.len() <= LONGEST_NAME {
            self.named.insert(called.name.clone().into_owned(), 1);
        } else {
            self.others = self.others.saturating_add(1);
        }
    }

    /// Creates one call of a tool with an unknown name.
    #[must_use]
    pub fn unknown() -> Self {
        Self { others: 1, ..Self::default() }
    }

    /// Returns each name with the number of its calls; calls that are not counted separately have
    /// the name `""`, which no call has.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let others = (self.others > 0).then_some(("", self.others));
        self.named.iter().map(|(name, count)| (name.as_str(), *count)).chain(others)
    }

    /// Returns the number of all calls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.named.values().fold(self.others, |total, count| total.saturating_add(*count))
    }

    /// Returns whether there are no calls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others == 0
    }

    fn is_new(&mut self, called: &Called<'_>) -> bool {
        let id = called.id.as_ref().map(|id| hash(&(called.choice, "id", id)));
        let index = called.index.map(|index| hash(&(called.choice, "index", index)));
        let Some(deciding) = id.or(index) else { return true };
        let is_new = !self.remembered.contains(&deciding);
        for key in [id, index].into_iter().flatten() {
            if self.remembered.len() < MOST_REMEMBERED {
                self.remembered.insert(key);
            }
        }
        is_new
    }
}

/// Returns the calls of tools in an answer of these documents.
#[cfg(test)]
pub(in crate::api) fn in_documents(format: &crate::api::Format, documents: &[&str]) -> Vec<(String, u64)> {
    let mut tools = ToolsCalled::default();
    for document in documents {
        (format.answer)(document.as_bytes()).tools.iter().for_each(|called| tools.add(called));
    }
    tools.iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted<'a>(calls: impl IntoIterator<Item = Called<'a>>) -> ToolsCalled {
        let mut tools = ToolsCalled::default();
        calls.into_iter().for_each(|called| tools.add(&called));
        tools
    }

    fn called<'a>(name: &'a str, id: Option<&'static str>, index: Option<u64>, choice: u64) -> Called<'a> {
        Called { name: name.into(), id: id.map(Cow::Borrowed), index, choice }
    }

    #[test]
    fn calls_are_counted_by_name() {
        let tools = counted(["mail", "pay", "mail", ""].map(|name| Called::once(name.into())));
        assert_eq!(tools.iter().collect::<Vec<_>>(), [("mail", 2), ("pay", 1)]);
        assert_eq!((tools.total(), tools.is_empty()), (3, false));
        assert!(ToolsCalled::default().is_empty());
    }

    #[test]
    fn a_call_named_again_counts_once() {
        let again = [
            called("mail", Some("a"), Some(0), 0),
            called("mail", Some("a"), Some(0), 0),
            called("mail", None, Some(0), 0),
            called("", None, Some(0), 0),
        ];
        assert_eq!(counted(again).total(), 1);
    }

    #[test]
    fn another_id_or_index_or_choice_is_another_call() {
        let calls = [
            called("mail", Some("a"), Some(0), 0),
            called("mail", Some("b"), Some(0), 0),
            called("mail", None, Some(1), 0),
            called("mail", None, Some(1), 1),
            called("mail", Some("a"), None, 1),
        ];
        assert_eq!(counted(calls).total(), 5);
    }

    #[test]
    fn what_does_not_fit_is_counted_without_its_name() {
        let long = "x".repeat(LONGEST_NAME + 1);
        let names: Vec<_> = (0..MOST_NAMES + 10).map(|number| number.to_string()).collect();
        let tools = counted(names.iter().chain([&long, &names[0]]).map(|name| Called::once(name.into())));
        assert_eq!(tools.iter().count(), MOST_NAMES + 1);
        assert_eq!(tools.iter().last(), Some(("", 11)));
        assert_eq!(counted([Called::once(long.as_str().into())]).iter().collect::<Vec<_>>(), [("", 1)]);
        assert_eq!(tools.total(), MOST_NAMES as u64 + 12);
    }

    #[test]
    fn calls_beyond_those_remembered_are_counted() {
        let many = || (0..3 * MOST_REMEMBERED as u64).map(|index| called("f", None, Some(index), 0));
        let tools = counted(many());
        assert_eq!(tools.total(), 3 * MOST_REMEMBERED as u64);
        assert_eq!(tools.remembered.len(), MOST_REMEMBERED);
    }
}
