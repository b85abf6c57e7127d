//! The encodings with public ranks, the models that use them, and counting in them.
//!
//! In: a model's name; a text. Out: its encoding, if it has a public one; the number of tokens.
//! Text that spells a special token (`<|endoftext|>`) counts as plain text, as it does in a user's
//! message. Not here: models without a public tokenizer, whose counts the caller scales.

use super::bpe::{self, Scratch};
use super::table::{self, Vocabulary};
use super::window::Window;
use super::{ascii, split};
use crate::units::Tokens;

/// A public encoding of text as tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `o200k_base`, and `o200k_harmony`, which differs only in special tokens.
    O200k,
    /// `cl100k_base`
    Cl100k,
    /// `p50k_base`, and `p50k_edit`, which differs only in special tokens.
    P50k,
    /// `r50k_base`, also called `gpt2`
    R50k,
}

impl Encoding {
    /// Returns the encoding of an OpenAI model; `None` for other models and unknown names.
    ///
    /// Ignores a provider's prefix (`openai/gpt-4o`, `openai.gpt-oss-20b-1:0`) and the parts around
    /// a fine-tuned model's base (`ft:gpt-4o:org::id`). Source: tiktoken's `model.py`.
    #[must_use]
    pub fn of_model(model: &str) -> Option<Self> {
        let name = base_name(model);
        let exact = EXACT.iter().find(|(known, _)| *known == name);
        let by_prefix = || PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
        exact.or_else(by_prefix).map(|&(_, encoding)| encoding)
    }

    /// Counts the tokens of a text.
    ///
    /// The count is exact, except for a run of more than 16 KiB without a boundary such as a space
    /// between letters. Such a run is counted in parts, and each cut adds an error of at most a few
    /// tokens.
    #[must_use]
    pub fn count(self, text: &str, scratch: &mut Scratch) -> Tokens {
        let bytes = text.as_bytes();
        match self {
            Self::O200k => count(table::O200K, bytes, ascii::o200k, split::o200k, scratch),
            Self::Cl100k => count(table::CL100K, bytes, ascii::cl100k, split::cl100k, scratch),
            Self::P50k => count(table::P50K, bytes, |_| 0, split::p50k, scratch),
            Self::R50k => count(table::R50K, bytes, |_| 0, split::p50k, scratch),
        }
    }
}

/// Counts a text piece by piece. `ascii` finds the length of the next piece in a full window, or
/// leaves it to `first`.
#[inline]
fn count(
    vocabulary: Vocabulary,
    text: &[u8],
    ascii: impl Fn(Window) -> usize,
    first: impl Fn(&[u8]) -> usize,
    scratch: &mut Scratch,
) -> Tokens {
    let (mut rest, mut tokens) = (text, 0_u64);
    while !rest.is_empty() {
        let (window, found) = match rest.first_chunk() {
            Some(chunk) => {
                let window = Window::of(*chunk);
                (window, ascii(window))
            }
            None => (Window::at(rest), 0),
        };
        let len = if found > 0 { found } else { first(rest).max(1) };
        tokens = tokens.saturating_add(bpe::count(vocabulary, rest, len, window, scratch));
        rest = rest.get(len..).unwrap_or_default();
    }
    Tokens(tokens)
}

/// Returns a model's name without its provider and the parts added by fine-tuning.
pub(super) fn base_name(model: &str) -> &str {
    let provider = model.bytes().rposition(|byte| byte == b'/');
    let name = provider.and_then(|end| model.get(end.saturating_add(1)..)).unwrap_or(model);
    let name = name.strip_prefix("openai.").unwrap_or(name);
    name.strip_prefix("ft:").map_or(name, |tuned| tuned.split(':').next().unwrap_or(tuned))
}

use Encoding::{Cl100k, O200k, P50k, R50k};

const EXACT: &[(&str, Encoding)] = &[
    ("o1", O200k),
    ("o3", O200k),
    ("o4-mini", O200k),
    ("gpt-4.1", O200k),
    ("gpt-4o", O200k),
    ("gpt-4", Cl100k),
    ("gpt-3.5", Cl100k),
    ("gpt-3.5-turbo", Cl100k),
    ("gpt-35-turbo", Cl100k),
    ("davinci-002", Cl100k),
    ("babbage-002", Cl100k),
    ("text-embedding-ada-002", Cl100k),
    ("text-embedding-3-small", Cl100k),
    ("text-embedding-3-large", Cl100k),
    ("text-davinci-003", P50k),
    ("text-davinci-002", P50k),
    ("text-davinci-001", R50k),
    ("text-curie-001", R50k),
    ("text-babbage-001", R50k),
    ("text-ada-001", R50k),
    ("davinci", R50k),
    ("curie", R50k),
    ("babbage", R50k),
    ("ada", R50k),
    ("code-davinci-002", P50k),
    ("code-davinci-001", P50k),
    ("code-cushman-002", P50k),
    ("code-cushman-001", P50k),
    ("davinci-codex", P50k),
    ("cushman-codex", P50k),
    ("text-davinci-edit-001", P50k),
    ("code-davinci-edit-001", P50k),
    ("text-similarity-davinci-001", R50k),
    ("text-similarity-curie-001", R50k),
    ("text-similarity-babbage-001", R50k),
    ("text-similarity-ada-001", R50k),
    ("text-search-davinci-doc-001", R50k),
    ("text-search-curie-doc-001", R50k),
    ("text-search-babbage-doc-001", R50k),
    ("text-search-ada-doc-001", R50k),
    ("code-search-babbage-code-001", R50k),
    ("code-search-ada-code-001", R50k),
    ("gpt2", R50k),
    ("gpt-2", R50k),
];

