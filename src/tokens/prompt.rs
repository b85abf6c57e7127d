//! Counts the tokens of a prompt: texts by their encoding; frames, functions, pictures, sound,
//! video and documents by rule.
//!
//! In: a [`Prompt`] and its model. Out: [`Tokens`]. Not here: text to tokens (`encoding`), pictures
//! (`images`), each family's tokens per second or page (`family`).
//!
//! The rules for frames and functions are OpenAI's own, published in its cookbook ("How to count
//! tokens with tiktoken", functions `num_tokens_from_messages` and `num_tokens_for_tools`).

use super::Counter;
use super::cache::Counted;
use super::encoding::Encoding;
use super::family::Family;
use super::images::{self, Detail, UNKNOWN_SIZE};
use crate::api::{Function, Image, Piece, Prompt, Property, Quoted, Usage};
use crate::config::{Glob, Ratio};
use crate::units::Tokens;

/// The precision of prompt counts.
#[derive(Clone, Debug)]
pub struct Exactness {
    /// The bytes of a prompt's text that are tokenized. The rest is assumed to have as many tokens
    /// per byte.
    pub exact_up_to: u64,
    /// A model's tokens per token of `o200k_base`, where it differs from that of the model's
    /// family. The first matching row decides.
    pub scales: Vec<(Glob, Ratio)>,
}

/// The frame of a message: `<|start|>{role}\n…<|end|>\n`.
const PER_MESSAGE: u64 = 3;
/// A name next to the role.
const PER_NAME: u64 = 1;
/// Every answer is primed with `<|start|>assistant<|message|>`.
const ANSWER_PRIMER: u64 = 3;
/// The frame of an earlier tool call. OpenAI does not publish it; observed between 3 and 6.
const PER_TOOL_CALL: u64 = 4;

/// A function's frame in models of `o200k_base`, and in the older ones of `cl100k_base`.
const PER_FUNCTION: u64 = 7;
const PER_FUNCTION_CL100K: u64 = 10;
/// Opens a function's list of parameters.
const PER_PARAMETER_LIST: u64 = 3;
const PER_PARAMETER: u64 = 3;
/// A choice of a parameter; the first one of a list costs only its text.
const PER_CHOICE: u64 = 3;
/// Closes the list of functions.
const FUNCTIONS_END: u64 = 12;

/// 16-bit samples at 24 kHz, as in OpenAI's raw formats.
const RAW_SOUND_BYTES_PER_SECOND: u64 = 48_000;
/// 128 kbit/s, the usual rate of MP3. Assumed; usage settles it.
const COMPRESSED_SOUND_BYTES_PER_SECOND: u64 = 16_000;

/// 1 Mbit/s, a low rate for video, which overestimates the seconds. Assumed; usage settles it.
const VIDEO_BYTES_PER_SECOND: u64 = 125_000;
/// The assumed size of a video that the request only refers to: a minute.
const UNKNOWN_VIDEO_BYTES: u64 = 60 * VIDEO_BYTES_PER_SECOND;

/// The assumed size of a page, because pages can be counted only in a decoded document. A document
/// that the request only refers to counts as one page. Usage settles it.
const BYTES_PER_PAGE: u64 = 100_000;

impl Exactness {
    /// Returns a model's tokens per token of the encoding that counts it: the configured number, or
    /// that of its family.
    #[must_use]
    pub fn scale(&self, model: &str) -> Ratio {
        let configured = self.scales.iter().find(|(pattern, _)| pattern.matches(model));
        configured.map_or_else(|| Family::of(model).scale, |(_, scale)| *scale)
    }
}

/// Returns the encoding in which a model's texts are counted; `o200k_base` for unknown models.
#[must_use]
pub fn encoding(model: &str) -> Encoding {
    Encoding::of_model(model).unwrap_or(Encoding::O200k)
}

/// The tokens of a prompt by how they were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCount {
    /// Text, by its encoding and the model's scale.
    pub text: Tokens,
    /// Frames, pictures and documents, by rule.
    pub ruled: Tokens,
    /// Sound, by its length.
    pub audio: Tokens,
    /// Whether any of it was assumed rather than counted: pictures, sound, video, documents, text
    /// that is not in the request.
    pub assumed: bool,
}

