//! Limits held in a rate limit service: on the real Envoy, against a scripted service and a real one.
//!
//! Here: what these tests share.

mod fleet;
mod protocols;

use core::time::Duration;

use tollgate_rig::envoy::Filter;
use tollgate_rig::rate_limits::{Limit, ScriptedService};

use crate::bench::Bench;

/// The window of global limits in these tests: no test sees its end unless it puts the clock forward.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A configuration with one global limit of so many tokens a day for each tenant, and these options of `global`, in flow style.
pub(crate) fn tokens(max: u64, options: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
global: {{ cluster: ratelimit{options} }}
tiers:
  free:
    limits: [ {{ name: tpd, count: tokens, per: tenant, max: {max}, window: 1d, scope: global }} ]
"
    )
}

/// What the service has to know of [`tokens`].
pub(crate) fn tpd(max: u32) -> Limit {
    Limit::new("free/tpd", max, DAY)
}

/// The entries of a tenant's budget of [`tokens`].
pub(crate) fn of(tenant: &str) -> [(&str, &str); 2] {
    [("tollgate_limit", "free/tpd"), ("tenant", tenant)]
}

impl Bench {
    /// With this configuration, four workers, and a service.
    pub(crate) async fn with_service(configuration: &str, service: &ScriptedService) -> Self {
        let address = service.address();
        Self::with(Filter::yaml(configuration), |bootstrap| bootstrap.grpc_cluster("ratelimit", address))
            .await
    }
}
