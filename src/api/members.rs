//! The top-level members of a request that decide what it costs, as raw JSON with their places.
//!
//! In: a body. Out: [`Members`]. Not here: what the members mean. Reading the outermost object by
//! hand gives two things that a derived reader cannot: the place of each value, for edits, and a
//! clear answer to members named twice.

use core::fmt;
use core::ops::Range;
use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Unread;
use super::number::Whole;
use super::raw::{Text, items};

/// The raw values of the members that are there.
pub(super) struct Members<'a> {
    body: &'a [u8],
    names: &'static [&'static str],
    values: Vec<Option<&'a RawValue>>,
}

impl<'a> Members<'a> {
    /// Reads the members called `names` from the outermost object of `body`.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if the body is not one JSON object, [`Unread::Ambiguous`] if it names
    /// one of them twice.
    pub(super) fn read(body: &'a [u8], names: &'static [&'static str]) -> Result<Self, Unread> {
        let mut twice = None;
        let mut reader = serde_json::Deserializer::from_slice(body);
        let values = reader.deserialize_map(Outermost { names, twice: &mut twice });
        if let Some(member) = twice {
            return Err(Unread::Ambiguous { member });
        }
        let values = values.map_err(|_| Unread::Malformed)?;
        reader.end().map_err(|_| Unread::Malformed)?;
        Ok(Self { body, names, values })
    }

    /// A member as a value of its type; none if it is absent or `null`.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it is of another type.
    pub(super) fn typed<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, Unread> {
        self.raw(name).map(serde_json::from_str).transpose().map_err(|_| Unread::Malformed)
    }

    /// A member that is text.
    ///
    /// # Errors
    /// [`Unread::Malformed`] if it is of another type.
    pub(super) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Unread> {
        Ok(self.typed(name)?.map(|Text(text)| text))
    }

    /// The items of a member that is a list; what is no list is its own only item.
    pub(super) fn items(&self, name: &str) -> Vec<&'a str> {
        self.raw(name).map(items).unwrap_or_default()
    }

    /// A member that is a count. Nonsense counts as absent, because that is what an upstream makes
    /// of it, if it does not refuse the call.
    pub(super) fn whole(&self, name: &str) -> Option<u64> {
        serde_json::from_str::<Whole>(self.raw(name)?).ok()?.count()
    }

    /// Whether a member is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// The raw JSON of a member; none if it is absent or `null`.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.written(name).filter(|raw| *raw != "null")
    }

    /// The raw JSON of a member, `null` too.
    pub(super) fn written(&self, name: &str) -> Option<&'a str> {
        let place = self.names.iter().position(|known| *known == name)?;
        self.values.get(place).copied().flatten().map(RawValue::get)
    }

    /// Where in the body a piece of raw JSON taken from it stands.
    pub(super) fn place(&self, raw: &str) -> Range<usize> {
        let start = (raw.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize);
        start..start.saturating_add(raw.len())
    }

    /// Just behind the opening brace.
    pub(super) fn first_place(&self) -> usize {
        self.body.iter().position(|&byte| byte == b'{').map_or(0, |brace| brace.saturating_add(1))
    }

    /// Whether the object has no members at all.
    pub(super) fn is_empty(&self) -> bool {
        let inside = self.body.get(self.first_place()..).unwrap_or_default();
        inside.trim_ascii_start().first() == Some(&b'}')
    }
}

struct Outermost<'t> {
    names: &'static [&'static str],
    twice: &'t mut Option<&'static str>,
}

impl<'de> Visitor<'de> for Outermost<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.names.len()];
        while let Some(Text(name)) = members.next_key()? {
            let known = self.names.iter().position(|known| *known == name);
            let Some((name, value)) = known.and_then(|at| self.names.get(at).zip(values.get_mut(at))) else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            if value.is_some() {
                *self.twice = Some(name);
            }
            *value = Some(members.next_value()?);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["model", "stream", "n", "stream_options", "max_tokens"];

    #[test]
    fn values_are_found_with_their_places() {
        let body = br#" { "model" : "m" , "x":[1,{"stream":true}], "stream":true}"#;
        let members = Members::read(body, NAMES).unwrap();
        assert_eq!(members.raw("model"), Some("\"m\""));
        let stream = members.raw("stream").unwrap();
        assert_eq!(&body[members.place(stream)], b"true");
        assert_eq!(members.first_place(), 2);
        assert_eq!(members.raw("n"), None);
    }

    #[test]
    fn null_is_as_good_as_absent_but_has_a_place() {
        let members = Members::read(br#"{"stream_options":null}"#, NAMES).unwrap();
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
            assert_eq!(
                Members::read(body.as_bytes(), NAMES).err(),
                Some(Unread::Ambiguous { member: "model" }),
                "{body}"
            );
        }
        assert!(Members::read(br#"{"user":"a","user":"b"}"#, NAMES).is_ok());
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
            assert_eq!(Members::read(body.as_bytes(), NAMES).err(), Some(Unread::Malformed));
        }
        assert_eq!(Members::read(b"{\"model\":\"\xff\"}", NAMES).err(), Some(Unread::Malformed));
    }

    #[test]
    fn depth_that_nobody_reads_does_no_harm() {
        let body = format!("{{\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(Members::read(body.as_bytes(), NAMES).is_ok());
    }
}
