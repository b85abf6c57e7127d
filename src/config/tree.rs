//! The configuration as written, before its meaning is known.
//!
//! In: the bytes that Envoy passes, in either carrier: a `google.protobuf.Struct` in binary form,
//! or JSON text. Out: a [`Value`] tree in which no map has the same key twice. Not here: the
//! options (`schema`), and YAML, which Envoy reads.

use super::error::{ConfigError, ConfigErrors, Problem};
use super::path::Path;
use super::protobuf;
use crate::protobuf::Malformed;
use core::fmt;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`; for an option the same as leaving it out.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in decimal notation. Integers up to 64 bits are exact, and fractions up to the 15
    /// significant digits of a double. A `Struct` may also hold `NaN` and `inf`.
    Number(String),
    /// A text. Envoy also turns fractions and large integers in YAML into texts.
    Text(String),
    /// Items, in order.
    List(Vec<Self>),
    /// Entries, in the order of the JSON text. A `Struct` has no order; its keys are sorted.
    Map(Vec<(String, Self)>),
}

/// Parses `bytes` in either carrier. Empty or blank input is an empty map.
pub fn parse(bytes: &[u8]) -> Result<Value, ConfigErrors> {
    carried(bytes)?.without_repetitions()
}

impl Value {
    /// Returns the tree unchanged.
    ///
    /// # Errors
    /// Lists every key that a map has more than once.
    pub fn without_repetitions(self) -> Result<Self, ConfigErrors> {
        let mut repeated = Vec::new();
        find_repeated(&self, &Path::default(), &mut repeated);
        if repeated.is_empty() { Ok(self) } else { Err(ConfigErrors::listing(repeated)) }
    }
}

/// Detects the carrier and decodes it.
///
/// A `Struct` begins with a field tag of 0x0A, which is also the newline that JSON may begin with,
/// and the length after it may be a blank or a brace. But a valid one also holds the tag 0x12, a
/// control character that no JSON text may contain. Therefore input that decodes as a `Struct` is
/// one.
fn carried(bytes: &[u8]) -> Result<Value, ConfigErrors> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Ok(Value::Map(Vec::new()));
    }
    let malformed = match protobuf::decode(bytes) {
        Ok(tree) => return Ok(tree),
        Err(malformed) => malformed,
    };
    if text.first() == Some(&b'{') {
        return serde_json::from_slice(bytes)
            .map_err(|error| ConfigErrors::unreadable(format!("is not valid JSON: {error}")));
    }
    if core::str::from_utf8(text).is_ok_and(|text| !text.contains(is_binary)) {
        return Err(ConfigErrors::unreadable(
            "is text but not a JSON object, which begins with `{` (YAML goes in a google.protobuf.Struct)",
        ));
    }
    let Malformed { at, what } = malformed;
    Err(ConfigErrors::unreadable(format!("is not a valid google.protobuf.Struct: {what} (byte {at})")))
}

/// Returns whether a character does not occur in text files.
fn is_binary(c: char) -> bool {
    c.is_control() && !c.is_ascii_whitespace()
}

fn find_repeated(value: &Value, path: &Path, errors: &mut Vec<ConfigError>) {
    match value {
        Value::List(items) => {
            for (position, item) in items.iter().enumerate() {
                find_repeated(item, &path.item(position), errors);
            }
        }
        Value::Map(entries) => {
            let mut seen = std::collections::BTreeSet::new();
            for (position, (name, entry)) in entries.iter().enumerate() {
                let path = path.entry(position, name);
                if !seen.insert(name) {
                    errors.push(path.error(Problem::Repeated));
                }
                find_repeated(entry, &path, errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// Builds a [`Value`]; serde_json limits its depth.
struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost_types::{ListValue, NullValue, Struct, value::Kind};

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
        Value::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn error(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn nothing_is_an_empty_configuration() {
        assert_eq!(parse(b""), Ok(map([])));
        assert_eq!(parse(b" \n"), Ok(map([])));
        assert_eq!(parse(b"{}"), Ok(map([])));
    }

    #[test]
    fn json_keeps_numbers_exact_and_entries_in_order() {
        let tree =
            parse(br#" {"z": 0.15, "a": 9007199254740993, "b": [1e-3, -2, 50000.0, 18446744073709551615]}"#);
        let list = ["0.001", "-2", "50000", "18446744073709551615"].map(number);
        let expected =
            map([("z", number("0.15")), ("a", number("9007199254740993")), ("b", Value::List(list.into()))]);
        assert_eq!(tree, Ok(expected));
    }

    #[test]
    fn every_repeated_key_is_named() {
        let text =
            br#"{"tiers": {"free": {"max": 1, "max": 2}}, "hold": [{"a": 1, "b": 2, "a": 3}], "tiers": {}}"#;
        let expected = "tiers.free.max: is given more than once\n\
                        hold[0].a: is given more than once\n\
                        tiers: is given more than once";
        assert_eq!(error(text), expected);
    }

    #[test]
    fn broken_input_says_what_it_was_taken_for() {
        assert_eq!(
            error(b"{\"a\": }"),
            "configuration: is not valid JSON: expected value at line 1 column 7"
        );
        assert!(error(b"identity:\n  tenant: { header: x }").contains("is text but not a JSON object"));
        assert!(error(b"[1]").contains("is text but not a JSON object"));
        assert_eq!(
            error(&[0x0a, 0x05, 0x0a, 0x01, b'k']),
            "configuration: is not a valid google.protobuf.Struct: cut short (byte 2)"
        );
    }

    #[test]
    fn nesting_in_json_is_limited() {
        let text = format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(error(text.as_bytes()).contains("recursion limit"));
    }

    #[test]
    fn a_struct_is_recognised_even_if_it_begins_like_json() {
        // An entry of 123 bytes: the length is the byte `{`, after a newline.
        let text = "x".repeat(114);
        let value = Value::Map(vec![("key".to_owned(), Value::Text(text))]);
        let mut bytes = encode(&value);
        assert_eq!(bytes.get(..2), Some(&b"\n{"[..]));
        assert_eq!(parse(&bytes), Ok(value));
        bytes.pop();
        assert!(parse(&bytes).is_err());
    }

    fn to_prost(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(NullValue::NullValue.into()),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(text) => Kind::NumberValue(text.parse().unwrap()),
            Value::Text(text) => Kind::StringValue(text.clone()),
            Value::List(items) => Kind::ListValue(ListValue { values: items.iter().map(to_prost).collect() }),
            Value::Map(_) => Kind::StructValue(to_struct(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }

    fn to_struct(value: &Value) -> Struct {
        let Value::Map(entries) = value else { panic!("not a map: {value:?}") };
        Struct { fields: entries.iter().map(|(name, value)| (name.clone(), to_prost(value))).collect() }
    }

    fn encode(value: &Value) -> Vec<u8> {
        prost::Message::encode_to_vec(&to_struct(value))
    }

    fn to_json(value: &Value) -> String {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        match value {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(text) => text.clone(),
            Value::Text(text) => quoted(text),
            Value::List(items) => {
                format!("[{}]", items.iter().map(to_json).collect::<Vec<_>>().join(","))
            }
            Value::Map(entries) => {
                let entry =
                    |(name, value): &(String, Value)| format!("{} : {}", quoted(name), to_json(value));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Generates numbers of up to 15 significant digits, which a double holds.
    fn any_number() -> impl Strategy<Value = Value> {
        let decimal =
            (any::<bool>(), 0_u64..999_999_999_999_999, 0_u32..12).prop_map(|(negative, n, places)| {
                let value = n as f64 / 10_f64.powi(places as i32);
                let value = if negative && n > 0 { -value } else { value };
                Value::Number(value.to_string())
            });
        prop_oneof![decimal, any::<i32>().prop_map(|n| Value::Number(n.to_string()))]
    }

    /// Generates maps with sorted keys, as a `Struct` has them.
    fn map_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        prop::collection::btree_map("\\PC{0,6}", value, 0..5)
            .prop_map(|entries| Value::Map(entries.into_iter().collect()))
    }

    fn any_tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any_number(),
            any::<String>().prop_map(Value::Text),
        ];
        let value = leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List), map_of(inner)]
        });
        map_of(value)
    }

    proptest! {
        #[test]
        fn both_carriers_give_the_same_tree(tree in any_tree()) {
            prop_assert_eq!(parse(to_json(&tree).as_bytes()), Ok(tree.clone()));
            prop_assert_eq!(parse(&encode(&tree)), Ok(tree));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn damaged_structs_never_panic(tree in any_tree(), at: prop::sample::Index, byte: u8) {
            let mut bytes = encode(&tree);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = parse(&bytes);
        }
    }
}
