//! `global`: the rate limit service that keeps the budgets of global limits.
//!
//! In: a node of the configuration. Out: [`Service`]. Not here: which limits are global (`limits`),
//! the messages to the service (`rls`).

use crate::config::{Kind, Node, Section, kind, optional, required, with_default};
use crate::limits::LeasePolicy;
use crate::rls::{BreakerPolicy, HitsAddend, LONGEST_CLUSTER, OnFailure, Protocol, Service};
use crate::units::{Amount, Span};

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("envoy", Protocol::Envoy),
    ("check_then_report", Protocol::CheckThenReport),
    ("kuadrant", Protocol::Kuadrant),
];

const HITS_ADDEND: [(&str, HitsAddend); 2] =
    [("descriptor", HitsAddend::Descriptor), ("request", HitsAddend::Request)];

const ON_FAILURE: [(&str, OnFailure); 3] =
    [("local", OnFailure::Local), ("allow", OnFailure::Allow), ("deny", OnFailure::Deny)];

pub(super) static GLOBAL: Section = Section::new(
    "global",
    "The rate limit service that keeps the budgets of limits with `scope: global`: envoyproxy/ratelimit, \
    Limitador, or another with the same gRPC API. `make ratelimit-config` writes its configuration from \
    this one.",
    &[
        required(
            "cluster",
            Kind::Other("the name of a cluster, of at most 125 bytes"),
            "The Envoy cluster of the service. It must speak HTTP/2.",
        ),
        with_default(
            "domain",
            Kind::Name,
            "tollgate",
            "The service's name for this set of limits: its `domain` or `namespace`.",
        ),
        with_default(
            "protocol",
            Kind::Choice(&kind::names(&PROTOCOLS)),
            "envoy",
            "How Tollgate charges budgets. `envoy`: the request before the call charges the reservation, \
            and a report afterwards charges what the call used beyond it. `check_then_report`: the request \
            before the call only checks (0 hits, which envoyproxy/ratelimit understands), and the report \
            charges the usage. `kuadrant`: the same with Limitador's own methods, CheckRateLimit and \
            Report. The last two charge exact usage but admit concurrent calls that together exceed the \
            budget. With `lease`, every protocol charges in advance, and `kuadrant` reports differences by \
            Report.",
        ),
        with_default(
            "refunds",
            Kind::Flag,
            "false",
            "With `protocol: envoy`: refund the unused part of a reservation with negative hits. Only for \
            services that support them, such as envoyproxy/ratelimit since the middle of 2026; others \
            would charge them.",
        ),
        optional(
            "hits_addend",
            Kind::Choice(&kind::names(&HITS_ADDEND)),
            "`descriptor`; `request` with `protocol: kuadrant`",
            "Where the service reads amounts. `descriptor`: in each descriptor, so one request covers all \
            limits of a call (envoyproxy/ratelimit). `request`: in the request, so each limit needs its \
            own request (Limitador); requests that charge go one after the other.",
        ),
        with_default(
            "timeout",
            Kind::Duration,
            "50ms",
            "How long a call waits for the service, for all its limits together; from 1ms to 10s.",
        ),
        with_default(
            "on_failure",
            Kind::Choice(&kind::names(&ON_FAILURE)),
            "local",
            "What to do with calls that the service does not decide because it is slow, failing or gone: \
            `local` (this process enforces `local_share` of each global limit), `allow`, or `deny` (429 \
            with `retry-after`).",
        ),
        with_default(
            "local_share",
            Kind::Fraction,
            "0.1",
            "With `on_failure: local`: the share of each global limit that this process enforces. Use one \
            divided by the number of processes to keep the whole budget.",
        ),
        optional(
            "lease",
            Kind::Section(&LEASE),
            "none: every call asks",
            "Each Envoy process takes a part of a budget in one request and spends it without asking.",
        ),
        with_default(
            "breaker",
            Kind::Section(&BREAKER),
            "{}",
            "When a worker stops asking a failing service.",
        ),
    ],
);

