//! Counts the tokens of a picture from its size in pixels and the model.
//!
//! In: a model's name, width and height, the level of detail asked for. Out: [`Tokens`]. `openai`
//! has OpenAI's models, `grid` the ways in which other families cut pictures, `family` the way of
//! each family. Not here: reading a picture's size from its bytes (`api::image`).

mod grid;
mod openai;

pub(super) use grid::Pictures;

use super::family::Family;
use crate::units::Tokens;

/// The assumed size of a picture whose size is not known, such as one behind a URL; the same for
/// every family.
pub const UNKNOWN_SIZE: (u32, u32) = (1024, 1024);

/// The level of detail that a request asks for. Only OpenAI's models price it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// A small copy.
    Low,
    /// As much detail as the model accepts.
    High,
    /// The provider decides. Counted as [`Self::High`], the upper bound.
    #[default]
    Auto,
}

/// Returns the tokens of one picture. Any size is valid; a side of zero pixels counts as one.
///
/// Models of unknown families count like `gpt-4o`.
#[must_use]
pub fn image_tokens(model: &str, width: u32, height: u32, detail: Detail) -> Tokens {
    picture(Family::of(model), model, width, height, detail)
}

/// Returns the tokens of one picture for a known family.
pub(super) fn picture(family: &Family, model: &str, width: u32, height: u32, detail: Detail) -> Tokens {
    let size = Size { width: width.max(1), height: height.max(1) };
    match &family.pictures {
        Pictures::OpenAi => openai::tokens(model, size, detail),
        cut => grid::tokens(cut, size),
    }
}

/// A size in pixels; both sides are at least one.
#[derive(Clone, Copy)]
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    fn longest_at_most(self, side: u32) -> Self {
        self.scaled_down(side, self.width.max(self.height))
    }

    fn shortest_at_most(self, side: u32) -> Self {
        self.scaled_down(side, self.width.min(self.height))
    }

    /// Scales the picture down in proportion, so that a length of `from` becomes `to`. Rounds to
    /// whole pixels, and never scales up.
    fn scaled_down(self, to: u32, from: u32) -> Self {
        if from <= to {
            return self;
        }
        let scale = |side: u32| {
            let exact = u64::from(side).saturating_mul(u64::from(to));
            let rounded = exact.saturating_add(u64::from(from / 2)).checked_div(u64::from(from));
            rounded.and_then(|pixels| u32::try_from(pixels).ok()).unwrap_or(to).max(1)
        };
        Self { width: scale(self.width), height: scale(self.height) }
    }

    /// Returns the number of squares of this side that cover the picture.
    fn squares(self, side: u32) -> u64 {
        let (columns, rows) = self.grid(side);
        columns.saturating_mul(rows)
    }

    /// Returns the columns and rows of squares of this side that cover the picture.
    fn grid(self, side: u32) -> (u64, u64) {
        let side = side.max(1);
        (u64::from(self.width.div_ceil(side)), u64::from(self.height.div_ceil(side)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODELS: &[&str] = &[
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1-nano",
        "gpt-5.4",
        "gpt-image-1",
        "claude-3-5-sonnet",
        "claude-opus-5",
        "gemini-2.5-pro",
        "gemini-3-pro-preview",
        "gemma-3-27b-it",
        "qwen2.5-vl-72b",
        "llama-4-scout",
        "pixtral-12b",
        "mistral-small-latest",
        "command-a-vision",
        "grok-4",
        "amazon.nova-pro-v1:0",
        "some-model",
    ];

    proptest! {
        #[test]
        fn no_size_panics_or_costs_nothing_or_without_bound(
            model in prop::sample::select(MODELS),
            width in prop_oneof![any::<u32>(), 0..5000_u32, Just(0), Just(1), Just(u32::MAX)],
            height in prop_oneof![any::<u32>(), 0..5000_u32, Just(0), Just(1), Just(u32::MAX)],
            detail in prop::sample::select(vec![Detail::Low, Detail::High, Detail::Auto]),
        ) {
            let tokens = image_tokens(model, width, height, detail).0;
            prop_assert!((1..100_000).contains(&tokens), "{}", tokens);
        }
    }
}
