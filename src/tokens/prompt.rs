//! How many tokens a prompt is: texts by their encoding, frames, functions, pictures, sound and files by rule.
//!
//! In: a [`Prompt`] and its model. Out: [`Tokens`]. Not here: text to tokens (`encoding`), pictures (`images`).
//!
//! The rules for frames and functions are OpenAI's own, published in its cookbook ("How to count tokens with
//! tiktoken", functions `num_tokens_from_messages` and `num_tokens_for_tools`).

use super::Counter;
use super::encoding::Encoding;
use super::images::{Detail, UNKNOWN_SIZE, image_tokens};
use crate::api::{Function, Image, Piece, Prompt, Property, Usage};
use crate::config::{Glob, Ratio};
use crate::units::Tokens;

/// How exactly prompts are counted.
#[derive(Clone, Debug)]
pub struct Exactness {
    /// So many bytes of a prompt's text are tokenized; the rest is taken to have as many tokens per byte.
    pub exact_up_to: u64,
    /// For models without a public tokenizer: how many of theirs are one token of `o200k_base`. The first row that
    /// matches decides.
    pub scales: Vec<(Glob, Ratio)>,
}

/// Frame of a message: `<|start|>{role}\n…<|end|>\n`.
const PER_MESSAGE: u64 = 3;
/// A name next to the role.
const PER_NAME: u64 = 1;
/// Every answer is primed with `<|start|>assistant<|message|>`.
const ANSWER_PRIMER: u64 = 3;
/// Frame of an earlier tool call; OpenAI does not publish it, observed between 3 and 6.
const PER_TOOL_CALL: u64 = 4;

/// A function's frame in `o200k_base` models, and in the older ones of `cl100k_base`.
const PER_FUNCTION: u64 = 7;
const PER_FUNCTION_CL100K: u64 = 10;
/// Opens a function's list of parameters.
const PER_PARAMETER_LIST: u64 = 3;
const PER_PARAMETER: u64 = 3;
/// A choice of a parameter; the first one of a list costs nothing more than its text.
const PER_CHOICE: u64 = 3;
/// Closes the list of functions.
const FUNCTIONS_END: u64 = 12;

/// Sound is one token per 100 ms (OpenAI, Realtime guide, "Managing costs").
const AUDIO_TOKENS_PER_SECOND: u64 = 10;
/// 16-bit samples at 24 kHz, which is what OpenAI's raw formats are.
const RAW_AUDIO_BYTES_PER_SECOND: u64 = 48_000;
/// 128 kbit/s, the usual rate of MP3; assumed, and settled by usage.
const COMPRESSED_AUDIO_BYTES_PER_SECOND: u64 = 16_000;

/// Assumed of a document whose contents are not in the request, and of each 100 kB of one that is: a page or two of
/// text and picture. Settled by usage.
const FILE_TOKENS: u64 = 2_000;
const FILE_BYTES: u64 = 100_000;

impl Exactness {
    fn scale(&self, model: &str) -> Ratio {
        self.scales.iter().find(|(pattern, _)| pattern.matches(model)).map_or(Ratio::ONE, |(_, scale)| *scale)
    }
}

/// The encoding that a model's texts are counted by; `o200k_base` for models that do not say.
#[must_use]
pub fn encoding(model: &str) -> Encoding {
    Encoding::of_model(model).unwrap_or(Encoding::O200k)
}

/// The tokens of a prompt by how they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Text, by its encoding and the model's scale.
    pub text: Tokens,
    /// Frames, pictures and documents, by rule.
    pub ruled: Tokens,
    /// Sound, by its length.
    pub audio: Tokens,
}

impl Counted {
    /// The same as usage.
    #[must_use]
    pub fn usage(self) -> Usage {
        Usage { input: (self.text + self.ruled).0, audio_input: self.audio.0, ..Usage::default() }
    }
}

