//! `soften`, `clamp_output` and `wait` of a tier: the milder answers that precede a refusal.
//!
//! In: the fields of a tier. Out: [`Degradation`]. A tier inherits each option that it does not
//! give. Not here: what the options do (`exchange`).

use std::rc::Rc;

use crate::config::{
    Fields, Glob, Kind, Node, Ratio, Section, distinct, kind, optional, required, with_default,
};
use crate::limits::{Limit, Shape, resource};
use crate::tiers::{Degradation, Step, WaitPolicy};
use crate::units::{Amount, Span};

/// The longest wait of a call. What it charges in advance must be worth waiting for, and clients
/// give up after a minute or so.
const LONGEST_WAIT: Span = Span::from_secs(60);

pub(super) static SOFTEN: Section = Section::new(
    "tiers.<name>.soften[]",
    "One step of softening.",
    &[
        required("at", Kind::Fraction, "From this share of the most used budget on, the step applies."),
        with_default(
            "model",
            Kind::Map(&Kind::Name),
            "{}",
            "Cheaper models to use instead, such as `gpt-4o: gpt-4o-mini`. A key may be a pattern: the \
            longest match wins, and of equally long ones the first in alphabetical order. The response \
            says so in `x-tollgate-softened`.",
        ),
        optional(
            "max_output_tokens",
            Kind::Integer,
            "as the request says",
            "The most output tokens that a call may ask for. Tollgate lowers a higher bound to it and sets \
            a missing one.",
        ),
    ],
);

pub(super) static WAIT: Section = Section::new(
    "tiers.<name>.wait",
    "Holds calls that will fit soon, in order of arrival. Tollgate charges a waiting call at once, as a \
    debt, so later calls queue behind it, small ones too. Calls do not wait for slots of \
    `concurrent_requests`, and calls whose bodies are too long to hold do not wait at all.",
    &[
        required("max_wait", Kind::Duration, "The longest time that a call waits; at most `1m`."),
        with_default(
            "max_waiting",
            Kind::Integer,
            "100",
            "How many calls of the tier may wait at the same time, in the whole process. Further calls are \
            refused.",
        ),
    ],
);

/// The options that a tier gives; `None` for the others.
#[derive(Clone, Default)]
pub(super) struct Written {
    soften: Option<Vec<Step>>,
    clamp_output: Option<bool>,
    wait: Option<(Span, u64)>,
}

impl Written {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let steps = distinct::rows("at", step, |earlier, step| earlier.at == step.at);
        Self {
            soften: fields.read_given("soften", steps),
            clamp_output: fields.read_given("clamp_output", kind::flag),
            wait: fields.read_given("wait", wait),
        }
    }

    /// Returns these options, with absent ones inherited from `base`.
    pub(super) fn over(&self, base: &Self) -> Self {
        Self {
            soften: self.soften.clone().or_else(|| base.soften.clone()),
            clamp_output: self.clamp_output.or(base.clamp_output),
            wait: self.wait.or(base.wait),
        }
    }

    pub(super) fn resolved(self, tier: &Rc<str>, warn_at: Ratio) -> Degradation {
        let mut soften = self.soften.unwrap_or_default();
        soften.sort_by_key(|step| step.at.ppm);
        let wait = self.wait.and_then(|(max_wait, max_waiting)| {
            Some(WaitPolicy { max_wait, places: Rc::new(places(tier, max_waiting, warn_at)?) })
        });
        Degradation { soften, clamp_output: self.clamp_output.unwrap_or_default(), wait }
    }
}

/// Returns a limit on calls in flight for the calls that wait. No configured limit can have its id,
/// because names have no slashes.
fn places(tier: &Rc<str>, max_waiting: u64, warn_at: Ratio) -> Option<Limit> {
    let counts = resource("concurrent_requests")?;
    let limit = Limit::new(tier, "wait", counts, Shape::in_flight(Amount(max_waiting)));
    Some(Limit { id: format!("{tier}//wait").into(), warn_at, ..limit })
}

fn step(node: &Node<'_>) -> Option<Step> {
    let fields = node.section(&SOFTEN);
    let at = fields.read("at", kind::fraction);
    let models = fields.read("model", kind::map(kind::name));
    let max_output = fields.read("max_output_tokens", kind::integer_in(1..=u64::MAX));
    let mut models: Vec<_> = models?.into_iter().map(|(from, to)| (Glob::new(&from), to)).collect();
    if models.is_empty() && max_output.is_none() && !fields.has_failed() {
        return node.rule("needs `model` or `max_output_tokens`");
    }
    // A map has no order, so the longest pattern, as the most specific one, comes first. Patterns
    // of one length are in alphabetical order.
    models.sort_by(|(one, _), (other, _)| {
        let (one, other) = (one.as_str(), other.as_str());
        other.len().cmp(&one.len()).then_with(|| one.cmp(other))
    });
    Some(Step { at: at?, models, max_output })
}

fn wait(node: &Node<'_>) -> Option<(Span, u64)> {
    let fields = node.section(&WAIT);
    let max_wait = fields.read("max_wait", |node| {
        let span = kind::duration(node)?;
        if span > LONGEST_WAIT { node.unexpected("a duration of at most 1m") } else { Some(span) }
    });
    let max_waiting = fields.read("max_waiting", kind::integer_in(1..=100_000));
    Some((max_wait?, max_waiting?))
}
