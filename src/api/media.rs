//! The sizes of media other than images: audio, video, documents.
//!
//! In: base64, or a request's name for a format. Out: bytes, and whether audio is uncompressed. Not
//! here: images (`image`), and the cost of that many bytes (`tokens::prompt`).

use super::Piece;

/// Returns the decoded length of base64. The short prefix of a data URL makes no difference.
pub(super) const fn decoded_len(base64: &str) -> u64 {
    (base64.len() as u64 / 4).saturating_mul(3)
}

/// Returns the number of bytes in a `data:` URL; none for any other URL.
pub(super) fn len_in_data_url(url: &str) -> Option<u64> {
    url.starts_with("data:").then(|| decoded_len(url))
}

/// Audio known only by its address: assumed to be one minute at 128 kbit/s, until usage settles it.
pub(super) const SOUND_ELSEWHERE: Piece<'static> = Piece::Audio { bytes: 960_000, raw: false };

/// Returns whether audio of this format is uncompressed, by the names of OpenAI, Amazon, and
/// subtypes of media types.
pub(super) fn is_raw_sound(form: &str) -> bool {
    matches!(form, "wav" | "x-wav" | "wave" | "pcm" | "pcm16" | "l16")
}
