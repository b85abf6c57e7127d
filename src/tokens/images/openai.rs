//! Counts the tokens of pictures on OpenAI's models, and on models without a rule of their own.
//!
//! In: a model's name, a size, the level of detail asked for. Out: [`Tokens`]. Two kinds of
//! formula, by OpenAI's "Images and vision" guide: tiles of 512 pixels on a base price, and patches
//! of 32 pixels up to a budget, times the model's factor. Not here: the other families (`grid`).

use super::{Detail, Size};
use crate::tokens::encoding::base_name;
use crate::units::Tokens;

/// Returns the tokens of one picture. A model without a row counts like `gpt-4o`.
pub(super) fn tokens(model: &str, size: Size, detail: Detail) -> Tokens {
    let name = base_name(model);
    let pricing =
        PRICING.iter().find(|(prefix, _)| name.starts_with(prefix)).map_or(&GPT_4O, |(_, pricing)| pricing);
    match pricing {
        Pricing::Tiles(tiles) => tiles.tokens(size, detail),
        Pricing::Patches(patches) => patches.tokens(size, detail),
    }
}

enum Pricing {
    Tiles(Tiles),
    Patches(Patches),
}

/// A price for the small copy, and a price for each tile of the large one.
struct Tiles {
    base: u64,
    tile: u64,
    /// The length to which the shorter side is scaled down.
    shortest_side: u32,
    /// The tokens added at high detail for a square image, and for any other.
    high_fidelity: (u64, u64),
}

/// A price for each patch, up to a number of patches.
struct Patches {
    budget: u32,
    /// Hundredths of a token per patch.
    percent: u64,
    /// The length to which the longer side is scaled down first.
    longest_side: u32,
    /// The same at low detail. Models without low detail have the same number here.
    longest_side_low: u32,
}

const fn tiles(base: u64, tile: u64) -> Pricing {
    Pricing::Tiles(Tiles { base, tile, shortest_side: 768, high_fidelity: (0, 0) })
}

const fn patches(percent: u64) -> Pricing {
    Pricing::Patches(Patches { budget: 1536, percent, longest_side: u32::MAX, longest_side_low: u32::MAX })
}

/// Returns the pricing since `gpt-5.4`: more patches, a limit for the longer side, and a low
/// detail.
const fn large_patches(percent: u64) -> Pricing {
    Pricing::Patches(Patches { budget: 2500, percent, longest_side: 2048, longest_side_low: 512 })
}

const GPT_4O: Pricing = tiles(85, 170);

/// The first prefix that matches decides, so longer ones precede those they begin with.
const PRICING: &[(&str, Pricing)] = &[
    ("gpt-4o-mini", tiles(2833, 5667)),
    ("gpt-4.1-mini", patches(162)),
    ("gpt-4.1-nano", patches(246)),
    ("gpt-5-mini", patches(162)),
    ("gpt-5-nano", patches(246)),
    ("gpt-5-codex-mini", patches(120)),
    ("gpt-5.1-codex-mini", patches(120)),
    ("gpt-5.1", tiles(70, 140)),
    ("gpt-5.2", patches(120)),
    ("gpt-5.3", patches(120)),
    ("gpt-5.4-mini", patches(162)),
    ("gpt-5.4-nano", patches(246)),
    ("gpt-5.", large_patches(120)),
    ("gpt-5", tiles(70, 140)),
    ("gpt-6", large_patches(120)),
    ("o4-mini", patches(172)),
    ("codex-mini", patches(172)),
    ("o1", tiles(75, 150)),
    ("o3", tiles(75, 150)),
    ("computer-use-preview", tiles(65, 129)),
    (
        "gpt-image-1",
        Pricing::Tiles(Tiles { base: 65, tile: 129, shortest_side: 512, high_fidelity: (4096, 6144) }),
    ),
];

/// The side of the square into which a tiled image is scaled first.
const LARGEST_TILED: u32 = 2048;
const TILE: u32 = 512;
const PATCH: u32 = 32;

impl Tiles {
    fn tokens(&self, size: Size, detail: Detail) -> Tokens {
        if detail == Detail::Low {
            return Tokens(self.base);
        }
        let fitted = size.longest_at_most(LARGEST_TILED).shortest_at_most(self.shortest_side);
        let (square, oblong) = self.high_fidelity;
        let fidelity = match detail {
            Detail::High if size.width == size.height => square,
            Detail::High => oblong,
            Detail::Auto | Detail::Low => 0,
        };
        [Tokens(self.base), Tokens(self.tile).times(fitted.squares(TILE)), Tokens(fidelity)].into_iter().sum()
    }
}

