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
    "How calls are treated whose upstream has refused one: with 429 or 529, or with 503 and `retry-after`. Tollgate sends it no calls for the same model for as long as it says (`retry-after-ms`, `retry-after`; or of `x-ratelimit-*` and `anthropic-ratelimit-*` when what is spent will be refilled), else for a second, and twice as long each further time in a row. All workers of the process know of it; upstreams are told apart by the names of their clusters.",
    &[
        with_default(
            "when_busy",
            Kind::Choice(&kind::names(&WHEN_BUSY)),
            "refuse",
            "How further calls are treated meanwhile: `refuse` answers 429 with the time that is left; `wait` holds them until then if their tier's `wait` allows it, and refuses those that would have to wait longer.",
        ),
        with_default(
            "longest",
            Kind::Duration,
            "1m",
            "The longest pause of an upstream, whatever it asks for; at most `1h`.",
        ),
    ],
);

pub(super) static PRIORITY: Section = Section::new(
    "priority",
    "A share of the budgets of an upstream is kept for callers who cannot wait: in limits of `scope: local` whose `per` names `upstream`.",
    &[
        required("dimension", Kind::Name, "The dimension that tells batch traffic from the rest."),
        with_default("batch", Kind::Several(&Kind::Name), "batch", "Its values for batch traffic."),
        with_default(
            "reserved",
            Kind::Fraction,
            "0.2",
            "The share of each such budget that batch traffic may not use. A batch call that is larger than the rest waits until nothing of the budget is used.",
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
