//! A prompt, or several, as text or as token ids: the `prompt` of completions and the `input` of
//! embeddings.
//!
//! In: raw JSON. Out: pieces, and the number of prompts. Not here: content of messages (`parts`).
//!
//! Source: OpenAI's API reference, "Create completion" and "Create embeddings". Objects in the list
//! are content parts, which servers of multimodal embeddings take, or llama.cpp's prompts with
//! images or audio; its prompts may also mix texts with token ids (llama.cpp,
//! `tools/server/README.md`).

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::parts::Reading;
use crate::api::media::decoded_len;
use crate::api::raw::{Text, string};
use crate::api::{Image, Piece, Unread};

/// Reads a prompt or a list of them into `reading`, and returns their number.
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
    if is_mixed(&items) {
        return mixed(&items, reading).map(|()| 1);
    }
    for raw in &items {
        item(raw.get(), reading)?;
    }
    Ok(items.len() as u64)
}

fn item<'a>(raw: &'a str, reading: &mut Reading<'a>) -> Result<(), Unread> {
    match raw.as_bytes().first() {
        Some(b'{') => match with_media(raw) {
            Some(pieces) => reading.pieces.extend(pieces),
            None => reading.part(raw),
        },
        Some(b'[') => match serde_json::from_str(raw) {
            Ok(TokenIds(count)) => reading.pieces.push(Piece::Tokens(count)),
            Err(_) => {
                let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unread::Malformed)?;
                return if is_mixed(&items) { mixed(&items, reading) } else { Err(Unread::Malformed) };
            }
        },
        _ => reading.texts([serde_json::from_str::<Text<'_>>(raw).map_err(|_| Unread::Malformed)?]),
    }
    Ok(())
}

/// Reads a llama.cpp prompt that is an object: its text, and images or audio in base64.
fn with_media(raw: &str) -> Option<Vec<Piece<'_>>> {
    let prompt: WithMedia<'_> = serde_json::from_str(raw).ok()?;
    let Text(text) = prompt.prompt_string?;
    let media = prompt.multimodal_data.into_iter().flatten().map(|Text(data)| {
        let picture = Image::in_base64(&data, None);
        let sound = Piece::Audio { bytes: decoded_len(&data), raw: false };
        if picture.size.is_some() { Piece::Image(picture) } else { sound }
    });
    Some([Piece::Text(text)].into_iter().chain(media).collect())
}

#[derive(Deserialize)]
struct WithMedia<'a> {
    #[serde(borrow)]
    prompt_string: Option<Text<'a>>,
    #[serde(borrow)]
    multimodal_data: Option<Vec<Text<'a>>>,
}

/// Returns whether a list is one prompt of texts and token ids.
fn is_mixed(items: &[&RawValue]) -> bool {
    let begins_with = |is: fn(u8) -> bool| items.iter().any(|raw| raw.get().bytes().next().is_some_and(is));
    begins_with(|byte| byte.is_ascii_digit()) && begins_with(|byte| byte == b'"')
}

fn mixed<'a>(items: &[&'a RawValue], reading: &mut Reading<'a>) -> Result<(), Unread> {
    for raw in items.iter().map(|raw| raw.get()) {
        match string(raw) {
            Some(text) => reading.pieces.push(Piece::Text(text)),
            None => {
                serde_json::from_str::<u32>(raw).map_err(|_| Unread::Malformed)?;
                reading.pieces.push(Piece::Tokens(1));
            }
        }
    }
    Ok(())
}

/// The number of token ids in a list.
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
    fn texts_mixed_with_token_ids_are_one_prompt() {
        let mixed = vec![Piece::Tokens(1), Piece::Text("a".into()), Piece::Tokens(1)];
        assert_eq!(prompts(r#"[12, "a", 34]"#), Some((mixed, 1)));
        let nested = vec![Piece::Text("a".into()), Piece::Tokens(1), Piece::Text("b".into())];
        assert_eq!(prompts(r#"["a", [1, "b"]]"#), Some((nested, 2)));
    }

    #[test]
    fn a_prompt_with_pictures_or_sound_is_an_object() {
        let prompt = r#"{"prompt_string":"see <__media__>","multimodal_data":["AAAAAAAA"]}"#;
        let pieces = || vec![Piece::Text("see <__media__>".into()), Piece::Audio { bytes: 6, raw: false }];
        assert_eq!(prompts(prompt), Some((pieces(), 1)));
        assert_eq!(prompts(&format!("[{prompt}]")), Some((pieces(), 1)));
        assert_eq!(prompts(r#"{"prompt_string":"a"}"#), Some((vec![Piece::Text("a".into())], 1)));
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
            "[1,\"a\",null]",
            "[1,\"a\",-1]",
            "[[\"a\"]]",
            "[[1,\"a\",[2]]]",
            "[[[1]]]",
            "[null]",
            "[4294967296]",
        ] {
            assert_eq!(prompts(raw), None, "{raw}");
        }
    }
}