impl Patches {
    fn tokens(&self, size: Size, detail: Detail) -> Tokens {
        let longest = if detail == Detail::Low { self.longest_side_low } else { self.longest_side };
        let fitted = size.longest_at_most(longest);
        let count = match fitted.squares(PATCH) {
            all if all <= u64::from(self.budget) => all,
            _ => patches_within(fitted, self.budget),
        };
        Tokens(count.saturating_mul(self.percent).div_ceil(100))
    }
}

/// Counts the patches of an image scaled down until the budget covers it, and a little further, so
/// that one of its sides is a whole number of patches.
fn patches_within(size: Size, budget: u32) -> u64 {
    let budget = f64::from(budget);
    let (width, height) =
        (f64::from(size.width) / f64::from(PATCH), f64::from(size.height) / f64::from(PATCH));
    let shrink = (budget / (width * height)).sqrt();
    let whole = |side: f64| (side * shrink).floor().max(1.0) / (side * shrink);
    let shrink = shrink * whole(width).min(whole(height));
    // A rounding error must not add a patch to a whole number of patches.
    let patches = |side: f64| (side * shrink - 1e-6).ceil().max(1.0);
    (patches(width) * patches(height)).min(budget) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::image_tokens;

    #[test]
    fn tiled_models_cost_what_the_guide_says() {
        assert_eq!(image_tokens("gpt-4o", 1024, 1024, Detail::High), Tokens(765));
        assert_eq!(image_tokens("gpt-4o", 2048, 4096, Detail::High), Tokens(1105));
        assert_eq!(image_tokens("gpt-4o", 4096, 8192, Detail::Low), Tokens(85));
        assert_eq!(image_tokens("gpt-4o-mini-2024-07-18", 1024, 1024, Detail::Auto), Tokens(2833 + 4 * 5667));
        assert_eq!(image_tokens("o1-pro", 512, 512, Detail::High), Tokens(75 + 150));
        assert_eq!(image_tokens("gpt-5-chat-latest", 1024, 1024, Detail::High), Tokens(70 + 4 * 140));
    }

    #[test]
    fn patched_models_cost_what_the_guide_says() {
        assert_eq!(image_tokens("gpt-5.2", 1024, 1024, Detail::High), Tokens(1229));
        assert_eq!(image_tokens("gpt-4.1-mini", 1024, 1024, Detail::High), Tokens(1659));
        assert_eq!(image_tokens("gpt-4.1-mini", 1800, 2400, Detail::High), Tokens(2353));
        assert_eq!(patches_within(Size { width: 1800, height: 2400 }, 1536), 1452);
    }

    #[test]
    fn a_patched_image_never_costs_more_than_the_budget() {
        assert_eq!(
            image_tokens("o4-mini", 8192, 8192, Detail::High),
            Tokens((39 * 39 * 172_u64).div_ceil(100))
        );
        assert_eq!(image_tokens("gpt-5.4", 10_000, 10_000, Detail::High), Tokens(3000));
    }

    #[test]
    fn low_detail_is_smaller_only_where_the_model_knows_it() {
        assert_eq!(image_tokens("gpt-5.4", 1024, 1024, Detail::Low), Tokens(308));
        assert_eq!(image_tokens("gpt-4.1-mini", 1024, 1024, Detail::Low), Tokens(1659));
    }

    #[test]
    fn an_input_image_of_high_fidelity_costs_more_by_its_shape() {
        assert_eq!(image_tokens("gpt-image-1", 1024, 1024, Detail::Auto), Tokens(65 + 129));
        assert_eq!(image_tokens("gpt-image-1", 1024, 1024, Detail::High), Tokens(65 + 129 + 4096));
        assert_eq!(image_tokens("gpt-image-1", 1024, 1536, Detail::High), Tokens(65 + 2 * 129 + 6144));
    }

    #[test]
    fn an_unknown_model_counts_like_gpt_4o_and_a_provider_does_not_matter() {
        assert_eq!(image_tokens("some-model", 1024, 1024, Detail::High), Tokens(765));
        assert_eq!(image_tokens("openai/o3", 512, 512, Detail::High), Tokens(225));
    }
}
