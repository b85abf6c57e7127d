//! Lists of tools in requests: which tools they offer, and how tools are taken out of them.
//!
//! In: a body, and how its format writes tools and the choice among them ([`Offer`]). Out: names,
//! and edits that leave everything else byte for byte. Not here: which members those are (`offered`
//! of each format).
//!
//! Objects are read leniently, because a tool that only we cannot read would be one that nobody can
//! take away: of a member named twice each value counts, keys and names that are no text (a lone
//! surrogate) are as they are written. Time is linear in the body.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::raw::as_text;
use super::{Edit, Hide};

/// All names of a tool as a list writes it; none if it has none.
pub(super) type Naming = for<'a> fn(&'a str) -> Vec<Cow<'a, str>>;

/// How an object offers tools.
pub(super) struct Offer {
    /// The member that lists them.
    pub(super) list: &'static str,
    /// What names one of them.
    pub(super) naming: Naming,
    /// Whether an element of the list is no tool but a mark behind one.
    pub(super) is_mark: fn(&str) -> bool,
    /// The member that says which of them may or must be called.
    pub(super) choice: &'static str,
    /// Edits of a choice that no longer has all of the tools that it names.
    pub(super) rechoose: fn(&[u8], &str, Hide<'_>) -> Vec<Edit>,
    /// Members that are only allowed beside tools.
    pub(super) only_with_tools: &'static [&'static str],
}

impl Offer {
    /// What most rows have.
    pub(super) const DEFAULT: Self = Self {
        list: "tools",
        naming: |_| Vec::new(),
        is_mark: |_| false,
        choice: "tool_choice",
        rechoose: |_, _, _| Vec::new(),
        only_with_tools: &[],
    };

    /// The names of the tools that an object offers.
    pub(super) fn names<'a>(&self, object: &Elements<'a>) -> Vec<Cow<'a, str>> {
        let lists = object.items.iter().filter(|member| member.name == self.list);
        lists.flat_map(|list| elements(list.raw)).flat_map(self.naming).collect()
    }

    /// What becomes of an object of `body` without those tools.
    pub(super) fn without(&self, body: &[u8], object: &Elements<'_>, hide: Hide<'_>) -> Change {
        let lists = object.items.iter().map(|member| {
            (member.name == self.list)
                .then(|| Narrowed::read(body, member.raw, self.naming, self.is_mark, hide))
        });
        let lists: Vec<_> = lists.collect();
        let read = || lists.iter().flatten();
        if !read().any(Narrowed::is_changed) {
            return Change { gone: vec![false; lists.len()], ..Change::default() };
        }
        let is_emptied = read().all(Narrowed::is_emptied);
        let mut change = Change { is_emptied, ..Change::default() };
        for (member, list) in object.items.iter().zip(&lists) {
            let is_choice = member.name == self.choice;
            let is_gone = list.as_ref().is_some_and(Narrowed::is_emptied)
                || is_emptied && (is_choice || self.only_with_tools.contains(&&*member.name));
            change.gone.push(is_gone);
            if is_gone {
                continue;
            }
            if let Some(list) = list {
                change.edits.extend(list.edits());
            } else if is_choice {
                change.edits.extend((self.rechoose)(body, member.raw, hide));
            }
        }
        change
    }
}

/// What becomes of an object.
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
    pub(super) fn edits(self, object: &Elements<'_>) -> Vec<Edit> {
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

/// The names that a body offers in its outermost object.
pub(super) fn offered<'a>(body: &'a [u8], offers: &[Offer]) -> Vec<Cow<'a, str>> {
    let Some(object) = Elements::outermost(body) else { return Vec::new() };
    offers.iter().flat_map(|offer| offer.names(&object)).collect()
}

/// Edits that take tools out of the outermost object of a body.
pub(super) fn without(body: &[u8], offers: &[Offer], hide: Hide<'_>) -> Vec<Edit> {
    let Some(object) = Elements::outermost(body) else { return Vec::new() };
    let changes = offers.iter().map(|offer| offer.without(body, &object, hide));
    changes.reduce(Change::and).map(|change| change.edits(&object)).unwrap_or_default()
}

/// A list of which some elements are to go.
pub(super) struct Narrowed<'a> {
    elements: Elements<'a>,
    gone: Vec<bool>,
    is_emptied: bool,
    has_left: bool,
}

impl<'a> Narrowed<'a> {
    /// Reads a list that stands in `body`. A mark goes if nothing that it stands behind is left.
    pub(super) fn read(
        body: &[u8],
        raw: &'a str,
        naming: Naming,
        is_mark: fn(&str) -> bool,
        hide: Hide<'_>,
    ) -> Self {
        let elements = Elements::list(body, raw);
        let (mut any_gone, mut any_left) = (false, false);
        let mut gone = Vec::with_capacity(elements.items.len());
        for element in &elements.items {
            let is_mark = is_mark(element.raw);
            let is_hidden = naming(element.raw).iter().any(|name| hide(name));
            gone.push(is_hidden || (is_mark && any_gone && !any_left));
            any_gone |= is_hidden;
            any_left |= !is_hidden && !is_mark;
        }
        Self { elements, gone, is_emptied: any_gone && !any_left, has_left: any_left }
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
        self.elements.without(&self.gone)
    }
}

