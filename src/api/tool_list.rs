//! Lists of tools in requests: which tools they offer, and how tools are taken out of them.
//!
//! In: an outline, and how its format writes tools and the choice among them ([`Offer`]). Out:
//! names, and edits that leave everything else byte for byte. Not here: which members those are
//! (`offered` of each format).
//!
//! Objects are read leniently, because a tool that only we cannot read would be one that nobody can
//! take away: of a member named twice each value counts, keys and names that are no text (a lone
//! surrogate) are as they are written. Time is linear in the body.

use std::borrow::Cow;

use super::outline::Outline;
use super::raw::{as_text, items, values};
use super::{Edit, Hide};

/// All names of a tool as a list writes it; none if it has none.
pub(super) type Naming = for<'a> fn(&'a str) -> Vec<Cow<'a, str>>;

/// How an object offers tools.
pub(super) struct Offer {
    /// The member that lists them.
    pub(super) list: &'static str,
    /// Finds the name of one of them.
    pub(super) naming: Naming,
    /// Whether an element of the list is no tool but a mark behind one.
    pub(super) is_mark: fn(&str) -> bool,
    /// The member that says which of them may or must be called.
    pub(super) choice: &'static str,
    /// Edits of a choice that no longer has all of the tools that it names.
    pub(super) rechoose: for<'a> fn(&Outline<'a>, &'a str, Hide<'_>) -> Vec<Edit>,
    /// Members that are only allowed beside tools.
    pub(super) only_with_tools: &'static [&'static str],
}

impl Offer {
    /// The values that most rows share.
    pub(super) const DEFAULT: Self = Self {
        list: "tools",
        naming: |_| Vec::new(),
        is_mark: |_| false,
        choice: "tool_choice",
        rechoose: |_, _, _| Vec::new(),
        only_with_tools: &[],
    };

    /// The names of the tools that an object offers.
    pub(super) fn names<'a>(&self, object: &Outline<'a>) -> Vec<Cow<'a, str>> {
        let lists = object.elements().iter().filter(|member| member.is(self.list));
        lists.flat_map(|list| items(list.raw)).flat_map(self.naming).collect()
    }

    /// The change of an object that takes those tools away.
    pub(super) fn without(&self, object: &Outline<'_>, hide: Hide<'_>) -> Change {
        let lists = object.elements().iter().map(|member| {
            member.is(self.list).then(|| Narrowed::read(object, member.raw, self.naming, self.is_mark, hide))
        });
        let lists: Vec<_> = lists.collect();
        let read = || lists.iter().flatten();
        if !read().any(Narrowed::is_changed) {
            return Change { gone: vec![false; lists.len()], ..Change::default() };
        }
        let is_emptied = read().all(Narrowed::is_emptied);
        let mut change = Change { is_emptied, ..Change::default() };
        for (member, list) in object.elements().iter().zip(&lists) {
            let is_choice = member.is(self.choice);
            let needs_tools = is_choice || self.only_with_tools.iter().any(|name| member.is(name));
            let is_gone = list.as_ref().is_some_and(Narrowed::is_emptied) || is_emptied && needs_tools;
            change.gone.push(is_gone);
            if is_gone {
                continue;
            }
            if let Some(list) = list {
                change.edits.extend(list.edits());
            } else if is_choice {
                change.edits.extend((self.rechoose)(object, member.raw, hide));
            }
        }
        change
    }
}

/// How an object changes.
#[derive(Default)]
pub(super) struct Change {
    /// Edits within its members that stay.
    pub(super) edits: Vec<Edit>,
    /// Which of its members go as a whole.
    pub(super) gone: Vec<bool>,
    /// Whether no tool is left of at least one.
    pub(super) is_emptied: bool,
}

impl Change {
    /// All edits of it, where other offers of the same object change it, too.
    pub(super) fn edits(self, object: &Outline<'_>) -> Vec<Edit> {
        let mut edits = self.edits;
        edits.extend(object.without(&self.gone));
        edits
    }

    /// This one and another one of the same object.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.edits.extend(other.edits);
        for (gone, too) in self.gone.iter_mut().zip(other.gone) {
            *gone |= too;
        }
        self
    }
}

/// The names that an object offers.
pub(super) fn offered<'a>(object: &Outline<'a>, offers: &[Offer]) -> Vec<Cow<'a, str>> {
    offers.iter().flat_map(|offer| offer.names(object)).collect()
}

/// Edits that take tools out of an object.
pub(super) fn without(object: &Outline<'_>, offers: &[Offer], hide: Hide<'_>) -> Vec<Edit> {
    let changes = offers.iter().map(|offer| offer.without(object, hide));
    changes.reduce(Change::and).map(|change| change.edits(object)).unwrap_or_default()
}

/// A list of which some elements are to go.
pub(super) struct Narrowed<'a> {
    list: Outline<'a>,
    gone: Vec<bool>,
    is_emptied: bool,
    has_left: bool,
}

impl<'a> Narrowed<'a> {
    /// Reads a list that stands in the same body. A mark goes if nothing that it stands behind is
    /// left.
    pub(super) fn read(
        outline: &Outline<'a>,
        raw: &'a str,
        naming: Naming,
        is_mark: fn(&str) -> bool,
        hide: Hide<'_>,
    ) -> Self {
        let list = outline.list(raw);
        let (mut any_gone, mut any_left) = (false, false);
        let mut gone = Vec::with_capacity(list.elements().len());
        for element in list.elements() {
            let is_mark = is_mark(element.raw);
            let is_hidden = naming(element.raw).iter().any(|name| hide(name));
            gone.push(is_hidden || (is_mark && any_gone && !any_left));
            any_gone |= is_hidden;
            any_left |= !is_hidden && !is_mark;
        }
        Self { list, gone, is_emptied: any_gone && !any_left, has_left: any_left }
    }

    /// Whether something goes.
    pub(super) fn is_changed(&self) -> bool {
        self.gone.contains(&true)
    }

    /// Whether nothing is left of something.
    pub(super) const fn is_emptied(&self) -> bool {
        self.is_emptied
    }

    /// Whether something is left that is no mark.
    pub(super) const fn has_left(&self) -> bool {
        self.has_left
    }

    /// Edits that take away what goes, for a list that is not emptied.
    pub(super) fn edits(&self) -> Vec<Edit> {
        self.list.without(&self.gone)
    }
}

/// The names that an object has in its member `name`.
pub(super) fn name(raw: &str) -> Vec<Cow<'_, str>> {
    values(raw, "name").into_iter().map(as_text).collect()
}

#[cfg(test)]
#[path = "tool_list_tests.rs"]
mod tests;
