//! `counting`: how tokens are counted, weighted and reserved.
//!
//! In: nodes of the configuration. Out: [`Counting`]. Not here: the counting itself (`tokens`,
//! `limits`).

use crate::api::Classes;
use crate::config::{Glob, Kind, Node, Ratio, Section, distinct, kind, optional, required, with_default};
use crate::limits::{Calibration, OutputReserve, Weights};
use crate::tokens::Exactness;
use crate::units::Tokens;

/// The configuration of token counts.
#[derive(Clone, Debug)]
pub struct Counting {
    /// How text becomes tokens.
    pub exactness: Exactness,
    /// Whether usage corrects the counts of models without a public tokenizer.
    pub calibration: Calibration,
    /// The largest body that is held, in bytes.
    pub hold_up_to: u64,
    /// The most bytes of a compressed body that are decoded.
    pub decode_up_to: u64,
    /// The weights of token classes in `tokens`.
    pub weights: Weights,
    /// The tokens that one token of these models counts as; the first match wins.
    multipliers: Vec<(Glob, Ratio)>,
    /// The output reserved for calls that set no bound.
    pub output_reserve: OutputReserve,
    /// The charge for calls that are cut short.
    pub on_abort: OnAbort,
}

impl Counting {
    /// Returns the tokens that one token of a model counts as.
    pub(super) fn multiplier(&self, model: &str) -> Ratio {
        let row = self.multipliers.iter().find(|(models, _)| models.matches(model));
        row.map_or(Ratio::ONE, |(_, multiplier)| *multiplier)
    }
}

/// The charge for a call that its client or its upstream cuts short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// Its input, and the output that was streamed.
    ChargeStreamed,
    /// Everything that was reserved for it.
    ChargeReserved,
    /// Only its request.
    Free,
}

const ON_ABORT: [(&str, OnAbort); 3] = [
    ("charge_streamed", OnAbort::ChargeStreamed),
    ("charge_reserved", OnAbort::ChargeReserved),
    ("free", OnAbort::Free),
];

pub(super) static COUNTING: Section = Section::new(
    "counting",
    "Token counting before a call, and what a call reserves and pays.",
    &[
        with_default(
            "exact_up_to",
            Kind::Size,
            "1MiB",
            "How much text of a request Tollgate tokenizes; it assumes the same number of tokens per byte \
            for the rest. A worker counts about 50 MiB of text a second and does nothing else meanwhile.",
        ),
        with_default(
            "hold_up_to",
            Kind::Size,
            "1MiB",
            "The largest request body that Tollgate holds to count it. A larger one, by its \
            `content-length`, passes with an estimate of 4 bytes per token and is settled by usage. The \
            default is Envoy's buffer over HTTP/1.1. If the route's `request_body_buffer_limit` or the \
            listener's `per_connection_buffer_limit_bytes` differs, set this to the same value (32KiB for \
            Envoy Gateway's default). Over HTTP/2, Envoy buffers `initial_stream_window_size`, 16 MiB by \
            default. Envoy answers 413 if a held body exceeds its buffer; its log says so once, and \
            `tollgate_bodies_over_buffer_total` counts each case.",
        ),
        with_default(
            "decode_up_to",
            Kind::Size,
            "8MiB",
            "How much of a compressed request body (gzip, deflate, br, zstd) Tollgate decodes to count it, \
            in decoded bytes. A larger one, such as a decompression bomb, passes with an estimate based on \
            this size and is settled by usage. The upstream still gets the compressed body.",
        ),
        with_default(
            "weights",
            Kind::Section(&WEIGHTS),
            "{}",
            "The weight of each token class in limits on `tokens`.",
        ),
        with_default(
            "models",
            Kind::List(&Kind::Section(&MODEL)),
            "[]",
            "Counting rules for particular models. The first matching row decides.",
        ),
        with_default(
            "calibrate",
            Kind::Flag,
            "true",
            "Corrects counts for models without a public tokenizer. Per model, Tollgate learns how many \
            input tokens responses report for each token it counted in text, and multiplies later counts \
            of text by that factor, between 0.5 and 2. It learns only from calls that it counted whole, \
            without images, audio or documents, and forgets the factor after a day without such a call. \
            The metric `tollgate_input_scale_percent` shows the result.",
        ),
        with_default(
            "output_reserve",
            Kind::Section(&OUTPUT_RESERVE),
            "{}",
            "What to reserve for output if a request sets no output bound, or a large one.",
        ),
        with_default(
            "on_abort",
            Kind::Choice(&kind::names(&ON_ABORT)),
            "charge_streamed",
            "What to charge a successful call that its client or upstream cuts short: its input and the \
            output streamed so far (`charge_streamed`), its whole reservation (`charge_reserved`), or only \
            its request (`free`).",
        ),
    ],
);