const PREFIXES: &[(&str, Encoding)] = &[
    ("o1-", O200k),
    ("o3-", O200k),
    ("o4-mini-", O200k),
    ("gpt-5", O200k),
    ("gpt-4.5-", O200k),
    ("gpt-4.1-", O200k),
    ("chatgpt-4o-", O200k),
    ("gpt-4o-", O200k),
    ("gpt-oss-", O200k),
    ("codex-mini", O200k),
    ("gpt-4-", Cl100k),
    ("gpt-3.5-turbo-", Cl100k),
    ("gpt-35-turbo-", Cl100k),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

    #[test]
    fn models_have_the_encoding_that_the_oracle_says() {
        let more = [
            "gpt-5.4-mini",
            "gpt-4o-2024-05-13",
            "gpt-4.1-nano",
            "gpt-4.5-preview",
            "o1-pro",
            "o3-mini",
            "o4",
            "o4-mini-2025-04-16",
            "chatgpt-4o-latest",
            "gpt-4-0314",
            "gpt-4-32k",
            "gpt-4-turbo",
            "gpt-3.5-turbo-0125",
            "gpt-35-turbo-16k",
            "gpt-oss-120b",
            "codex-mini-latest",
            "gpt-6",
            "ft:gpt-4o:org::id",
            "ft:gpt-3.5-turbo:x:2023",
            "ft:davinci-002:org",
            "claude-sonnet-4",
            "gpt-41",
            "llama-3",
            "",
            "ft:",
            "davinci-instruct-beta",
        ];
        for model in EXACT.iter().map(|&(name, _)| name).chain(more) {
            let expected = get_tokenizer(model).map(|tokenizer| match tokenizer {
                Tokenizer::O200kBase | Tokenizer::O200kHarmony => O200k,
                Tokenizer::Cl100kBase => Cl100k,
                Tokenizer::P50kBase | Tokenizer::P50kEdit => P50k,
                Tokenizer::R50kBase | Tokenizer::Gpt2 => R50k,
            });
            assert_eq!(Encoding::of_model(model), expected, "{model}");
        }
    }

    #[test]
    fn a_provider_before_the_model_does_not_matter() {
        assert_eq!(Encoding::of_model("openai/gpt-4o"), Some(O200k));
        assert_eq!(Encoding::of_model("openrouter/openai/gpt-4"), Some(Cl100k));
        assert_eq!(Encoding::of_model("azure/gpt-35-turbo"), Some(Cl100k));
        assert_eq!(Encoding::of_model("openai.gpt-oss-20b-1:0"), Some(O200k));
        assert_eq!(Encoding::of_model("anthropic/claude-sonnet-4"), None);
    }

    #[test]
    fn published_counts_come_out() {
        let mut scratch = Scratch::default();
        // OpenAI's cookbook, "How to count tokens with tiktoken".
        for (text, r50k, cl100k, o200k) in [
            ("antidisestablishmentarianism", 5, 6, 6),
            ("2 + 2 = 4", 5, 7, 7),
            ("お誕生日おめでとう", 14, 9, 8),
        ] {
            assert_eq!(R50k.count(text, &mut scratch), Tokens(r50k), "{text}");
            assert_eq!(P50k.count(text, &mut scratch), Tokens(r50k), "{text}");
            assert_eq!(Cl100k.count(text, &mut scratch), Tokens(cl100k), "{text}");
            assert_eq!(O200k.count(text, &mut scratch), Tokens(o200k), "{text}");
        }
        assert_eq!(Cl100k.count("tiktoken is great!", &mut scratch), Tokens(6));
    }

    #[test]
    fn special_tokens_in_a_text_are_plain_text() {
        let mut scratch = Scratch::default();
        assert_eq!(O200k.count("<|endoftext|>", &mut scratch), Tokens(7));
    }
}
