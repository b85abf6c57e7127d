//! JSON values that are taken apart one level at a time, so that a member of an odd type, an unknown one or one named twice costs
//! no more than itself, and what nobody reads is never built.
//!
//! In: raw JSON. Out: its items, members or text, raw again. Not here: what they mean, and the outermost object of a request, whose
//! members named twice matter ([`Members`](super::members::Members)).

use core::fmt;
use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Piece;
use super::members::Text;

/// The items of a list. What is no list is its own only item, as the readers of Google's and others' servers take it; `null` has none.
pub(super) fn items(raw: &str) -> Vec<&str> {
    match serde_json::from_str::<Vec<&RawValue>>(raw) {
        Ok(items) => items.into_iter().map(RawValue::get).collect(),
        Err(_) if raw == "null" => Vec::new(),
        Err(_) => vec![raw],
    }
}

/// The members of an object in the order in which they are written, those that are `null` left out; none if it is no object.
pub(super) fn entries(raw: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    serde_json::from_str(raw).ok().map(|Entries(entries)| entries)
}

/// The text of a string; none of any other value.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

/// The text of a string; any other value as it is written.
pub(super) fn as_text(raw: &str) -> Cow<'_, str> {
    string(raw).unwrap_or(Cow::Borrowed(raw))
}

/// A value as a piece of text.
pub(super) fn text(raw: &str) -> Piece<'_> {
    Piece::Text(as_text(raw))
}

/// How many bytes are behind so much base64.
pub(super) const fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64 / 4).saturating_mul(3)
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(name), value)) = members.next_entry::<_, &RawValue>()? {
                    if value.get() != "null" {
                        entries.push((name, value.get()));
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
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
