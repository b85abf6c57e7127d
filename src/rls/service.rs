//! A rate limit service and how it is spoken to, as configured.
//!
//! In: nothing. Out: [`Service`]. Not here: reading options (`settings`), what is said
//! (`protocol`).

use super::breaker::BreakerPolicy;
use crate::config::Ratio;
use crate::limits::LeasePolicy;
use crate::units::Span;

/// A rate limit service and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Envoy's cluster that leads to it; at most [`LONGEST_CLUSTER`] bytes.
    pub cluster: String,
    /// What it calls the limits of this filter together.
    pub domain: String,
    /// Who charges what, and when.
    pub protocol: Protocol,
    /// Whether it takes hits back.
    pub refunds: bool,
    /// Where it reads amounts.
    pub hits_addend: HitsAddend,
    /// How long to wait for an answer.
    pub timeout: Span,
    /// How calls are treated that it does not decide on.
    pub on_failure: OnFailure,
    /// With [`OnFailure::Local`]: the part of each global limit that is enforced in this process.
    pub local_share: Ratio,
    /// How much of a budget is taken in advance; if none, every call is asked for.
    pub lease: Option<LeasePolicy>,
    /// When to stop asking.
    pub breaker: BreakerPolicy,
}

/// Who charges what, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Asking charges what is asked for; a difference is told afterwards.
    Envoy,
    /// Asking for 0 hits looks; usage is reported afterwards. With leases like [`Protocol::Envoy`].
    CheckThenReport,
    /// Like [`Protocol::CheckThenReport`], by Kuadrant's own methods. With leases, asking charges
    /// by ShouldRateLimit, and Report charges differences whether they fit or not.
    Kuadrant,
}

/// Where the service reads amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitsAddend {
    /// In each descriptor, so that one request can ask for different amounts.
    Descriptor,
    /// In the request, which then has one descriptor.
    Request,
}

/// The units that Envoy's API counts in, and their seconds, as envoyproxy/ratelimit has them
/// (`src/utils/utilities.go`). A month has 30 days there, unless the server is told to count
/// calendar months, and a year 365. Older servers do not know `week`.
pub const UNITS: [(u64, &str); 7] = [
    (1, "second"),
    (60, "minute"),
    (60 * 60, "hour"),
    (DAY, "day"),
    (7 * DAY, "week"),
    (30 * DAY, "month"),
    (365 * DAY, "year"),
];

const DAY: u64 = 24 * 60 * 60;

/// The windows that limits of a service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// One of [`UNITS`].
    Units,
    /// Any number of whole seconds.
    Seconds,
}

impl HitsAddend {
    /// The windows of servers that read amounts there. Limitador, which reads them in the request,
    /// counts any number of seconds.
    #[must_use]
    pub const fn windows(self) -> Windows {
        match self {
            Self::Descriptor => Windows::Units,
            Self::Request => Windows::Seconds,
        }
    }
}

impl Windows {
    /// Whether a limit can have this window.
    #[must_use]
    pub fn have(self, window: Span) -> bool {
        match self {
            Self::Units => UNITS.iter().any(|(seconds, _)| Span::from_secs(*seconds) == window),
            Self::Seconds => Span::from_secs(window.as_secs_ceil()) == window,
        }
    }
}

impl core::fmt::Display for Windows {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Units => "1s, 1m, 1h, 1d, 7d, 30d or 365d",
            Self::Seconds => "whole seconds",
        })
    }
}

/// How calls are treated that the service does not decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// A part of each global limit is enforced in this process.
    Local,
    /// They pass.
    Allow,
    /// They are refused.
    Deny,
}

/// The longest name of a cluster: see [`Service::upstream`].
pub const LONGEST_CLUSTER: usize = 125;

impl Service {
    /// Whether asking charges the amount asked for. With leases it does, whatever the protocol:
    /// other processes would spend again what this one has leased or holds without the service's
    /// knowledge.
    #[must_use]
    pub fn charges_when_asked(&self) -> bool {
        self.protocol == Protocol::Envoy || self.lease.is_some()
    }

    /// Whether the limits of a call are asked one after the other. A server that reads one amount
    /// per request cannot refuse a call as a whole, so a refusal would leave limits asked at the
    /// same time charged.
    #[must_use]
    pub fn asks_in_turn(&self) -> bool {
        self.charges_when_asked() && self.hits_addend == HitsAddend::Request
    }

    /// The lease policy, if this process keeps charged amounts that a call did not need for its
    /// later calls. It does so with leases, and where limits are asked in turn, unless the service
    /// takes hits back.
    #[must_use]
    pub fn kept_here(&self) -> Option<LeasePolicy> {
        self.lease.or_else(|| (self.asks_in_turn() && !self.refunds).then_some(LeasePolicy::NOTHING))
    }

    /// The cluster as the host wants it:
    /// `envoy.config.core.v3.GrpcService{envoy_grpc{cluster_name}}`, serialized.
    ///
    /// The host also takes a bare name, but only if the name is not by accident a message: one
    /// called `envoy` ends the whole process (Envoy 1.40). Up to [`LONGEST_CLUSTER`] bytes the
    /// lengths inside are of seven bits, and the message is text, as the SDK's call demands.
    #[must_use]
    pub fn upstream(&self) -> String {
        const FIRST_FIELD: char = '\n';
        let letter = |length: usize| char::from(u8::try_from(length).unwrap_or(0) & 0x7f);
        let name = &self.cluster;
        let inner = name.len().saturating_add(2);
        let lengths = [FIRST_FIELD, letter(inner), FIRST_FIELD, letter(name.len())];
        lengths.into_iter().chain(name.chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rls::tests::service;
    use envoy_types::pb::envoy::config::core::v3::GrpcService;
    use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
    use prost::Message;

    #[test]
    fn every_name_that_fits_is_a_grpc_service_and_never_a_bare_name() {
        for cluster_name in ["envoy", "a", "ünïcödé", &"x".repeat(LONGEST_CLUSTER)] {
            let upstream = Service { cluster: cluster_name.to_owned(), ..service() }.upstream();

            let cluster = EnvoyGrpc { cluster_name: cluster_name.to_owned(), ..EnvoyGrpc::default() };
            let target = TargetSpecifier::EnvoyGrpc(cluster);
            let expected = GrpcService { target_specifier: Some(target), ..GrpcService::default() };
            assert_eq!(GrpcService::decode(upstream.as_bytes()), Ok(expected));
        }
    }
}
