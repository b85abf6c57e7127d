//! How families other than OpenAI's cut pictures into tokens.
//!
//! In: a way of cutting, a size. Out: [`Tokens`], never fewer than the provider reports, and at
//! most a little more; settlement returns the excess. The rows of `family` name the sources, the
//! providers' pages on vision. Not here: which family cuts in which way (`family`), OpenAI's own
//! table (`openai`).

use super::Size;
use crate::units::Tokens;

/// How a family cuts pictures.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tokens) enum Pictures {
    /// By the table of OpenAI's models.
    OpenAi,
    /// One token for each patch.
    Patches {
        /// The side of a patch, in pixels.
        side: u32,
        /// The length to which the picture's longer side is scaled down first.
        longest_side: u32,
        /// The most tokens of a picture; a larger picture is scaled down to fit.
        at_most: u64,
        /// Whether each row of patches ends with an extra token.
        row_ends: bool,
    },
    /// A number of tokens for each tile, and for one more tile that shows the whole picture.
    Tiles {
        /// The side of a tile, in pixels.
        side: u32,
        /// Tokens of a tile.
        tokens: u64,
        /// The most tiles of a picture.
        at_most: u64,
    },
    /// Crops, sized by the picture's shorter side (Gemini before 3).
    Crops,
    /// The same number for every picture.
    Flat(u64),
}

/// The tokens of a crop, or of a picture too small to be cropped (Google, "Image understanding").
const CROP_TOKENS: u64 = 258;
const UNCROPPED: u32 = 384;
/// The bounds of a crop's side, and the length to which larger pictures are scaled down (Google
/// Cloud, "Image understanding").
const SMALLEST_CROP: u32 = 256;
const LARGEST_CROP: u32 = 768;
const LARGEST_CROPPED: u32 = 3072;

/// Returns the tokens of one picture; zero for OpenAI's models.
pub(super) fn tokens(pictures: &Pictures, size: Size) -> Tokens {
    Tokens(match *pictures {
        Pictures::OpenAi => 0,
        Pictures::Patches { side, longest_side, at_most, row_ends } => {
            let (columns, rows) = size.longest_at_most(longest_side).grid(side);
            columns.saturating_add(u64::from(row_ends)).saturating_mul(rows).min(at_most)
        }
        Pictures::Tiles { side, tokens, at_most } => {
            size.squares(side).min(at_most).saturating_add(1).saturating_mul(tokens)
        }
        Pictures::Crops => crops(size).saturating_mul(CROP_TOKENS),
        Pictures::Flat(tokens) => tokens,
    })
}

/// Returns the number of crops, whose side is two thirds of the shorter side, within bounds.
fn crops(size: Size) -> u64 {
    if size.width <= UNCROPPED && size.height <= UNCROPPED {
        return 1;
    }
    let size = size.longest_at_most(LARGEST_CROPPED);
    let two_thirds = size.width.min(size.height).saturating_mul(2) / 3;
    size.squares(two_thirds.clamp(SMALLEST_CROP, LARGEST_CROP))
}

#[cfg(test)]
mod tests {
    use crate::tokens::{Detail, image_tokens};

    #[test]
    fn every_family_counts_a_picture_by_its_own_rule() {
        // Claude: "Vision", ⌈w/28⌉ × ⌈h/28⌉, and the largest sizes that are not scaled down.
        // Gemini: "Image understanding" (960 × 540 is cut into 3 × 2 crops) and "Media resolution".
        // Nova: "Image understanding", whose examples are rough.
        for (model, width, height, expected) in [
            ("claude-3-5-haiku-latest", 200, 200, 8 * 8),
            ("claude-sonnet-4-5", 1000, 1000, 36 * 36),
            ("claude-sonnet-4-5", 1092, 1092, 39 * 39),
            ("claude-sonnet-4-5", 784, 1568, 28 * 56),
            ("claude-sonnet-4-5", 8000, 6000, 1568),
            ("claude-opus-4-7", 1920, 1080, 69 * 39),
            ("claude-opus-4-7", 8000, 6000, 4784),
            ("gemini-2.0-flash", 384, 384, 258),
            ("gemini-2.5-flash", 385, 100, 2 * 258),
            ("gemini-2.5-flash", 960, 540, 6 * 258),
            ("gemini-2.5-flash", 3840, 2160, 4 * 3 * 258),
            ("gemini-3-pro-preview", 64, 64, 1120),
            ("gemma-3-27b-it", 4000, 3000, 256),
            ("Qwen2.5-VL-72B-Instruct", 1024, 1024, 37 * 37),
            ("Llama-4-Maverick-17B", 672, 336, (2 + 1) * 145),
            ("pixtral-large-latest", 1024, 1024, 65 * 64),
            ("mistral-medium-latest", 1540, 1540, 56 * 55),
            ("command-a-vision-07-2025", 4096, 4096, 13 * 256),
            ("grok-4", 448, 448, 2 * 256),
            ("grok-4", 4480, 4480, 7 * 256),
            ("amazon.nova-lite-v1:0", 900, 450, 41 * 21),
        ] {
            let tokens = image_tokens(model, width, height, Detail::Auto).0;
            assert_eq!(tokens, expected, "{model}: {width} × {height}");
        }
    }
}
