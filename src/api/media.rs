//! The sizes of media that are not pictures: sound, moving pictures, documents.
//!
//! In: base64, or the word that a request has for a form. Out: bytes, and whether sound is
//! uncompressed. Not here: pictures (`image`), and what so many bytes cost (`tokens::prompt`).

use super::Piece;

/// How many bytes are behind so much base64. The few letters before it in a data URL do not matter.
pub(super) const fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64 / 4).saturating_mul(3)
}

/// How many bytes a `data:` URL holds; none of any other address.
pub(super) fn len_in_data_url(url: &str) -> Option<u64> {
    url.starts_with("data:").then(|| decoded_len(url))
}

/// Sound of which only the address is known: taken to be a minute at 128 kbit/s, and settled by
/// usage.
pub(super) const SOUND_ELSEWHERE: Piece<'static> = Piece::Audio { bytes: 960_000, raw: false };

/// Whether sound of this form is uncompressed: by OpenAI's words, Amazon's, and media types behind
/// their slash.
pub(super) fn is_raw_sound(form: &str) -> bool {
    matches!(form, "wav" | "x-wav" | "wave" | "pcm" | "pcm16" | "l16")
}
