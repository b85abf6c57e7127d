//! An outline of a request's body: the members of its outermost object, each with its position.
//!
//! In: a body. Out: [`Outline`], on which all readers and editors of the request work, so that the
//! body is parsed once; it outlines nested objects and lists on demand. Not here: the meaning of
//! the members.
//!
//! Parsers disagree on which value of a duplicate member applies. Two policies handle that:
//! [`Outline::members`] is for members that decide a call's cost, and rejects duplicates as
//! ambiguous; [`Outline::named`] is for tools, and returns every value, so that no tool can hide
//! behind another.

use core::ops::Range;
use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::number::Whole;
use super::raw::{Pairs, Text, as_text, items};
use super::{Edit, Unread};

/// A JSON object or list in a body, one level deep, in source order.
pub struct Outline<'a> {
    body: &'a str,
    raw: &'a str,
    elements: Vec<Element<'a>>,
    is_object: bool,
}

/// A member of an object, or an item of a list.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    /// The raw name, with its quotes; empty for an item of a list.
    name: &'a str,
    /// The raw value.
    pub(super) raw: &'a str,
}

impl<'a> Element<'a> {
    /// Returns the name, or the raw name if it is not valid text (a lone surrogate).
    pub(super) fn name(&self) -> Cow<'a, str> {
        as_text(self.name)
    }

    /// Returns whether the member has this name, escaped or not.
    pub(super) fn is(&self, name: &str) -> bool {
        match self.name.strip_prefix('"').and_then(|written| written.strip_suffix('"')) {
            Some(written) if !written.contains('\\') => written == name,
            _ => self.name() == name,
        }
    }

    /// Returns whether the member has one of these names.
    pub(super) fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

impl<'a> Outline<'a> {
    /// Outlines a whole body. JSON other than an object has no members.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it is not JSON.
    pub fn of(body: &'a str) -> Result<Self, Unread> {
        if let Some(object) = Self::parse(body, body) {
            return Ok(object);
        }
        let value: &RawValue = serde_json::from_str(body).map_err(|_| Unread::Malformed)?;
        Ok(Self { body, raw: value.get(), elements: Vec::new(), is_object: false })
    }

    /// Returns the body that contains it.
    #[must_use]
    pub const fn body(&self) -> &'a str {
        self.body
    }

    /// Outlines an object of the same body; none if `raw` is not an object.
    pub(super) fn object(&self, raw: &'a str) -> Option<Self> {
        Self::parse(self.body, raw)
    }

    /// Outlines a list of the same body. Any other value counts as its own only item.
    pub(super) fn list(&self, raw: &'a str) -> Self {
        let elements = items(raw).into_iter().map(|raw| Element { name: "", raw }).collect();
        Self { body: self.body, raw, elements, is_object: false }
    }

    fn parse(body: &'a str, raw: &'a str) -> Option<Self> {
        let Pairs(members) = serde_json::from_str::<Pairs<&RawValue, &RawValue>>(raw).ok()?;
        let elements = members.into_iter();
        let elements = elements.map(|(name, value)| Element { name: name.get(), raw: value.get() }).collect();
        Some(Self { body, raw, elements, is_object: true })
    }

    /// Returns its members or items.
    pub(super) fn elements(&self) -> &[Element<'a>] {
        &self.elements
    }

    /// Returns every member that has one of these names.
    pub(super) fn named<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'s Element<'a>> {
        self.elements.iter().filter(|member| member.is_any(names))
    }

    /// Returns whether a member of one of these names is there and is not `null`.
    pub(super) fn has_value(&self, names: &[&str]) -> bool {
        self.elements.iter().any(|member| member.is_any(names) && member.raw != "null")
    }

    /// Returns the members called `names`, each of which may occur once.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if this is not an object, [`Unread::Ambiguous`] if one of the names
    /// occurs twice.
    pub(super) fn members(&self, names: &'static [&'static str]) -> Result<Members<'a>, Unread> {
        if !self.is_object {
            return Err(Unread::Malformed);
        }
        let mut values = vec![None; names.len()];
        for member in &self.elements {
            let known = names.iter().zip(&mut values).find(|(name, _)| member.is(name));
            let Some((name, value)) = known else { continue };
            if value.replace(member.raw).is_some() {
                return Err(Unread::Ambiguous { member: name });
            }
        }
        let is_empty = self.elements.is_empty();
        Ok(Members { body: self.body, object: self.raw, names, values, is_empty })
    }

    /// Returns the edit that replaces a value of this body.
    pub(super) fn replace(&self, raw: &str, text: &'static str) -> Edit {
        Edit { range: place(self.body, raw), text: Cow::Borrowed(text) }
    }

    /// Returns the edit that inserts members, each followed by a comma, before the others of an
    /// object; none if the object is empty.
    pub(super) fn insert(&self, members: &'static str) -> Option<Edit> {
        let start = self.place(self.elements.first()?).start;
        Some(Edit { range: start..start, text: Cow::Borrowed(members) })
    }

    /// Returns edits that remove elements, each run of them with its commas.
    pub(super) fn without(&self, gone: &[bool]) -> Vec<Edit> {
        let mut edits = Vec::new();
        let mut left_before: Option<usize> = None;
        let mut run: Option<Range<usize>> = None;
        for (element, is_gone) in self.elements.iter().zip(gone) {
            let place = self.place(element);
            if *is_gone {
                let start = run.map_or(place.start, |run| run.start);
                run = Some(start..place.end);
                continue;
            }
            if let Some(run) = run.take() {
                // Remove the comma before the run, or after it if the run is at the beginning.
                edits.push(match left_before {
                    Some(before) => before..run.end,
                    None => run.start..place.start,
                });
            }
            left_before = Some(place.end);
        }
        edits.extend(run.map(|run| left_before.unwrap_or(run.start)..run.end));
        edits.into_iter().map(|range| Edit { range, text: Cow::Borrowed("") }).collect()
    }

    /// Returns whether only `null` remains without these elements.
    pub(super) fn is_empty_without(&self, gone: &[bool]) -> bool {
        self.elements.iter().zip(gone).all(|(element, gone)| *gone || element.raw == "null")
    }

    /// Returns the position in the body of an element, its name included.
    fn place(&self, element: &Element<'_>) -> Range<usize> {
        let value = place(self.body, element.raw);
        let start = if element.name.is_empty() { value.start } else { place(self.body, element.name).start };
        start..value.end
    }
}