impl TokenCount {
    /// Multiplies the text by `factor`.
    #[must_use]
    pub fn scaled(self, factor: Ratio) -> Self {
        Self { text: Tokens(factor.of(self.text.0)), ..self }
    }

    /// Converts the count to usage.
    #[must_use]
    pub fn usage(self) -> Usage {
        Usage { input: (self.text + self.ruled).0, audio_input: self.audio.0, ..Usage::default() }
    }
}

impl Counter {
    /// Counts the tokens of a prompt, rounded up where the count is not exact.
    pub fn prompt(&mut self, prompt: &Prompt<'_>, model: &str, exactness: &Exactness) -> TokenCount {
        let mut counting = Counting {
            counter: self,
            encoding: encoding(model),
            model,
            family: Family::of(model),
            exact_bytes: exactness.exact_up_to,
            text: Tokens::ZERO,
            audio: Tokens::ZERO,
            assumed: false,
            counted_bytes: 0,
            further_bytes: 0,
        };
        let ruled = counting.pieces(&prompt.0);
        let text = counting.text + counting.further();
        let assumed = counting.assumed || counting.further_bytes > 0;
        let audio = counting.audio;
        TokenCount { text: Tokens(exactness.scale(model).of(text.0)), ruled, audio, assumed }
    }

    /// Counts the tokens of a text that a model wrote, plus `more` bytes that are not available.
    pub fn written(&mut self, text: &str, more: u64, model: &str, exactness: &Exactness) -> Tokens {
        let tokens = self.count_text(encoding(model), text);
        Tokens(exactness.scale(model).of((tokens + Tokens(by_length(more))).0))
    }
}

/// Returns the tokens of unavailable text: four bytes each, OpenAI's rule of thumb for English.
#[must_use]
pub const fn by_length(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

struct Counting<'c> {
    counter: &'c mut Counter,
    encoding: Encoding,
    model: &'c str,
    family: &'static Family,
    /// The bytes of text that may still be tokenized.
    exact_bytes: u64,
    text: Tokens,
    audio: Tokens,
    assumed: bool,
    counted_bytes: u64,
    further_bytes: u64,
}

