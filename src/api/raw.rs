//! JSON values parsed lazily, one level at a time, so that an unknown, duplicate or badly typed
//! member spoils only itself, and unread values are never built.
//!
//! In: raw JSON. Out: its items, members or text, raw again. Not here: their meaning, and objects
//! of a request if the positions of members or duplicates matter
//! ([`Outline`](super::outline::Outline)).

use core::fmt;
use core::marker::PhantomData;
use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Piece;

/// Returns the items of a list. Any other value counts as its own only item, as in the parsers of
/// Google's and others' servers; `null` has none.
pub(super) fn items(raw: &str) -> Vec<&str> {
    match serde_json::from_str::<Vec<&RawValue>>(raw) {
        Ok(items) => items.into_iter().map(RawValue::get).collect(),
        Err(_) if raw == "null" => Vec::new(),
        Err(_) => vec![raw],
    }
}

/// Returns the members of an object in source order, without those that are `null`; none if it is
/// not an object.
pub(super) fn entries(raw: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let Pairs(members) = serde_json::from_str::<Pairs<&RawValue, &RawValue>>(raw).ok()?;
    let members = members.into_iter().map(|(name, value)| (as_text(name.get()), value.get()));
    Some(members.filter(|(_, value)| *value != "null").collect())
}

/// Returns the values of the members of an object that have this name; none if it is not an object.
pub(super) fn values<'a>(raw: &'a str, wanted: &str) -> Vec<&'a str> {
    let members = entries(raw).unwrap_or_default().into_iter();
    members.filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
}

/// Returns the text of a string; none for any other value.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

/// Returns the text of a string, or the raw JSON of any other value.
pub(super) fn as_text(raw: &str) -> Cow<'_, str> {
    string(raw).unwrap_or(Cow::Borrowed(raw))
}

/// Returns a value as a piece of text.
pub(super) fn text(raw: &str) -> Piece<'_> {
    Piece::Text(as_text(raw))
}

/// Returns the raw JSON of a value as a piece of text.
pub(super) const fn written(raw: &str) -> Piece<'_> {
    Piece::Text(Cow::Borrowed(raw))
}

/// Text borrowed from the body unless it contains escapes; unlike a `Cow`, also in an `Option` or a
/// list.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<Text<'a>> for Piece<'a> {
    fn from(Text(text): Text<'a>) -> Self {
        Self::Text(text)
    }
}

/// All members of an object, in source order: names and values.
pub(super) struct Pairs<N, V>(pub(super) Vec<(N, V)>);

impl<N, V> Default for Pairs<N, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<N, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<N, V>(PhantomData<(N, V)>);

        impl<'de, N: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Object<N, V> {
            type Value = Pairs<N, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut found = Vec::new();
                while let Some(member) = members.next_entry()? {
                    found.push(member);
                }
                Ok(Pairs(found))
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_its_own_only_item() {
        assert_eq!(items(r#"[1, {"a":2},"x"]"#), ["1", r#"{"a":2}"#, "\"x\""]);
        assert_eq!(items(r#"{"a":2}"#), [r#"{"a":2}"#]);
        assert_eq!(items("null"), Vec::<&str>::new());
    }

    #[test]
    fn members_keep_their_order_and_their_doubles() {
        let members = entries(r#"{"b":1,"\u0061":"x","n":null,"b":[2]}"#).unwrap();
        let seen: Vec<_> = members.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(seen, [("b", "1"), ("a", "\"x\""), ("b", "[2]")]);
        assert_eq!(entries("[]"), None);
        assert_eq!(entries("{"), None);
    }

    #[test]
    fn depth_does_no_harm() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(300_000), "]".repeat(300_000));
        assert_eq!(entries(&deep).unwrap().len(), 1);
        assert_eq!(items(&deep).len(), 1);
    }
}
