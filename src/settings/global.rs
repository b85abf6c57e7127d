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
    "The rate limit service that keeps the budgets of limits with `scope: global`: envoyproxy/ratelimit, Limitador, or another of the same gRPC API. `make ratelimit-config` writes its configuration from this one.",
    &[
        required(
            "cluster",
            Kind::Other("the name of a cluster, of at most 125 bytes"),
            "Envoy's cluster that leads to the service; it must speak HTTP/2.",
        ),
        with_default(
            "domain",
            Kind::Name,
            "tollgate",
            "What the service calls these limits together: its `domain` or `namespace`.",
        ),
        with_default(
            "protocol",
            Kind::Choice(&kind::names(&PROTOCOLS)),
            "envoy",
            "How budgets are charged. `envoy`: what a call holds is charged by asking, and a positive difference is told afterwards. `check_then_report`: asking only looks (0 hits, which envoyproxy/ratelimit understands), and what was used is told afterwards. `kuadrant`: the same by Limitador's own methods CheckRateLimit and Report. The last two charge exactly what was used, and let calls pass that come at the same time. With `lease`, all charge in advance, and `kuadrant` tells differences by Report.",
        ),
        with_default(
            "refunds",
            Kind::Flag,
            "false",
            "With `protocol: envoy`: whether what a call held too much is given back by negative hits. Only for services that know them, such as envoyproxy/ratelimit since the middle of 2026; others would charge them.",
        ),
        optional(
            "hits_addend",
            Kind::Choice(&kind::names(&HITS_ADDEND)),
            "descriptor, with `protocol: kuadrant` request",
            "Where the service reads amounts: in each descriptor, so that one request asks for all limits of a call (envoyproxy/ratelimit), or in the request, so that there is one for each limit (Limitador), one after the other where asking charges.",
        ),
        with_default(
            "timeout",
            Kind::Duration,
            "50ms",
            "How long a call waits for the service, for all its limits together, from 1ms to 10s.",
        ),
        with_default(
            "on_failure",
            Kind::Choice(&kind::names(&ON_FAILURE)),
            "local",
            "How calls are treated that the service does not decide on, because it is slow, failing or gone: `local` (a part of each global limit, `local_share`, is enforced in this process), `allow`, or `deny` (429 with `retry-after`).",
        ),
        with_default(
            "local_share",
            Kind::Fraction,
            "0.1",
            "With `on_failure: local`: the part of each global limit that this process enforces. One divided by the number of processes keeps the whole budget.",
        ),
        optional(
            "lease",
            Kind::Section(&LEASE),
            "none: every call asks",
            "Has each Envoy process take a part of a budget in one request and spend it without asking.",
        ),
        with_default(
            "breaker",
            Kind::Section(&BREAKER),
            "{}",
            "When a worker stops asking a service that fails.",
        ),
    ],
);

pub(super) static LEASE: Section = Section::new(
    "global.lease",
    "Leases of global budgets. A process takes a share of what remains, and asks for more in the background before it runs out. What is leased is charged in advance, with every protocol. At most this share of a budget for each process is unspent when its window ends.",
    &[
        with_default(
            "share",
            Kind::Fraction,
            "0.02",
            "Which part of what remains of a budget is taken at once; of all of it, if the service does not tell what remains.",
        ),
        with_default(
            "at_least",
            Kind::Integer,
            "1000",
            "The least number of tokens that is worth a lease, for limits that count tokens. What remains of a budget when it is less than four times that is not leased.",
        ),
    ],
);

pub(super) static BREAKER: Section = Section::new(
    "global.breaker",
    "When a worker stops asking a service that fails, and how often it tries again.",
    &[
        with_default("failures", Kind::Integer, "5", "After so many failures in a row, from 1 to 1000."),
        with_default(
            "probe_every",
            Kind::Duration,
            "1s",
            "How often one request tries whether the service is back, from 10ms to 1h.",
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
