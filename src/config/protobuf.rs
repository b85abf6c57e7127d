//! Decodes a `google.protobuf.Struct`, the form in which Envoy passes a configuration written as
//! YAML.
//!
//! In: the bytes. Out: a [`Value`] tree, or [`Malformed`] with the position. Not here: the wire
//! format (`protobuf`). The messages of `google/protobuf/struct.proto` are frozen, so an unknown
//! field is an error and not skipped.

use super::tree::Value;
use crate::protobuf::{Field, Malformed, Message};

/// The deepest nesting of values: far more than a configuration needs, and far less than the stack
/// holds.
const MAX_DEPTH: u32 = 100;

/// Decodes `bytes` as a `google.protobuf.Struct`.
///
/// The map has no order on the wire, so its keys are sorted. Repeated keys are kept.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, Malformed> {
    structure(Message::new(bytes), MAX_DEPTH)
}

/// Decodes `Struct { map<string, Value> fields = 1; }`.
fn structure(mut message: Message<'_>, depth: u32) -> Result<Value, Malformed> {
    let mut entries = Vec::new();
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (1, Field::Bytes(entry)) => entries.push(map_entry(entry, depth)?),
            _ => return Err(message.malformed("a Struct has no such field")),
        }
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Value::Map(entries))
}

/// Decodes an entry of a map, which is a list of messages `{ string key = 1; Value value = 2; }`.
fn map_entry(mut message: Message<'_>, depth: u32) -> Result<(String, Value), Malformed> {
    let mut key = None;
    let mut content = None;
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (1, Field::Bytes(text)) if key.is_none() => key = Some(text.text()?.to_owned()),
            (2, Field::Bytes(inner)) if content.is_none() => content = Some(value(inner, depth)?),
            _ => return Err(message.malformed("a map entry has one key and one value")),
        }
    }
    match content {
        Some(content) => Ok((key.unwrap_or_default(), content)),
        None => Err(message.malformed("a map entry has no value")),
    }
}

/// Decodes `Value { oneof kind { null = 1; double = 2; string = 3; bool = 4; Struct = 5;
/// ListValue = 6; } }`.
fn value(mut message: Message<'_>, depth: u32) -> Result<Value, Malformed> {
    let Some(depth) = depth.checked_sub(1) else { return Err(message.malformed("nested too deeply")) };
    let value = match message.field()? {
        Some((1, Field::Varint(0))) => Value::Null,
        // Display of a double is the shortest decimal that reads back as the same double.
        Some((2, Field::Fixed64(bits))) => Value::Number(f64::from_bits(bits).to_string()),
        Some((3, Field::Bytes(text))) => Value::Text(text.text()?.to_owned()),
        Some((4, Field::Varint(flag @ 0..=1))) => Value::Bool(flag == 1),
        Some((5, Field::Bytes(inner))) => structure(inner, depth)?,
        Some((6, Field::Bytes(inner))) => list(inner, depth)?,
        Some(_) => return Err(message.malformed("a Value has no such field")),
        None => return Err(message.malformed("a Value is empty")),
    };
    match message.field()? {
        None => Ok(value),
        Some(_) => Err(message.malformed("a Value has two contents")),
    }
}

/// Decodes `ListValue { repeated Value values = 1; }`.
fn list(mut message: Message<'_>, depth: u32) -> Result<Value, Malformed> {
    let mut items = Vec::new();
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (1, Field::Bytes(item)) => items.push(value(item, depth)?),
            _ => return Err(message.malformed("a ListValue has no such field")),
        }
    }
    Ok(Value::List(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a message with one length-delimited field.
    fn wrap(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = inner.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(inner);
        bytes
    }

    /// Returns a Struct whose only field `k` holds the Value encoded in `value`.
    fn with_value(value: &[u8]) -> Vec<u8> {
        wrap(1, &[wrap(1, b"k"), wrap(2, value)].concat())
    }

    fn decoded_value(value: &[u8]) -> Result<Value, &'static str> {
        let tree = decode(&with_value(value)).map_err(|malformed| malformed.what)?;
        let Value::Map(mut entries) = tree else { panic!("a Struct is a map") };
        Ok(entries.remove(0).1)
    }

    fn double(number: f64) -> Vec<u8> {
        [&[0x11][..], &number.to_le_bytes()].concat()
    }

    #[test]
    fn doubles_become_the_shortest_decimal() {
        for (number, text) in [(0.1, "0.1"), (50_000.0, "50000"), (-1.5, "-1.5"), (1e-7, "0.0000001")] {
            assert_eq!(decoded_value(&double(number)), Ok(Value::Number(text.into())));
        }
    }

    #[test]
    fn keys_come_out_sorted() {
        let entry = |key: &[u8]| wrap(1, &[wrap(1, key), wrap(2, &double(1.0))].concat());
        let tree = decode(&[entry(b"b"), entry(b"c"), entry(b"a")].concat());
        let one = |key: &str| (key.to_owned(), Value::Number("1".to_owned()));
        assert_eq!(tree, Ok(Value::Map(vec![one("a"), one("b"), one("c")])));
    }

    #[test]
    fn every_malformed_message_is_an_error_with_its_reason() {
        for (value, reason) in [
            (&[][..], "a Value is empty"),
            (&[0x08, 0x01], "a Value has no such field"),
            (&[0x20, 0x02], "a Value has no such field"),
            (&[0x38, 0x00], "a Value has no such field"),
            (&[0x08, 0x00, 0x08, 0x00], "a Value has two contents"),
            (&[0x08], "cut short"),
            (&[0x11, 0, 0, 0], "cut short"),
            (&[0x1a, 0x05, b'a'], "cut short"),
            (&[0x1a, 0x01, 0xff], "a text is not UTF-8"),
            (&[0x0d, 0, 0, 0, 0], "a Value has no such field"),
            (&[0x0b], "an unknown wire type"),
            (
                &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                "a number of more than 64 bits",
            ),
        ] {
            assert_eq!(decoded_value(value), Err(reason), "{value:?}");
        }
        assert_eq!(decode(&wrap(1, &wrap(1, b"k"))).unwrap_err().what, "a map entry has no value");
        assert_eq!(decode(&wrap(2, b"")).unwrap_err().what, "a Struct has no such field");
    }

    #[test]
    fn an_error_names_the_byte() {
        let bytes = with_value(&[0x1a, 0x01, 0xff]);
        let at = bytes.len() - 1;
        assert_eq!(decode(&bytes), Err(Malformed { at, what: "a text is not UTF-8" }));
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: u32| (0..depth).fold(double(1.0), |inner, _| wrap(6, &wrap(1, &inner)));
        assert!(decoded_value(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(decoded_value(&nested(MAX_DEPTH)), Err("nested too deeply"));
        assert_eq!(decoded_value(&nested(20 * MAX_DEPTH)), Err("nested too deeply"));
    }
}
