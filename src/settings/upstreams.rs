//! `upstreams` and `priority`: the treatment of upstreams that refuse, and the reserved share of
//! their budgets.
//!
//! In: nodes of the configuration. Out: [`Upstreams`], [`Reserved`]. Not here: how upstreams report
//! that they are busy (`api`), the records of it (`limits`), limits per upstream (`limits` of a
//! tier).

use std::rc::Rc;

use super::limits::declared_dimension;
use crate::config::{Kind, Node, Section, distinct, kind, required, with_default};
use crate::limits::{Limit, Reserved, UPSTREAM_DIMENSION};
use crate::units::Span;

/// The treatment of upstreams that ask for a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstreams {
    /// Whether calls to one wait, as long as their tier allows; otherwise they are refused at once.
    pub calls_wait: bool,
    /// The longest pause that is respected.
    pub longest: Span,
}

const WHEN_BUSY: [(&str, bool); 2] = [("refuse", false), ("wait", true)];

/// An upstream that needs a longer pause should be taken out of its route.
const LONGEST: Span = Span::from_secs(3_600);

pub(super) static UPSTREAMS: Section = Section::new(
    "upstreams",
    "What to do with calls to an upstream that has refused one, with 429 or 529, or with 503 and \
    `retry-after`. Tollgate pauses calls for the same model for as long as the response says: in \
    `retry-after-ms` or `retry-after`, or until the exhausted budget in `x-ratelimit-*` or \
    `anthropic-ratelimit-*` refills. Otherwise it pauses for a second, doubling on each refusal in a row. \
    All workers of the process share the pause. An upstream is an Envoy cluster, by name.",
    &[
        with_default(
            "when_busy",
            Kind::Choice(&kind::names(&WHEN_BUSY)),
            "refuse",
            "What to do with calls during the pause: `refuse` answers 429 with the remaining time; `wait` \
            holds them if the tier's `wait` allows it for that long, and refuses the others.",
        ),
        with_default(
            "longest",
            Kind::Duration,
            "1m",
            "The longest pause, whatever the upstream asks for; at most `1h`.",
        ),
    ],
);

pub(super) static PRIORITY: Section = Section::new(
    "priority",
    "Reserves a share of upstream budgets for callers who cannot wait, in limits with `scope: local` whose \
    `per` names `upstream`.",
    &[
        required("dimension", Kind::Name, "The dimension that identifies batch traffic."),
        with_default("batch", Kind::Several(&Kind::Name), "batch", "The values that mean batch traffic."),
        with_default(
            "reserved",
            Kind::Fraction,
            "0.2",
            "The share of each such budget that batch traffic may not use. A batch call larger than the \
            rest waits until the whole budget is free.",
        ),
    ],
);

pub(super) fn upstreams(node: &Node<'_>) -> Option<Upstreams> {
    let fields = node.section(&UPSTREAMS);
    let calls_wait = fields.read("when_busy", kind::choice(&WHEN_BUSY));
    let longest = fields.read("longest", |node| {
        let span = kind::duration(node)?;
        if span > LONGEST { node.unexpected("a duration of at most 1h") } else { Some(span) }
    });
    Some(Upstreams { calls_wait: calls_wait?, longest: longest? })
}

pub(super) fn priority(node: &Node<'_>, dimensions: &[Rc<str>]) -> Option<Reserved> {
    let fields = node.section(&PRIORITY);
    let dimension = fields.read("dimension", |node| declared_dimension(node, dimensions));
    let batch = fields.read("batch", distinct::set(kind::name));
    let share = fields.read("reserved", kind::fraction);
    Some(Reserved { dimension: dimension?, batch: batch?, share: share? })
}

/// Returns whether a limit depends on the upstream.
pub(super) fn is_named_by(limit: &Limit) -> bool {
    let reserved = limit.reserved.as_ref().map(|reserved| &reserved.dimension);
    limit.per.iter().chain(&limit.once_per).chain(reserved).any(|name| **name == *UPSTREAM_DIMENSION)
}

#[cfg(test)]
#[path = "upstreams_tests.rs"]
mod tests;