impl Counter {
    /// The tokens of a prompt, rounded up where they are not exact.
    pub fn prompt(&mut self, prompt: &Prompt<'_>, model: &str, exactness: &Exactness) -> Counted {
        let mut counting = Counting {
            counter: self,
            encoding: encoding(model),
            model,
            exact_bytes: exactness.exact_up_to,
            text: Tokens::ZERO,
            audio: Tokens::ZERO,
            counted_bytes: 0,
            further_bytes: 0,
        };
        let ruled = counting.pieces(&prompt.0);
        let text = counting.text + counting.further();
        let audio = counting.audio;
        Counted { text: Tokens(exactness.scale(model).of(text.0)), ruled, audio }
    }

    /// The tokens of a text that a model wrote, of which `more` bytes are not at hand.
    pub fn written(&mut self, text: &str, more: u64, model: &str, exactness: &Exactness) -> Tokens {
        let tokens = self.count_text(encoding(model), text);
        Tokens(exactness.scale(model).of((tokens + Tokens(by_length(more))).0))
    }
}

/// Tokens of text that is not at hand: four bytes each, as OpenAI's help pages reckon for English.
#[must_use]
pub const fn by_length(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}

struct Counting<'c> {
    counter: &'c mut Counter,
    encoding: Encoding,
    model: &'c str,
    /// How many bytes of text may still be tokenized.
    exact_bytes: u64,
    text: Tokens,
    audio: Tokens,
    counted_bytes: u64,
    further_bytes: u64,
}

impl Counting<'_> {
    /// The tokens of the pieces that are counted by rule; those of texts are added up in `self`.
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
                Piece::Image(Image { size, low_detail }) => {
                    let detail = if *low_detail { Detail::Low } else { Detail::Auto };
                    let (width, height) = size.unwrap_or(UNKNOWN_SIZE);
                    image_tokens(self.model, width, height, detail).0
                }
                Piece::Audio { bytes, raw } => {
                    let rate =
                        if *raw { RAW_AUDIO_BYTES_PER_SECOND } else { COMPRESSED_AUDIO_BYTES_PER_SECOND };
                    self.audio += Tokens(bytes.saturating_mul(AUDIO_TOKENS_PER_SECOND).div_ceil(rate));
                    0
                }
                Piece::File { bytes } | Piece::Video { bytes } => {
                    bytes.map_or(1, |bytes| bytes.div_ceil(FILE_BYTES)).saturating_mul(FILE_TOKENS)
                }
                Piece::Function(function) => {
                    functions = true;
                    self.function(function)
                }
                Piece::Text(text) => {
                    self.add_text(text);
                    0
                }
                Piece::Tokens(tokens) => *tokens,
                Piece::Unseen { bytes } => {
                    self.further_bytes = self.further_bytes.saturating_add(*bytes);
                    0
                }
                Piece::Unread(bytes) => {
                    self.add_text(&String::from_utf8_lossy(bytes));
                    0
                }
            });
        }
        ruled
            + Tokens(if messages { ANSWER_PRIMER } else { 0 })
            + Tokens(if functions { FUNCTIONS_END } else { 0 })
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
        let bytes = exact.len() as u64;
        self.exact_bytes = self.exact_bytes.saturating_sub(bytes);
        self.counted_bytes = self.counted_bytes.saturating_add(bytes);
        self.further_bytes = self.further_bytes.saturating_add(further.len() as u64);
        self.text += self.counter.count_text(self.encoding, exact);
    }

    /// The tokens of the text beyond the exact bytes, at as many per byte as within them.
    fn further(&self) -> Tokens {
        if self.counted_bytes == 0 {
            return Tokens(by_length(self.further_bytes));
        }
        let scaled = u128::from(self.text.0).saturating_mul(u128::from(self.further_bytes));
        Tokens(u64::try_from(scaled.div_ceil(u128::from(self.counted_bytes))).unwrap_or(u64::MAX))
    }
}

/// A description as the cookbook counts it: without the full stop at its end.
fn sentence(text: &str) -> &str {
    text.strip_suffix('.').unwrap_or(text)
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
