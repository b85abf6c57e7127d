//! `counting`: how tokens are counted, weighted and reserved.
//!
//! In: nodes of the configuration. Out: [`Counting`]. Not here: the counting itself (`tokens`, `limits`).

use crate::config::{Glob, Kind, Node, Ratio, Section, kind, required, with_default};
use crate::limits::{OutputReserve, Weights};
use crate::tokens::Exactness;
use crate::units::Tokens;

/// How tokens are counted.
#[derive(Clone, Debug)]
pub struct Counting {
    /// Text to tokens.
    pub exactness: Exactness,
    /// The largest body that is held, in bytes.
    pub hold_up_to: u64,
    /// Classes of tokens to `tokens`.
    pub weights: Weights,
    /// Output of calls that set no bound.
    pub output_reserve: OutputReserve,
    /// Calls that are cut short.
    pub on_abort: OnAbort,
}

/// What a call is charged that is cut short by its client or its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// Its input, and the output that was streamed.
    ChargeStreamed,
    /// Everything that was reserved for it.
    ChargeReserved,
    /// Its request only.
    Free,
}

const ON_ABORT: [(&str, OnAbort); 3] = [
    ("charge_streamed", OnAbort::ChargeStreamed),
    ("charge_reserved", OnAbort::ChargeReserved),
    ("free", OnAbort::Free),
];

pub(super) static COUNTING: Section = Section::new(
    "counting",
    "How tokens are counted before a call, and what is reserved and charged for it.",
    &[
        with_default(
            "exact_up_to",
            Kind::Size,
            "1MiB",
            "How much text of a request is tokenized; what is beyond it is taken to have as many tokens per byte. A worker counts about 50 MiB of text a second, and answers nobody else meanwhile.",
        ),
        with_default(
            "hold_up_to",
            Kind::Size,
            "1MiB",
            "The largest body that is held to be counted; a larger one, by its `content-length`, is let through on a guess at its tokens (4 bytes each) and settled by usage. The default is Envoy's own bound: where `request_body_buffer_limit` or `per_connection_buffer_limit_bytes` raise it, raise this too.",
        ),
        with_default(
            "weights",
            Kind::Section(&WEIGHTS),
            "{}",
            "What each class of tokens counts in limits on `tokens`.",
        ),
        with_default(
            "models",
            Kind::List(&Kind::Section(&SCALE)),
            "[]",
            "Scales for models without a public tokenizer; the first row that matches decides.",
        ),
        with_default(
            "output_reserve",
            Kind::Section(&OUTPUT_RESERVE),
            "{}",
            "What is held for output where a request sets no bound, or a large one.",
        ),
        with_default(
            "on_abort",
            Kind::Choice(&kind::names(&ON_ABORT)),
            "charge_streamed",
            "What a successful call is charged that its client or its upstream cuts short: its input and what was streamed, all that was reserved, or only its request.",
        ),
    ],
);

pub(super) static WEIGHTS: Section = Section::new(
    "counting.weights",
    "What one token of each class counts in limits on `tokens`; such as `cached_input: 0.1` where the provider discounts it so.",
    &[
        with_default("input", Kind::Ratio, "1", "Input that no cache was used for."),
        with_default("cached_input", Kind::Ratio, "1", "Input read from a cache."),
        with_default("cache_write", Kind::Ratio, "1", "Input written to a cache."),
        with_default("output", Kind::Ratio, "1", "Output that is not reasoning."),
        with_default("reasoning", Kind::Ratio, "1", "Reasoning."),
    ],
);

pub(super) static SCALE: Section = Section::new(
    "counting.models[]",
    "Models that are counted by `o200k_base` times a scale, because their own tokenizer is not public.",
    &[
        required("match", Kind::Glob, "The models; `*` stands for any text."),
        required("scale", Kind::Ratio, "How many of their tokens one token of `o200k_base` is."),
    ],
);

pub(super) static OUTPUT_RESERVE: Section = Section::new(
    "counting.output_reserve",
    "What is held for output where a request sets no bound, or one above `at_most`.",
    &[
        with_default(
            "start",
            Kind::Integer,
            "512",
            "Tokens held before anything is learned about a tier and model; a long chat answer.",
        ),
        with_default(
            "learn",
            Kind::Flag,
            "true",
            "Learn from the output that calls of the same tier and model had: their mean and one mean deviation.",
        ),
        with_default(
            "at_most",
            Kind::Fraction,
            "0.25",
            "The largest share of a budget that is held for one call's output; more becomes debt when it comes.",
        ),
    ],
);

pub(super) fn counting(node: &Node<'_>) -> Option<Counting> {
    let fields = node.section(&COUNTING);
    let exact_up_to = fields.read("exact_up_to", kind::size);
    let hold_up_to = fields.read("hold_up_to", kind::size);
    let weights = fields.read("weights", weights);
    let scales = fields.read("models", kind::list(scale));
    let output_reserve = fields.read("output_reserve", output_reserve);
    let on_abort = fields.read("on_abort", kind::choice(&ON_ABORT));
    Some(Counting {
        exactness: Exactness { exact_up_to: exact_up_to?, scales: scales? },
        hold_up_to: hold_up_to?,
        weights: weights?,
        output_reserve: output_reserve?,
        on_abort: on_abort?,
    })
}

fn weights(node: &Node<'_>) -> Option<Weights> {
    let fields = node.section(&WEIGHTS);
    let weight = |name| fields.read(name, kind::ratio);
    let (input, cached_input, cache_write) = (weight("input"), weight("cached_input"), weight("cache_write"));
    let (output, reasoning) = (weight("output"), weight("reasoning"));
    Some(Weights {
        input: input?,
        cached_input: cached_input?,
        cache_write: cache_write?,
        output: output?,
        reasoning: reasoning?,
    })
}

fn scale(node: &Node<'_>) -> Option<(Glob, Ratio)> {
    let fields = node.section(&SCALE);
    let models = fields.read("match", kind::glob);
    let scale = fields.read("scale", kind::ratio);
    Some((models?, scale?))
}

fn output_reserve(node: &Node<'_>) -> Option<OutputReserve> {
    let fields = node.section(&OUTPUT_RESERVE);
    let start = fields.read("start", kind::integer);
    let learn = fields.read("learn", kind::flag);
    let at_most = fields.read("at_most", kind::fraction);
    Some(OutputReserve { start: Tokens(start?), learn: learn?, at_most: at_most? })
}
