//! Detects the Unicode encoding of a JSON body and converts the body to UTF-8.
//!
//! In: bytes. Out: UTF-8, as far as they are text. Not here: JSON. MCP requires UTF-8, but Python's
//! `json.loads` also accepts the other encodings, and official servers parse with it.
//!
//! Source: RFC 4627, section 3: JSON begins with two ASCII characters, so its zero bytes reveal the
//! encoding; or a byte order mark does. A single character is never a message, so its encoding does
//! not matter.

use std::borrow::Cow;

/// Returns the same text in UTF-8, without a byte order mark. Bytes in UTF-8 stay otherwise
/// unchanged, valid or not.
pub(super) fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => return Cow::Borrowed(text),
        [0xff, 0xfe, 0, 0, text @ ..] => utf32(text, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, text @ ..] => utf32(text, u32::from_be_bytes),
        [0xff, 0xfe, text @ ..] => utf16(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => utf16(text, u16::from_be_bytes),
        [0, 0, _, _, ..] => utf32(bytes, u32::from_be_bytes),
        [0, _, _, _, ..] => utf16(bytes, u16::from_be_bytes),
        [_, 0, 0, 0, ..] => utf32(bytes, u32::from_le_bytes),
        [_, 0, _, _, ..] => utf16(bytes, u16::from_le_bytes),
        _ => return Cow::Borrowed(bytes),
    };
    Cow::Owned(text.into_bytes())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks().0.iter().copied().map(unit);
    char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> String {
    let units = bytes.as_chunks().0.iter().copied().map(unit);
    units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the text in every encoding, with and without a byte order mark.
    fn encoded(text: &str) -> Vec<Vec<u8>> {
        let two = |unit: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(unit).collect();
        let four =
            |unit: fn(u32) -> [u8; 4], text: &str| text.chars().map(u32::from).flat_map(unit).collect();
        let marked = format!("\u{feff}{text}");
        let in_all = |text: &str| -> [Vec<u8>; 5] {
            [
                text.into(),
                two(u16::to_le_bytes, text),
                two(u16::to_be_bytes, text),
                four(u32::to_le_bytes, text),
                four(u32::to_be_bytes, text),
            ]
        };
        [in_all(text), in_all(&marked)].concat()
    }

    proptest! {
        #[test]
        fn text_that_begins_as_json_does_is_the_same_in_every_encoding(text in "[{\\[\"] ?[!-~]\\PC{0,20}") {
            for bytes in encoded(&text) {
                prop_assert_eq!(utf8(&bytes), text.as_bytes());
            }
        }

        #[test]
        fn any_bytes_become_at_most_half_again_as_many(bytes in prop::collection::vec(any::<u8>(), 0..40), zero in 0..4_usize) {
            let mut bytes = bytes;
            if let Some(byte) = bytes.get_mut(zero) {
                *byte = 0;
            }
            prop_assert!(utf8(&bytes).len() <= bytes.len() / 2 * 3 + 3);
        }
    }
}