pub(super) static LEASE: Section = Section::new(
    "global.lease",
    "Leases of global budgets. A process takes a share of the remaining budget and asks for more in the \
    background before the share runs out. Every protocol charges leases in advance. When a window ends, \
    each process may leave at most this share of the budget unspent.",
    &[
        with_default(
            "share",
            Kind::Fraction,
            "0.02",
            "The share of the remaining budget to lease at once; of the whole budget if the service does \
            not report what remains.",
        ),
        with_default(
            "at_least",
            Kind::Integer,
            "1000",
            "The smallest lease, in tokens, for limits that count tokens. If less than four times this \
            amount remains of a budget, Tollgate does not lease it.",
        ),
    ],
);

pub(super) static BREAKER: Section = Section::new(
    "global.breaker",
    "When a worker stops asking a failing service, and how often it tries again.",
    &[
        with_default("failures", Kind::Integer, "5", "After this many failures in a row, from 1 to 1000."),
        with_default(
            "probe_every",
            Kind::Duration,
            "1s",
            "How often one request tests whether the service is back, from 10ms to 1h.",
        ),
    ],
);

pub(super) fn service(node: &Node<'_>) -> Option<Service> {
    let fields = node.section(&GLOBAL);
    let cluster = fields.read("cluster", cluster);
    let domain = fields.read("domain", kind::name);
    let protocol = fields.read("protocol", kind::choice(&PROTOCOLS));
    let refunds = fields.read("refunds", kind::flag);
    let hits_addend = fields.read("hits_addend", kind::choice(&HITS_ADDEND));
    let timeout = fields.read("timeout", |node| duration_in(node, Span::from_millis(1), Span::from_secs(10)));
    let on_failure = fields.read("on_failure", kind::choice(&ON_FAILURE));
    let local_share = fields.read("local_share", kind::fraction);
    let lease = fields.read("lease", lease);
    let breaker = fields.read("breaker", breaker);
    if fields.has_failed() {
        return None;
    }
    let (protocol, refunds) = (protocol?, refunds?);
    if refunds && protocol != Protocol::Envoy {
        return fields.rule("refunds", "requires `protocol: envoy`");
    }
    let hits_addend = match (protocol, hits_addend) {
        (Protocol::Envoy, given) => given.unwrap_or(HitsAddend::Descriptor),
        (Protocol::CheckThenReport, None | Some(HitsAddend::Descriptor)) => HitsAddend::Descriptor,
        (Protocol::Kuadrant, None | Some(HitsAddend::Request)) => HitsAddend::Request,
        (Protocol::CheckThenReport, Some(HitsAddend::Request)) => {
            return fields.rule(
                "hits_addend",
                "must be `descriptor` with `protocol: check_then_report`: 0 hits of a request count as 1",
            );
        }
        (Protocol::Kuadrant, Some(HitsAddend::Descriptor)) => {
            return fields.rule("hits_addend", "must be `request` with `protocol: kuadrant`");
        }
    };
    Some(Service {
        cluster: cluster?,
        domain: domain?,
        protocol,
        refunds,
        hits_addend,
        timeout: timeout?,
        on_failure: on_failure?,
        local_share: local_share?,
        lease,
        breaker: breaker?,
    })
}

fn cluster(node: &Node<'_>) -> Option<String> {
    let name = kind::name(node)?;
    if name.len() > LONGEST_CLUSTER {
        return node.unexpected("the name of a cluster, of at most 125 bytes");
    }
    Some(name)
}

fn lease(node: &Node<'_>) -> Option<LeasePolicy> {
    let fields = node.section(&LEASE);
    let share = fields.read("share", kind::fraction);
    let at_least = fields.read("at_least", kind::integer);
    Some(LeasePolicy { share: share?, at_least: Amount(at_least?) })
}

fn breaker(node: &Node<'_>) -> Option<BreakerPolicy> {
    let fields = node.section(&BREAKER);
    let failures = fields.read("failures", kind::integer_in(1..=1_000));
    let probe_every =
        fields.read("probe_every", |node| duration_in(node, Span::from_millis(10), Span::from_secs(3_600)));
    Some(BreakerPolicy { failures: u32::try_from(failures?).ok()?, probe_every: probe_every? })
}

fn duration_in(node: &Node<'_>, least: Span, most: Span) -> Option<Span> {
    let span = kind::duration(node)?;
    if (least..=most).contains(&span) {
        return Some(span);
    }
    let text = |span: Span| format!("{}ms", span.as_millis_ceil());
    node.unexpected(format!("a duration from {} to {}", text(least), text(most)))
}

#[cfg(test)]
#[path = "global_tests.rs"]
mod tests;
