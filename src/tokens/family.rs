//! The families of models: scales for models without a public tokenizer, and the token rules of
//! pictures, sound, video and documents.
//!
//! In: a model's name. Out: its [`Family`]: the number of its tokens per token of `o200k_base`, and
//! the cost of pictures, sound, video and documents. One row for each family. Where a provider
//! publishes no rule, the number is an assumption, and its comment says so. Usage settles all of
//! them, and scales correct themselves (`limits::remembered`). Not here: the formulas for pictures
//! (`images`), scales that an operator sets (`settings::counting`).

use super::encoding::{Encoding, base_name};
use super::images::Pictures;
use crate::config::Ratio;

/// How the models of a family turn their input into tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// Its tokens per token of `o200k_base`: observed on English text and code, rounded up. Only
    /// OpenAI publishes tokenizers.
    pub(super) scale: Ratio,
    /// How it cuts pictures.
    pub(super) pictures: Pictures,
    /// Tokens of a second of sound.
    pub(super) sound: u64,
    /// Tokens of a second of video, without its sound.
    pub(super) video: u64,
    /// Tokens of a page of a document.
    pub(super) page: u64,
}

impl Family {
    /// Returns the family of a model, by the first word of its name that belongs to one. OpenAI's
    /// is the default.
    ///
    /// Prefixes of providers and routers do not matter: `us.anthropic.claude-…`,
    /// `anthropic/claude-…`, `models/gemini-…`, `accounts/…/models/llama-…`.
    pub(super) fn of(model: &str) -> &'static Self {
        if has_public_tokenizer(model) {
            return &OPENAI;
        }
        let name: String =
            base_name(model).chars().take(LONGEST_NAME).map(|c| c.to_ascii_lowercase()).collect();
        let words =
            FAMILIES.iter().flat_map(|(words, family)| words.iter().map(move |word| (*word, *family)));
        let found = words.filter_map(|(word, family)| Some((place(&name, word)?, family)));
        found.min_by_key(|(place, _)| *place).map_or(&OPENAI, |(_, family)| family)
    }
}

/// Returns whether a model's tokens are counted exactly, because its encoding is public.
#[must_use]
pub fn has_public_tokenizer(model: &str) -> bool {
    Encoding::of_model(model).is_some()
}

/// The characters of a name that are searched.
const LONGEST_NAME: usize = 256;

/// Returns the first position at which a word begins in a name, outside a longer word.
fn place(name: &str, word: &str) -> Option<usize> {
    let before = |at: usize| at.checked_sub(1).and_then(|before| name.as_bytes().get(before));
    name.match_indices(word)
        .map(|(at, _)| at)
        .find(|at| before(*at).is_none_or(|letter| !letter.is_ascii_alphanumeric()))
}

/// The words that identify a family. At the same position the first row wins, so longer words
/// precede those they begin with.
const FAMILIES: &[(&[&str], &Family)] = &[
    (
        // Opus 4.7 and later. Older generations follow; an unknown generation counts as new.
        &[
            "claude-opus-4-7",
            "claude-opus-4-8",
            "claude-opus-4-9",
            "claude-opus-4.7",
            "claude-opus-4.8",
            "claude-opus-4.9",
            "claude-sonnet-4-7",
            "claude-sonnet-4-8",
            "claude-sonnet-4-9",
            "claude-sonnet-4.7",
            "claude-sonnet-4.8",
            "claude-sonnet-4.9",
        ],
        &CLAUDE,
    ),
    (
        &[
            "claude-opus-4",
            "claude-sonnet-4",
            "claude-haiku-4",
            "claude-4",
            "claude-3",
            "claude-2",
            "claude-v",
            "claude-instant",
        ],
        &CLAUDE_TO_4_6,
    ),
    (&["claude"], &CLAUDE),
    (&["gemini-1", "gemini-2", "gemini-pro"], &GEMINI_TO_2_5),
    (&["gemini"], &GEMINI),
    (&["gemma", "paligemma"], &GEMMA),
    (&["qwen", "qwq", "qvq"], &QWEN),
    (&["llama", "meta-llama", "llama2", "llama3", "llama4"], &LLAMA),
    (&["pixtral"], &PIXTRAL),
    (&["mistral-7b", "mistral-tiny", "mixtral", "mistral-8x"], &MISTRAL_SENTENCEPIECE),
    (&["mistral", "ministral", "magistral", "codestral", "devstral", "voxtral"], &MISTRAL),
    (&["command", "cohere", "c4ai", "aya", "embed-v", "embed-english", "embed-multilingual"], &COHERE),
    (&["deepseek"], &DEEPSEEK),
    (&["grok"], &GROK),
    (&["nova"], &NOVA),
];

