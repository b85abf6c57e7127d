//! A prompt, or several, as text or as token ids: the `prompt` of completions and the `input` of embeddings.
//!
//! In: raw JSON. Out: pieces, and how many prompts they are. Not here: content of messages (`parts`).
//!
//! Source: OpenAI's API reference, "Create completion" and "Create embeddings". Objects in the list are
//! content parts, as servers of multimodal embeddings take them.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::parts::Reading;
use crate::api::raw::Text;
use crate::api::{Piece, Unread};

/// Reads a prompt or a list of them into `reading`; how many there are.
///
/// # Errors
/// [`Unread::Malformed`] if it is something else.
pub(super) fn read<'a>(raw: &'a str, reading: &mut Reading<'a>) -> Result<u64, Unread> {
    if !raw.starts_with('[') {
        return item(raw, reading).map(|()| 1);
    }
    if let Ok(TokenIds(count)) = serde_json::from_str(raw)
        && count > 0
    {
        reading.pieces.push(Piece::Tokens(count));
        return Ok(1);
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
    for raw in &items {
        item(raw.get(), reading)?;
    }
    Ok(items.len() as u64)
}

fn item<'a>(raw: &'a str, reading: &mut Reading<'a>) -> Result<(), Unread> {
    match raw.as_bytes().first() {
        Some(b'{') => reading.part(raw),
        Some(b'[') => {
            let TokenIds(count) = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
            reading.pieces.push(Piece::Tokens(count));
        }
        _ => reading.texts([serde_json::from_str::<Text<'_>>(raw).map_err(|_| Unread::Malformed)?]),
    }
    Ok(())
}

/// A list of token ids, of which only the number is kept.
struct TokenIds(u64);

impl<'de> Deserialize<'de> for TokenIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counting;

        impl<'de> Visitor<'de> for Counting {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of token ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<u64, A::Error> {
                let mut count: u64 = 0;
                while ids.next_element::<u32>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(count)
            }
        }

        deserializer.deserialize_seq(Counting).map(TokenIds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(raw: &str) -> Option<(Vec<Piece<'_>>, u64)> {
        let mut reading = Reading::default();
        let count = read(raw, &mut reading).ok()?;
        Some((reading.pieces, count))
    }

    #[test]
    fn all_four_forms_are_read() {
        let text = |text: &'static str| Piece::Text(text.into());
        assert_eq!(prompts(r#""aé""#), Some((vec![text("aé")], 1)));
        assert_eq!(prompts(r#"["a", "b"]"#), Some((vec![text("a"), text("b")], 2)));
        assert_eq!(prompts("[ 1,2,3]"), Some((vec![Piece::Tokens(3)], 1)));
        assert_eq!(prompts("[[1,2], [3]]"), Some((vec![Piece::Tokens(2), Piece::Tokens(1)], 2)));
        assert_eq!(prompts("[]"), Some((vec![], 0)));
    }

    #[test]
    fn a_picture_in_the_list_is_no_text() {
        let (pieces, _) =
            prompts(r#"["a",{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]"#)
                .unwrap();
        assert!(matches!(pieces[..], [Piece::Text(_), Piece::Image(_)]));
    }

    #[test]
    fn other_forms_are_malformed() {
        for raw in [
            "7",
            "null",
            "true",
            "[1,-2]",
            "[1.5]",
            "[1,\"a\"]",
            "[[\"a\"]]",
            "[[[1]]]",
            "[null]",
            "[4294967296]",
        ] {
            assert_eq!(prompts(raw), None, "{raw}");
        }
    }
}