impl Counting<'_> {
    /// Returns the tokens of the pieces counted by rule; adds those of texts to `self`.
    fn pieces(&mut self, pieces: &[Piece<'_>]) -> Tokens {
        let mut ruled = Tokens::ZERO;
        let (mut messages, mut functions) = (false, false);
        for piece in pieces {
            ruled += Tokens(match piece {
                Piece::Message => {
                    messages = true;
                    PER_MESSAGE
                }
                Piece::Name => PER_NAME,
                Piece::ToolCall => PER_TOOL_CALL,
                Piece::Image(image) => self.picture(image),
                Piece::Audio { bytes, raw } => {
                    let rate =
                        if *raw { RAW_SOUND_BYTES_PER_SECOND } else { COMPRESSED_SOUND_BYTES_PER_SECOND };
                    self.sound(*bytes, rate);
                    0
                }
                Piece::Video { bytes } => self.video(bytes.unwrap_or(UNKNOWN_VIDEO_BYTES)),
                Piece::File { bytes } => self.document(bytes.unwrap_or(BYTES_PER_PAGE)),
                Piece::Function(function) => {
                    functions = true;
                    self.function(function)
                }
                Piece::Text(text) => {
                    self.add_text(text);
                    0
                }
                Piece::Quoted(text) => {
                    self.add_quoted(text);
                    0
                }
                Piece::Tokens(tokens) => *tokens,
                Piece::Unseen { bytes } => {
                    self.further_bytes = self.further_bytes.saturating_add(*bytes);
                    0
                }
                Piece::Unread(bytes) => {
                    self.assumed = true;
                    self.add_text(&String::from_utf8_lossy(bytes));
                    0
                }
            });
        }
        ruled
            + Tokens(if messages { ANSWER_PRIMER } else { 0 })
            + Tokens(if functions { FUNCTIONS_END } else { 0 })
    }

    fn picture(&mut self, Image { size, low_detail }: &Image) -> u64 {
        self.assumed = true;
        let detail = if *low_detail { Detail::Low } else { Detail::Auto };
        let (width, height) = size.unwrap_or(UNKNOWN_SIZE);
        images::picture(self.family, self.model, width, height, detail).0
    }

    fn sound(&mut self, bytes: u64, bytes_per_second: u64) {
        self.assumed = true;
        self.audio += Tokens(at_rate(self.family.sound, bytes, bytes_per_second));
    }

    /// Returns the tokens of a video's pictures, and adds its sound to the other sound.
    fn video(&mut self, bytes: u64) -> u64 {
        self.sound(bytes, VIDEO_BYTES_PER_SECOND);
        at_rate(self.family.video, bytes, VIDEO_BYTES_PER_SECOND)
    }

    fn document(&mut self, bytes: u64) -> u64 {
        self.assumed = true;
        bytes.div_ceil(BYTES_PER_PAGE).max(1).saturating_mul(self.family.page)
    }

    fn function(&mut self, function: &Function<'_>) -> u64 {
        let frame = if self.encoding == Encoding::O200k { PER_FUNCTION } else { PER_FUNCTION_CL100K };
        self.add_text(&format!("{}:{}", function.name, sentence(&function.description)));
        if function.properties.is_empty() {
            return frame;
        }
        let parameters =
            function.properties.iter().map(|property| Tokens(self.parameter(property))).sum::<Tokens>();
        (Tokens(frame) + Tokens(PER_PARAMETER_LIST) + parameters).0
    }

    fn parameter(&mut self, Property { name, kind, description, choices }: &Property<'_>) -> u64 {
        self.add_text(&format!("{name}:{kind}:{}", sentence(description)));
        for choice in choices {
            self.add_text(choice);
        }
        let further_choices = (choices.len() as u64).saturating_sub(1);
        further_choices.saturating_mul(PER_CHOICE).saturating_add(PER_PARAMETER)
    }

    fn add_text(&mut self, text: &str) {
        let within = usize::try_from(self.exact_bytes).unwrap_or(usize::MAX);
        let end = text.floor_char_boundary(within);
        let (exact, further) = text.split_at_checked(end).unwrap_or((text, ""));
        self.further_bytes = self.further_bytes.saturating_add(further.len() as u64);
        let tokens = self.counter.count_text(self.encoding, exact);
        self.add(Counted { tokens, bytes: exact.len() as u64 });
    }

    /// Adds a string, which is no longer decoded than written.
    fn add_quoted(&mut self, string: &Quoted<'_>) {
        if string.written().len() as u64 > self.exact_bytes {
            return self.add_text(&string.decode());
        }
        let counted = self.counter.count_quoted(self.encoding, string);
        self.add(counted);
    }

    fn add(&mut self, Counted { tokens, bytes }: Counted) {
        self.exact_bytes = self.exact_bytes.saturating_sub(bytes);
        self.counted_bytes = self.counted_bytes.saturating_add(bytes);
        self.text += tokens;
    }

    /// Returns the tokens of the text beyond the exact bytes, at the same rate per byte as within
    /// them.
    fn further(&self) -> Tokens {
        if self.counted_bytes == 0 {
            return Tokens(by_length(self.further_bytes));
        }
        let scaled = u128::from(self.text.0).saturating_mul(u128::from(self.further_bytes));
        Tokens(u64::try_from(scaled.div_ceil(u128::from(self.counted_bytes))).unwrap_or(u64::MAX))
    }
}

/// Converts bytes to tokens: `tokens_per_second` for each second of `bytes_per_second`.
fn at_rate(tokens_per_second: u64, bytes: u64, bytes_per_second: u64) -> u64 {
    bytes.saturating_mul(tokens_per_second).div_ceil(bytes_per_second.max(1))
}

/// Strips the final full stop of a description, as the cookbook does.
fn sentence(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
