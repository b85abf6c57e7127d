//! `streams`: whether streams are stopped at the end of a budget.
//!
//! In: a node of the configuration. Out: [`Streams`]. Not here: when that is (`exchange`), and how a stream ends (`api::ending`).

use crate::config::{Kind, Node, Ratio, Section, kind, with_default};

/// What becomes of streams whose budget comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Whether they are stopped.
    pub stop_at_limit: bool,
    /// By which share of its capacity a budget may be overspent before.
    pub grace: Ratio,
    /// What becomes of the upstream's half of a stopped stream.
    pub upstream: Upstream,
}

/// What becomes of the upstream's half of a stopped stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// It is reset, so that the provider stops generating.
    Reset,
    /// It is read to its end and thrown away.
    Drain,
}

const UPSTREAMS: [(&str, Upstream); 2] = [("reset", Upstream::Reset), ("drain", Upstream::Drain)];

pub(super) static STREAMS: Section = Section::new(
    "streams",
    "What becomes of streamed answers while they pass.",
    &[
        with_default(
            "stop_at_limit",
            Kind::Flag,
            "false",
            "Whether a stream is ended when its caller's budget is spent: the client gets the ending that its API has for an output that was cut for its length. Compressed streams, and APIs without such an ending, are not stopped. Limits with `scope: global` or `enforce: shadow` stop nothing.",
        ),
        with_default(
            "grace",
            Kind::Fraction,
            "0.05",
            "By which share of its capacity a budget may be overspent before a stream is stopped.",
        ),
        with_default(
            "upstream",
            Kind::Choice(&kind::names(&UPSTREAMS)),
            "reset",
            "What becomes of the upstream's half of a stopped stream, where no finisher ends it (docs/streams.md). `reset`: it is reset, so that the provider stops generating; the client's half is cut behind its ending, which clients that read on to the end of the body report as an error. `drain`: it is read to its end and thrown away; the client's half ends properly when the upstream's does.",
        ),
    ],
);

pub(super) fn streams(node: &Node<'_>) -> Option<Streams> {
    let fields = node.section(&STREAMS);
    let stop_at_limit = fields.read("stop_at_limit", kind::flag);
    let grace = fields.read("grace", kind::fraction);
    let upstream = fields.read("upstream", kind::choice(&UPSTREAMS));
    Some(Streams { stop_at_limit: stop_at_limit?, grace: grace?, upstream: upstream? })
}
