//! A rate limit service and its protocol, as configured.
//!
//! In: nothing. Out: [`Service`]. Not here: reading options (`settings`), the messages
//! (`protocol`).

use super::breaker::BreakerPolicy;
use crate::config::Ratio;
use crate::limits::LeasePolicy;
use crate::units::Span;

/// A rate limit service and its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of its cluster in Envoy; at most [`LONGEST_CLUSTER`] bytes.
    pub cluster: String,
    /// The service's name for the limits of this filter.
    pub domain: String,
    /// The protocol of the service.
    pub protocol: Protocol,
    /// Whether it takes hits back.
    pub refunds: bool,
    /// The place of amounts in its messages.
    pub hits_addend: HitsAddend,
    /// The longest wait for an answer.
    pub timeout: Span,
    /// The treatment of calls that it does not decide.
    pub on_failure: OnFailure,
    /// With [`OnFailure::Local`]: the part of each global limit that this process enforces.
    pub local_share: Ratio,
    /// The part of a budget to lease; without it, every call asks.
    pub lease: Option<LeasePolicy>,
    /// The policy of the circuit breaker.
    pub breaker: BreakerPolicy,
}

/// A protocol: when the service charges, and which amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Asking charges the amount; a difference is reported afterwards.
    Envoy,
    /// Asking for 0 hits only checks; usage is reported afterwards. With leases like
    /// [`Protocol::Envoy`].
    CheckThenReport,
    /// Like [`Protocol::CheckThenReport`], with Kuadrant's own methods. With leases,
    /// ShouldRateLimit charges, and Report charges differences whether or not they fit.
    Kuadrant,
}

/// The place of amounts in the messages of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitsAddend {
    /// In each descriptor, so that one request can ask for different amounts.
    Descriptor,
    /// In the request, which then has one descriptor.
    Request,
}

/// The units of Envoy's API and their seconds, as in envoyproxy/ratelimit
/// (`src/utils/utilities.go`). There a month has 30 days, unless the server is configured for
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

/// The windows that a service's limits can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// One of [`UNITS`].
    Units,
    /// Any number of whole seconds.
    Seconds,
}

impl HitsAddend {
    /// Returns the windows of servers that read amounts there. Limitador, which reads them in the
    /// request, supports any number of seconds.
    #[must_use]
    pub const fn windows(self) -> Windows {
        match self {
            Self::Descriptor => Windows::Units,
            Self::Request => Windows::Seconds,
        }
    }
}

impl Windows {
    /// Returns whether a limit can have this window.
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

/// The treatment of calls that the service does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// This process enforces a part of each global limit.
    Local,
    /// They pass.
    Allow,
    /// They are refused.
    Deny,
}

/// The longest name of a cluster in bytes: see [`Service::upstream`].
pub const LONGEST_CLUSTER: usize = 125;

impl Service {
    /// Returns whether asking charges the amount. With leases it does in every protocol. Otherwise
    /// other processes would spend again what this one has leased or holds without the service's
    /// knowledge.
    #[must_use]
    pub fn charges_when_asked(&self) -> bool {
        self.protocol == Protocol::Envoy || self.lease.is_some()
    }

    /// Returns whether the limits of a call are asked one after the other. A server that reads one
    /// amount per request cannot refuse a call as a whole, so a refusal would leave limits asked at
    /// the same time charged.
    #[must_use]
    pub fn asks_in_turn(&self) -> bool {
        self.charges_when_asked() && self.hits_addend == HitsAddend::Request
    }

    /// Returns the lease policy, if this process keeps charged amounts that a call did not need for
    /// its later calls. It does so with leases, and where limits are asked in turn, unless the
    /// service takes hits back.
    #[must_use]
    pub fn kept_here(&self) -> Option<LeasePolicy> {
        self.lease.or_else(|| (self.asks_in_turn() && !self.refunds).then_some(LeasePolicy::NOTHING))
    }

    /// Returns the cluster in the form that the host expects:
    /// `envoy.config.core.v3.GrpcService{envoy_grpc{cluster_name}}`, serialized.
    ///
    /// The host also accepts a bare name, unless the name happens to be a valid message: one called
    /// `envoy` kills the whole process (Envoy 1.40). Up to [`LONGEST_CLUSTER`] bytes the lengths
    /// inside have seven bits, and the message is text, as the SDK's call requires.
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
