//! `streams`: whether streams are stopped when a budget is exhausted.
//!
//! In: a node of the configuration. Out: [`Streams`]. Not here: when to stop (`exchange`), and how
//! a stream ends (`api::ending`).

use crate::config::{Kind, Node, Ratio, Section, kind, with_default};
use crate::units::Span;

/// The treatment of streams whose budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Whether they are stopped.
    pub stop_at_limit: bool,
    /// The share of its capacity by which a budget may be overspent before that.
    pub grace: Ratio,
    /// How long the upstream of a stopped stream may continue, if no finisher ends the response.
    pub drain_for: Span,
}

pub(super) static STREAMS: Section = Section::new(
    "streams",
    "How to treat streamed responses while they pass.",
    &[
        with_default(
            "stop_at_limit",
            Kind::Flag,
            "false",
            "Whether to end a stream when the caller's budget is exhausted. The client gets the ending that \
            its API uses for output cut for length. Compressed streams, and APIs without such an ending, \
            are not stopped. Limits with `scope: global` or `enforce: shadow` stop nothing.",
        ),
        with_default(
            "grace",
            Kind::Fraction,
            "0.05",
            "The share of its capacity by which a budget may be overspent before Tollgate stops the stream.",
        ),
        // Half of the minute after which Amazon's Python client and common load balancers give up
        // on a connection without data.
        with_default(
            "drain_for",
            Kind::Duration,
            "30s",
            "How long Tollgate reads and discards what the upstream sends after a stopped stream, if no \
            finisher ends the response (docs/streams.md). The client's response ends properly if the \
            upstream ends within that time. After it, Tollgate resets both sides when the upstream sends \
            its next chunk: the provider stops generating, and most clients report a broken connection. \
            `0s` resets at once.",
        ),
    ],
);

pub(super) fn streams(node: &Node<'_>) -> Option<Streams> {
    let fields = node.section(&STREAMS);
    let stop_at_limit = fields.read("stop_at_limit", kind::flag);
    let grace = fields.read("grace", kind::fraction);
    let drain_for = fields.read("drain_for", kind::duration_or_zero);
    Some(Streams { stop_at_limit: stop_at_limit?, grace: grace?, drain_for: drain_for? })
}