pub(super) static WEIGHTS: Section = Section::new(
    "counting.weights",
    "How much one token of each class counts in limits on `tokens`. Set `cached_input: 0.1`, for example, \
    if the provider gives that discount.",
    &[
        with_default("input", Kind::Ratio, "1", "Input without caching."),
        with_default("cached_input", Kind::Ratio, "1", "Input read from a cache."),
        with_default("cache_write", Kind::Ratio, "1", "Input written to a cache."),
        optional(
            "cache_write_1h",
            Kind::Ratio,
            "as `cache_write`",
            "Input written to a one-hour cache (Anthropic).",
        ),
        optional("audio_input", Kind::Ratio, "as `input`", "Audio input."),
        optional("cached_audio_input", Kind::Ratio, "as `cached_input`", "Audio input read from a cache."),
        with_default("output", Kind::Ratio, "1", "Output, except reasoning and audio."),
        with_default("reasoning", Kind::Ratio, "1", "Reasoning."),
        optional("audio_output", Kind::Ratio, "as `output`", "Audio output."),
    ],
);

pub(super) static MODEL: Section = Section::new(
    "counting.models[]",
    "How to count the tokens of some models.",
    &[
        required("match", Kind::Glob, "The models; `*` stands for any text."),
        optional(
            "scale",
            Kind::Ratio,
            "by the model's family",
            "For models without a public tokenizer: the model's tokens per token of `o200k_base`. Defaults: \
            1.2 for Claude up to 4.6 and 1.55 after it; 1.1 for Gemini, Mistral, Cohere and DeepSeek; 1.05 \
            for Llama and Qwen; 1 if the name shows no family. `calibrate` corrects it.",
        ),
        with_default(
            "multiplier",
            Kind::Ratio,
            "1",
            "How many tokens one token of these models counts as in limits on `tokens`, such as 5 for a \
            model that costs five times as much as others.",
        ),
    ],
);

pub(super) static OUTPUT_RESERVE: Section = Section::new(
    "counting.output_reserve",
    "What to reserve for output if a request sets no output bound, or one above `at_most`.",
    &[
        with_default(
            "start",
            Kind::Integer,
            "512",
            "Tokens to reserve for a tier and model before anything is learned about them. The default is a \
            long chat answer.",
        ),
        with_default(
            "learn",
            Kind::Flag,
            "true",
            "Learns from the output of earlier calls of the same tier and model: their mean plus one mean \
            deviation.",
        ),
        with_default(
            "at_most",
            Kind::Fraction,
            "0.25",
            "The largest share of a budget to reserve for one call's output. Output beyond the reservation \
            becomes debt.",
        ),
    ],
);

pub(super) fn counting(node: &Node<'_>) -> Option<Counting> {
    let fields = node.section(&COUNTING);
    let exact_up_to = fields.read("exact_up_to", kind::size);
    let hold_up_to = fields.read("hold_up_to", kind::size);
    let decode_up_to = fields.read("decode_up_to", kind::size);
    let weights = fields.read("weights", weights);
    let covers = |earlier: &Model, row: &Model| earlier.models.covers(&row.models);
    let models = fields.read("models", distinct::rows("match", model, covers));
    let calibrate = fields.read("calibrate", kind::flag);
    let output_reserve = fields.read("output_reserve", output_reserve);
    let on_abort = fields.read("on_abort", kind::choice(&ON_ABORT));
    let mut scales = Vec::new();
    let mut multipliers = Vec::new();
    for Model { models, scale, multiplier } in models? {
        scales.extend(scale.map(|scale| (models.clone(), scale)));
        multipliers.push((models, multiplier));
    }
    Some(Counting {
        exactness: Exactness { exact_up_to: exact_up_to?, scales },
        calibration: Calibration { on: calibrate? },
        hold_up_to: hold_up_to?,
        decode_up_to: decode_up_to?,
        weights: weights?,
        multipliers,
        output_reserve: output_reserve?,
        on_abort: on_abort?,
    })
}

/// A row of `models`.
struct Model {
    models: Glob,
    scale: Option<Ratio>,
    multiplier: Ratio,
}

fn weights(node: &Node<'_>) -> Option<Weights> {
    let fields = node.section(&WEIGHTS);
    let weight = |name| fields.read(name, kind::ratio);
    let (input, cache_write, output) = (weight("input"), weight("cache_write"), weight("output"));
    let cached_input = weight("cached_input");
    let weights = Classes {
        input,
        cached_input,
        cache_write,
        cache_write_1h: weight("cache_write_1h").or(cache_write),
        audio_input: weight("audio_input").or(input),
        cached_audio_input: weight("cached_audio_input").or(cached_input),
        output,
        reasoning: weight("reasoning"),
        audio_output: weight("audio_output").or(output),
        ..Weights::default().0.map(Some)
    };
    Some(Weights(weights.all()?))
}

fn model(node: &Node<'_>) -> Option<Model> {
    let fields = node.section(&MODEL);
    let (models, scale) = (fields.read("match", kind::glob), fields.read("scale", kind::ratio));
    let multiplier = fields.read("multiplier", kind::ratio);
    Some(Model { models: models?, scale, multiplier: multiplier? })
}

fn output_reserve(node: &Node<'_>) -> Option<OutputReserve> {
    let fields = node.section(&OUTPUT_RESERVE);
    let start = fields.read("start", kind::integer);
    let learn = fields.read("learn", kind::flag);
    let at_most = fields.read("at_most", kind::fraction);
    Some(OutputReserve { start: Tokens(start?), learn: learn?, at_most: at_most? })
}