/// Returns the position in a body of a part of it.
fn place(body: &str, raw: &str) -> Range<usize> {
    let start = (raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start.saturating_add(raw.len())
}

/// The members of an object that were requested and are present, each once.
pub(super) struct Members<'a> {
    body: &'a str,
    object: &'a str,
    names: &'static [&'static str],
    values: Vec<Option<&'a str>>,
    is_empty: bool,
}

impl<'a> Members<'a> {
    /// Returns a member as a value of its type; none if it is absent or `null`.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it has another type.
    pub(super) fn typed<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Unread> {
        self.raw(name).map(serde_json::from_str).transpose().map_err(|_| Unread::Malformed)
    }

    /// Returns a text member.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it has another type.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Unread> {
        Ok(self.typed(name)?.map(|Text(text)| text))
    }

    /// Returns the items of a list member; any other value counts as its own only item.
    pub(super) fn items(&self, name: &str) -> Vec<&'a str> {
        self.raw(name).map(items).unwrap_or_default()
    }

    /// Returns a count member. Invalid counts as absent, because an upstream that does not refuse
    /// the call treats it as absent.
    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        serde_json::from_str::<Whole>(self.raw(name)?).ok()?.count()
    }

    /// Returns whether a member is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// Returns whether a member is present, even as `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.written(name).is_some()
    }

    /// Returns the raw JSON of a member; none if it is absent or `null`.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.written(name).filter(|raw| *raw != "null")
    }

    /// Returns the raw JSON of a member, including `null`.
    pub(super) fn written(&self, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values.get(at).copied().flatten()
    }

    /// Returns the members called `names` of another object of the same body.
    ///
    /// # Errors
    /// As [`Outline::members`].
    pub(super) fn of_object(&self, raw: &'a str, names: &'static [&'static str]) -> Result<Self, Unread> {
        Outline::parse(self.body, raw).ok_or(Unread::Malformed)?.members(names)
    }

    /// Returns the members called `names` of the object in the member `name`; none if it is absent
    /// or `null`.
    ///
    /// # Errors
    /// As [`Outline::members`].
    pub(super) fn inside(&self, name: &str, names: &'static [&'static str]) -> Result<Option<Self>, Unread> {
        self.raw(name).map(|raw| self.of_object(raw, names)).transpose()
    }

    /// Returns the position in the body of raw JSON taken from it.
    pub(super) fn place(&self, raw: &str) -> Range<usize> {
        place(self.body, raw)
    }

    /// Returns the edit that sets a member to this JSON, whether the member is present or not. It
    /// must be one of the requested names.
    pub(super) fn set(&self, name: &str, json: &str) -> Edit {
        match self.written(name) {
            Some(old) => Edit { range: self.place(old), text: json.to_owned().into() },
            None => self.insert(&format!("\"{name}\":{json}")),
        }
    }

    /// Returns the edit that inserts a member before all others.
    pub(super) fn insert(&self, member: &str) -> Edit {
        let brace = self.object.find('{').unwrap_or_default();
        let at = self.place(self.object).start.saturating_add(brace).saturating_add(1);
        let comma = if self.is_empty { "" } else { "," };
        Edit { range: at..at, text: format!("{member}{comma}").into() }
    }
}

