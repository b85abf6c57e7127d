//! `prices`: what models cost.
//!
//! In: a node of the configuration. Out: a row of the price list. Not here: what a call costs (`limits`).

use crate::config::{Glob, Kind, Node, Section, kind, optional, required};
use crate::limits::Price;

pub(super) static PRICE: Section = Section::new(
    "prices[]",
    "The prices of the models that a pattern matches, in US dollars per million tokens, as providers list them.",
    &[
        required("match", Kind::Glob, "The models; `*` stands for any text."),
        required("input", Kind::Usd, "Input that no cache was used for."),
        optional("cached_input", Kind::Usd, "as `input`", "Input read from a cache."),
        optional("cache_write", Kind::Usd, "as `input`", "Input written to a cache."),
        required("output", Kind::Usd, "Output that is not reasoning."),
        optional("reasoning", Kind::Usd, "as `output`", "Reasoning."),
    ],
);

pub(super) fn price(node: &Node<'_>) -> Option<(Glob, Price)> {
    let fields = node.section(&PRICE);
    let models = fields.read("match", kind::glob);
    // Dollars per million tokens in nano-dollars: the unit of `Price`.
    let usd = |name| fields.read(name, kind::usd).map(|price| price.0);
    let input = usd("input");
    let cached_input = usd("cached_input").or(input);
    let cache_write = usd("cache_write").or(input);
    let output = usd("output");
    let reasoning = usd("reasoning").or(output);
    let price = Price {
        input: input?,
        cached_input: cached_input?,
        cache_write: cache_write?,
        output: output?,
        reasoning: reasoning?,
    };
    Some((models?, price))
}