const fn percent(scale: u64) -> Ratio {
    Ratio { ppm: scale.saturating_mul(10_000) }
}

/// Sound: OpenAI, "Realtime guide: managing costs", a token for 100 ms. A page: assumed, text and a
/// picture. Video: as Gemini's, because OpenAI's models do not accept it.
const OPENAI: Family =
    Family { scale: Ratio::ONE, pictures: Pictures::OpenAi, sound: 10, video: 263, page: 2_000 };

/// Scale: Anthropic, "about 30 % more tokens" than before, on top of [`CLAUDE_TO_4_6`]. Pictures:
/// Anthropic, "Vision": patches of 28 pixels, up to 2,576 pixels and 4,784 tokens. A page:
/// Anthropic, "PDF support", the highest number there.
const CLAUDE: Family = Family {
    scale: percent(155),
    pictures: Pictures::Patches { side: 28, longest_side: 2576, at_most: 4_784, row_ends: false },
    page: 3_000,
    ..OPENAI
};

/// Pictures: Anthropic, "Vision", up to 1,568 pixels and 1,568 tokens.
const CLAUDE_TO_4_6: Family = Family {
    scale: percent(120),
    pictures: Pictures::Patches { side: 28, longest_side: 1568, at_most: 1_568, row_ends: false },
    page: 3_000,
    ..OPENAI
};

/// Google, "Media resolution", at its defaults: 1,120 tokens a picture, 560 a page, 70 a frame at
/// one frame per second. Sound: "Understand and count tokens".
const GEMINI: Family =
    Family { scale: percent(110), pictures: Pictures::Flat(1_120), sound: 32, video: 70, page: 560 };

/// Google, "Understand and count tokens": 32 tokens a second of sound, 263 of video; a page is a
/// small picture.
const GEMINI_TO_2_5: Family =
    Family { scale: percent(110), pictures: Pictures::Crops, sound: 32, video: 263, page: 258 };

/// Gemini's tokenizer; pictures: Google, "Gemma 3 model card".
const GEMMA: Family = Family { pictures: Pictures::Flat(256), ..GEMINI_TO_2_5 };

/// Pictures: Qwen2.5-VL's processor; newer models have larger patches, and so fewer. Sound:
/// Qwen-Audio, 40 ms a token.
const QWEN: Family = Family {
    scale: percent(105),
    pictures: Pictures::Patches { side: 28, longest_side: u32::MAX, at_most: 16_384, row_ends: false },
    sound: 25,
    ..OPENAI
};

/// Pictures: Llama 4's processor, 144 tokens and a separator for each of up to 16 tiles.
const LLAMA: Family = Family {
    scale: percent(105),
    pictures: Pictures::Tiles { side: 336, tokens: 145, at_most: 16 },
    ..OPENAI
};

/// Mistral's tokenizer since Nemo ("tekken"). Pictures: mistral-common, four 14-pixel patches per
/// token. Sound: Voxtral, 12.5 tokens a second.
const MISTRAL: Family = Family {
    scale: percent(110),
    pictures: Pictures::Patches { side: 28, longest_side: 1540, at_most: u64::MAX, row_ends: true },
    sound: 13,
    ..OPENAI
};

/// Pictures: mistral-common, patches of 16 pixels.
const PIXTRAL: Family = Family {
    scale: percent(110),
    pictures: Pictures::Patches { side: 16, longest_side: 1024, at_most: u64::MAX, row_ends: true },
    ..OPENAI
};

/// Mistral's first tokenizer, with a vocabulary of 32,000.
const MISTRAL_SENTENCEPIECE: Family = Family { scale: percent(125), ..OPENAI };

