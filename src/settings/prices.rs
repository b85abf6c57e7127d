//! `prices`: the prices of models.
//!
//! In: a node of the configuration. Out: a row of the price list. Not here: the cost of a call
//! (`limits`).

use crate::api::Classes;
use crate::config::{Glob, Kind, Node, Section, distinct, kind, optional, required};
use crate::limits::Price;

pub(super) static PRICE: Section = Section::new(
    "prices[]",
    "Prices of the models that match a pattern, in US dollars per million tokens, as providers list them.",
    &[
        required("match", Kind::Glob, "The models; `*` stands for any text."),
        required("input", Kind::Usd, "Input without caching."),
        optional("cached_input", Kind::Usd, "as `input`", "Input read from a cache."),
        optional("cache_write", Kind::Usd, "as `input`", "Input written to a cache."),
        optional(
            "cache_write_1h",
            Kind::Usd,
            "as `cache_write`",
            "Input written to a one-hour cache (Anthropic).",
        ),
        optional("audio_input", Kind::Usd, "as `input`", "Audio input."),
        optional(
            "cached_audio_input",
            Kind::Usd,
            "the lower of `cached_input` and `audio_input`",
            "Audio input read from a cache.",
        ),
        required("output", Kind::Usd, "Output, except reasoning and audio."),
        optional("reasoning", Kind::Usd, "as `output`", "Reasoning."),
        optional("audio_output", Kind::Usd, "as `output`", "Audio output."),
        optional("characters", Kind::Usd, "0", "Characters of text for speech, per million."),
        optional(
            "audio_minute",
            Kind::Usd,
            "0",
            "Sound heard and spoken, in US dollars per minute, for models billed by its length.",
        ),
        optional("request", Kind::Usd, "0", "Each successful call, in US dollars per call."),
    ],
);

/// Reads the price list.
pub(super) fn prices(node: &Node<'_>) -> Option<Vec<(Glob, Price)>> {
    distinct::rows("match", price, |(earlier, _), (models, _)| earlier.covers(models))(node)
}

fn price(node: &Node<'_>) -> Option<(Glob, Price)> {
    let fields = node.section(&PRICE);
    let models = fields.read("match", kind::glob);
    // Dollars per million in nano-dollars: the unit of `Price`.
    let usd = |name| fields.read(name, kind::usd).map(|price| price.0);
    let (input, output) = (usd("input"), usd("output"));
    let cache_write = usd("cache_write").or(input);
    let (cached_input, audio_input) = (usd("cached_input").or(input), usd("audio_input").or(input));
    let price = Classes {
        input,
        cached_input,
        cache_write,
        cache_write_1h: usd("cache_write_1h").or(cache_write),
        audio_input,
        cached_audio_input: usd("cached_audio_input").or_else(|| cached_input.min(audio_input)),
        output,
        reasoning: usd("reasoning").or(output),
        audio_output: usd("audio_output").or(output),
        characters: usd("characters").or(Some(0)),
        // A minute has 60,000 milliseconds.
        audio_ms: Some(usd("audio_minute").unwrap_or(0).saturating_mul(100) / 6),
        requests: Some(usd("request").unwrap_or(0).saturating_mul(1_000_000)),
    };
    Some((models?, Price(price.all()?)))
}