/// Outlines a body that is JSON.
#[cfg(test)]
pub(super) fn outline<B: AsRef<[u8]> + ?Sized>(body: &B) -> Outline<'_> {
    let body = core::str::from_utf8(body.as_ref()).expect("text");
    Outline::of(body).unwrap_or_else(|unread| panic!("{unread:?}: {body:.80}"))
}

/// Reads a body, like a caller of a format's `read`.
#[cfg(test)]
pub(super) fn read_body<'a, T>(
    read: fn(&Outline<'a>) -> Result<T, Unread>,
    body: &'a [u8],
) -> Result<T, Unread> {
    read(&Outline::of(core::str::from_utf8(body).map_err(|_| Unread::Malformed)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["model", "stream", "n", "stream_options", "max_tokens"];

    fn members(body: &str) -> Result<Members<'_>, Unread> {
        Outline::of(body)?.members(NAMES)
    }

    #[test]
    fn values_are_found_with_their_places() {
        let body = r#" { "model" : "m" , "x":[1,{"stream":true}], "stream":true}"#;
        let members = members(body).unwrap();
        assert_eq!(members.raw("model"), Some("\"m\""));
        let stream = members.raw("stream").unwrap();
        assert_eq!(&body[members.place(stream)], "true");
        assert_eq!(members.set("n", "7"), Edit { range: 2..2, text: "\"n\":7,".into() });
        assert_eq!(members.raw("n"), None);
    }

    #[test]
    fn null_is_as_good_as_absent_but_has_a_place() {
        let members = members(r#"{"stream_options":null}"#).unwrap();
        assert_eq!(members.raw("stream_options"), None);
        assert_eq!(members.written("stream_options"), Some("null"));
    }

    #[test]
    fn a_deciding_member_named_twice_is_ambiguous_however_it_is_spelled() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","m\u006fdel":"b"}"#,
            r#"{"model":null,"model":"b"}"#,
        ] {
            assert_eq!(members(body).err(), Some(Unread::Ambiguous { member: "model" }), "{body}");
        }
        assert!(members(r#"{"user":"a","user":"b"}"#).is_ok());
    }

    #[test]
    fn what_is_not_one_object_is_malformed() {
        let deep = "{\"x\":".to_string() + &"[".repeat(1_000_000);
        for body in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            "{}x",
            "{\"model\":}",
            "{\"max_tokens\":NaN}",
            "\u{feff}{}",
            &deep,
        ] {
            assert_eq!(members(body).err(), Some(Unread::Malformed));
        }
    }

    #[test]
    fn a_body_that_is_json_but_no_object_has_no_members() {
        for body in ["null", "[{\"tools\":[]}]", " \"x\" ", "7"] {
            assert_eq!(outline(body).elements().len(), 0, "{body}");
        }
        assert_eq!(Outline::of("{").err(), Some(Unread::Malformed));
    }

    #[test]
    fn a_name_is_known_however_it_is_written() {
        let names: Vec<_> = [r#"{"a":1}"#, r#"{"\u0061":1}"#, r#"{"\ud800":1}"#, r#"{"":1}"#]
            .map(|body| outline(body).elements()[0].name().into_owned())
            .into();
        assert_eq!(names, ["a", "a", r#""\ud800""#, ""]);
        assert!(outline(r#"{"\u0061":1}"#).elements()[0].is("a"));
        assert!(!outline(r#"{"\ud800":1}"#).elements()[0].is("a"));
    }

    #[test]
    fn depth_that_nobody_reads_does_no_harm() {
        let body = format!("{{\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(members(&body).is_ok());
    }
}