/// Pictures: Cohere, "Image inputs".
const COHERE: Family = Family {
    scale: percent(110),
    pictures: Pictures::Tiles { side: 512, tokens: 256, at_most: 12 },
    ..OPENAI
};

const DEEPSEEK: Family = Family { scale: percent(110), ..OPENAI };

/// Scale: assumed, like most others. Pictures: xAI, "Image understanding".
const GROK: Family = Family {
    scale: percent(110),
    pictures: Pictures::Tiles { side: 448, tokens: 256, at_most: 6 },
    ..OPENAI
};

/// Scale: assumed. Pictures: chosen to cover the examples of AWS, "Image understanding", of which
/// the largest is 2,600. Video: AWS, "Video understanding", a frame a second of 288 tokens.
const NOVA: Family = Family {
    scale: percent(120),
    pictures: Pictures::Patches { side: 22, longest_side: u32::MAX, at_most: 2_600, row_ends: false },
    video: 288,
    ..OPENAI
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_behind_whatever_stands_before_their_names() {
        for (model, family) in [
            ("gpt-4o", &OPENAI),
            ("openai/gpt-oss-120b", &OPENAI),
            ("my-deployment", &OPENAI),
            ("", &OPENAI),
            ("claude-sonnet-4-5-20250929", &CLAUDE_TO_4_6),
            ("claude-opus-4@20250514", &CLAUDE_TO_4_6),
            ("us.anthropic.claude-3-5-haiku-20241022-v1:0", &CLAUDE_TO_4_6),
            ("anthropic.claude-v2:1", &CLAUDE_TO_4_6),
            ("anthropic/claude-3.5-sonnet", &CLAUDE_TO_4_6),
            ("anthropic/claude-opus-4.7", &CLAUDE),
            ("claude-opus-4-8", &CLAUDE),
            ("global.anthropic.claude-sonnet-5-v1:0", &CLAUDE),
            ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-opus-5", &CLAUDE),
            ("models/gemini-2.5-flash", &GEMINI_TO_2_5),
            ("publishers/google/models/gemini-1.5-pro-002", &GEMINI_TO_2_5),
            ("google/gemini-3-pro-preview", &GEMINI),
            ("google/gemma-3-27b-it", &GEMMA),
            ("Qwen/Qwen2.5-VL-72B-Instruct", &QWEN),
            ("meta-llama/Llama-3.3-70B-Instruct", &LLAMA),
            ("us.meta.llama4-scout-17b-instruct-v1:0", &LLAMA),
            ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", &LLAMA),
            ("accounts/fireworks/models/llama-v3p1-8b-instruct", &LLAMA),
            ("mistralai/Mistral-7B-Instruct-v0.3", &MISTRAL_SENTENCEPIECE),
            ("open-mixtral-8x22b", &MISTRAL_SENTENCEPIECE),
            ("mistral.mistral-large-2407-v1:0", &MISTRAL),
            ("codestral-latest", &MISTRAL),
            ("pixtral-12b-2409", &PIXTRAL),
            ("cohere.command-r-plus-v1:0", &COHERE),
            ("command-a-03-2025", &COHERE),
            ("embed-v4.0", &COHERE),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", &DEEPSEEK),
            ("x-ai/grok-4", &GROK),
            ("us.amazon.nova-pro-v1:0", &NOVA),
            ("supernova-2", &OPENAI),
        ] {
            assert_eq!(Family::of(model), family, "{model}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_looked_at_only_in_part() {
        let long = "x-".repeat(LONGEST_NAME) + "claude-opus-5";
        assert_eq!(Family::of(&long), &OPENAI);
        assert_eq!(Family::of(&("claude-opus-5-".to_owned() + &long)), &CLAUDE);
    }

    #[test]
    fn models_with_a_public_tokenizer_are_not_scaled() {
        for model in ["gpt-4o", "o3-mini", "gpt-5.4", "text-embedding-3-small", "gpt-oss-20b"] {
            assert!(has_public_tokenizer(model));
            assert_eq!(Family::of(model).scale, Ratio::ONE, "{model}");
        }
        assert!(!has_public_tokenizer("claude-opus-5"));
    }
}
