//! Lists of tools in requests: the tools that they offer, and edits that remove some.
//!
//! In: an outline, and the members in which its format lists tools and the choice among them
//! ([`Offer`]). Out: names, and edits that keep everything else byte for byte. Not here: the names
//! of those members (`offered` of each format).
//!
//! The code reads objects leniently, because it could not remove a tool that only it fails to read:
//! every value of a duplicate member counts, and keys and names that are not valid text (a lone
//! surrogate) stay raw. Time is linear in the body.

use std::borrow::Cow;

use super::outline::Outline;
use super::raw::{as_text, items, values};
use super::{Edit, Hide};

/// A function that returns all names of a tool in a list; none if the tool has no name.
pub(super) type Naming = for<'a> fn(&'a str) -> Vec<Cow<'a, str>>;

/// The way an object offers tools.
pub(super) struct Offer {
    /// The member that lists them.
    pub(super) list: &'static str,
    /// The function that finds the names of a tool.
    pub(super) naming: Naming,
    /// Returns whether an element of the list is not a tool but a marker after one.
    pub(super) is_mark: fn(&str) -> bool,
    /// The member that says which of the tools the model may or must call.
    pub(super) choice: &'static str,
    /// Returns edits of a choice that names some removed tools.
    pub(super) rechoose: for<'a> fn(&Outline<'a>, &'a str, Hide<'_>) -> Vec<Edit>,
    /// The members that are only allowed together with tools.
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

    /// Returns the names of the tools that an object offers.
    pub(super) fn names<'a>(&self, object: &Outline<'a>) -> Vec<Cow<'a, str>> {
        let lists = object.elements().iter().filter(|member| member.is(self.list));
        lists.flat_map(|list| items(list.raw)).flat_map(self.naming).collect()
    }

    /// Returns the change of an object that removes those tools.
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

/// The changes of an object.
#[derive(Default)]
pub(super) struct Change {
    /// Edits within the members that stay.
    pub(super) edits: Vec<Edit>,
    /// The members to remove, by position.
    pub(super) gone: Vec<bool>,
    /// Whether the change removes at least one tool and leaves none.
    pub(super) is_emptied: bool,
}

impl Change {
    /// Returns all its edits, if other offers of the same object change it, too.
    pub(super) fn edits(self, object: &Outline<'_>) -> Vec<Edit> {
        let mut edits = self.edits;
        edits.extend(object.without(&self.gone));
        edits
    }

    /// Combines this change with another one of the same object.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.edits.extend(other.edits);
        for (gone, too) in self.gone.iter_mut().zip(other.gone) {
            *gone |= too;
        }
        self
    }
}

/// Returns the names that an object offers.
pub(super) fn offered<'a>(object: &Outline<'a>, offers: &[Offer]) -> Vec<Cow<'a, str>> {
    offers.iter().flat_map(|offer| offer.names(object)).collect()
}

/// Returns edits that remove tools from an object.
pub(super) fn without(object: &Outline<'_>, offers: &[Offer], hide: Hide<'_>) -> Vec<Edit> {
    let changes = offers.iter().map(|offer| offer.without(object, hide));
    changes.reduce(Change::and).map(|change| change.edits(object)).unwrap_or_default()
}

/// A list with some elements to remove.
pub(super) struct Narrowed<'a> {
    list: Outline<'a>,
    gone: Vec<bool>,
    is_emptied: bool,
    has_left: bool,
}

impl<'a> Narrowed<'a> {
    /// Reads a list in the same body. A marker goes if the change removes everything that it
    /// follows.
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

    /// Returns whether there is anything to remove.
    pub(super) fn is_changed(&self) -> bool {
        self.gone.contains(&true)
    }

    /// Returns whether the change removes at least one tool and leaves none.
    pub(super) const fn is_emptied(&self) -> bool {
        self.is_emptied
    }

    /// Returns whether anything but markers remains.
    pub(super) const fn has_left(&self) -> bool {
        self.has_left
    }

    /// Returns the edits that remove the elements, for a list that does not become empty.
    pub(super) fn edits(&self) -> Vec<Edit> {
        self.list.without(&self.gone)
    }
}

/// Returns the names that an object has in its member `name`.
pub(super) fn name(raw: &str) -> Vec<Cow<'_, str>> {
    values(raw, "name").into_iter().map(as_text).collect()
}

#[cfg(test)]
#[path = "tool_list_tests.rs"]
mod tests;
