//! Sound: its bytes, its length and its tokens.
//!
//! In: a format of the session, bytes or words. Out: milliseconds, tokens, bytes in base64. The
//! sound itself is silence. Source of the rates: OpenAI's guide "Managing costs" of the Realtime
//! API. Not here: codecs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A format of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// 24,000 samples of 16 bits a second.
    Pcm,
    /// 8,000 samples of 8 bits a second, by either law.
    G711,
}

/// The milliseconds in which the mock speaks a word.
pub(super) const WORD_MS: usize = 100;

impl Format {
    /// Returns the format that a session's `format` names.
    pub(super) fn of(format: &Value) -> Self {
        match format["type"].as_str() {
            Some("audio/pcmu" | "audio/pcma") => Self::G711,
            _ => Self::Pcm,
        }
    }

    const fn bytes_per_ms(self) -> usize {
        match self {
            Self::Pcm => 48,
            Self::G711 => 8,
        }
    }

    /// Returns the length of sound in milliseconds.
    pub(super) const fn milliseconds(self, bytes: usize) -> usize {
        bytes / self.bytes_per_ms()
    }

    /// Returns silence of this length in base64.
    pub(super) fn silence(self, milliseconds: usize) -> String {
        STANDARD.encode(vec![0; milliseconds * self.bytes_per_ms()])
    }
}

/// Returns the number of bytes that `base64` encodes, or nothing if it is not base64.
pub(super) fn decoded(base64: &Value) -> Option<usize> {
    STANDARD.decode(base64.as_str()?).ok().map(|bytes| bytes.len())
}

/// Returns the tokens of a user's sound: one for each tenth of a second.
pub(super) const fn heard(milliseconds: usize) -> usize {
    milliseconds.div_ceil(100)
}

/// Returns the tokens of the model's sound: one for each twentieth of a second.
pub(super) const fn spoken(milliseconds: usize) -> usize {
    milliseconds.div_ceil(50)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_second_has_ten_tokens_heard_and_twenty_spoken_in_each_format() {
        for (name, bytes) in [("audio/pcm", 48_000), ("audio/pcmu", 8_000), ("audio/pcma", 8_000)] {
            let format = Format::of(&json!({ "type": name }));
            assert_eq!(format.milliseconds(bytes), 1_000, "{name}");
            assert_eq!(decoded(&format.silence(1_000).into()), Some(bytes), "{name}");
        }
        assert_eq!((heard(1_000), spoken(1_000), heard(1)), (10, 20, 1));
    }
}
