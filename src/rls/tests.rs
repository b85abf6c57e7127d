//! What tests of this module share.

use super::*;
use crate::config::Ratio;
use crate::units::Span;

/// A service as it is without options.
pub(super) fn service() -> Service {
    Service {
        cluster: "ratelimit".to_owned(),
        domain: "tollgate".to_owned(),
        protocol: Protocol::Envoy,
        refunds: false,
        hits_addend: HitsAddend::Descriptor,
        timeout: Span::from_millis(50),
        on_failure: OnFailure::Local,
        local_share: Ratio { ppm: 100_000 },
        lease: None,
        breaker: BreakerPolicy { failures: 5, probe_every: Span::from_secs(1) },
    }
}