/// An object or a list, out of which elements can be taken.
pub(super) struct Elements<'a> {
    pub(super) items: Vec<Element<'a>>,
}

/// A member or an item.
pub(super) struct Element<'a> {
    /// Of a member; empty of an item.
    pub(super) name: Cow<'a, str>,
    /// Its value.
    pub(super) raw: &'a str,
    /// Where it stands in the body, with its name.
    place: Range<usize>,
}

impl<'a> Elements<'a> {
    /// The outermost object of a body; none if it is not one.
    pub(super) fn outermost(body: &'a [u8]) -> Option<Self> {
        Self::object(body, core::str::from_utf8(body).ok()?)
    }

    /// An object that stands in `body`; none if it is not one.
    pub(super) fn object(body: &[u8], raw: &'a str) -> Option<Self> {
        let Members(members) = serde_json::from_str(raw).ok()?;
        let items = members.into_iter().map(|(name, value)| Element {
            name: as_text(name),
            raw: value,
            place: place(body, name).start..place(body, value).end,
        });
        Some(Self { items: items.collect() })
    }

    /// A list that stands in `body`. What is no list is its own only item.
    pub(super) fn list(body: &[u8], raw: &'a str) -> Self {
        let items = elements(raw).into_iter();
        Self {
            items: items
                .map(|raw| Element { name: Cow::Borrowed(""), raw, place: place(body, raw) })
                .collect(),
        }
    }

    /// Its members of these names, whatever stands there.
    pub(super) fn named<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'s Element<'a>> {
        self.items.iter().filter(|member| names.contains(&&*member.name))
    }

    /// The edit that puts members, with a comma behind them, before the others of an object that is
    /// not empty.
    pub(super) fn insert(&self, members: &'static str) -> Option<Edit> {
        let start = self.items.first()?.place.start;
        Some(Edit { range: start..start, text: Cow::Borrowed(members) })
    }

    /// Edits that take elements away, each run of them with the commas that belong to it.
    pub(super) fn without(&self, gone: &[bool]) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut left_before: Option<usize> = None;
        let mut run: Option<Range<usize>> = None;
        for (element, is_gone) in self.items.iter().zip(gone) {
            if *is_gone {
                let start = run.map_or(element.place.start, |run| run.start);
                run = Some(start..element.place.end);
                continue;
            }
            if let Some(run) = run.take() {
                // With the comma before it, or at the beginning the one behind it.
                edits.push(match left_before {
                    Some(before) => before..run.end,
                    None => run.start..element.place.start,
                });
            }
            left_before = Some(element.place.end);
        }
        edits.extend(run.map(|run| left_before.unwrap_or(run.start)..run.end));
        edits.into_iter().map(|range| Edit { range, text: Cow::Borrowed("") }).collect()
    }

    /// Whether nothing but `null` is left of it without these.
    pub(super) fn is_empty_without(&self, gone: &[bool]) -> bool {
        self.items.iter().zip(gone).all(|(element, gone)| *gone || element.raw == "null")
    }
}

/// The edit that puts something in the place of a value that stands in `body`.
pub(super) fn replace(body: &[u8], raw: &str, text: &'static str) -> Edit {
    Edit { range: place(body, raw), text: Cow::Borrowed(text) }
}

/// The members of an object but those that are `null`; none if it is no object.
pub(super) fn members(raw: &str) -> Vec<(Cow<'_, str>, &str)> {
    let Ok(Members(members)) = serde_json::from_str(raw) else { return Vec::new() };
    let there = members.into_iter().filter(|(_, value)| *value != "null");
    there.map(|(name, value)| (as_text(name), value)).collect()
}

/// The values of the members of an object that have this name; none if it is no object.
pub(super) fn values<'a>(raw: &'a str, wanted: &str) -> Vec<&'a str> {
    members(raw).into_iter().filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
}

/// The names that an object has in its member `name`.
pub(super) fn name(raw: &str) -> Vec<Cow<'_, str>> {
    values(raw, "name").into_iter().map(as_text).collect()
}

/// Where in a body a piece of it stands.
fn place(body: &[u8], raw: &str) -> Range<usize> {
    let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start.saturating_add(raw.len())
}

/// The items of a list; what is no list is its own only item, `null` has none.
fn elements(raw: &str) -> Vec<&str> {
    super::raw::items(raw)
}

/// All members of an object, with names and values as they are written.
struct Members<'a>(Vec<(&'a str, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some((name, value)) = members.next_entry::<&RawValue, &RawValue>()? {
                    found.push((name.get(), value.get()));
                }
                Ok(Members(found))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
#[path = "tool_list_tests.rs"]
mod tests;
