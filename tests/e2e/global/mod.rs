//! Limits in a rate limit service: on the real Envoy, against a scripted service and a real one.
//!
//! In: a filter configuration and a service. Out: the common setup of these tests.

mod answers;
mod failures;
mod fleet;
mod leases;
mod outages;
mod protocols;
mod ways;

use core::fmt::Write as _;
use core::time::Duration;

use serde_json::json;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::Filter;
use tollgate_rig::rate_limits::{Asked, Limit, Method, ScriptedService};

use crate::bench::{Bench, chat_with};
use crate::probe::INPUT;

/// The window of global limits in these tests; it ends only if a test advances the clock.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Options of `global` for tests in which the service answers, however slow the machine is.
pub(crate) const PATIENT: &str = ", timeout: 10s";

/// Returns a configuration with one global limit of `max` tokens a day for each tenant, and these
/// options of `global`, in flow style.
pub(crate) fn tokens(max: u64, options: &str) -> String {
    limits(
        &format!("{{ name: tpd, count: tokens, per: tenant, max: {max}, window: 1d, scope: global }}"),
        options,
    )
}

/// Returns a configuration with these limits and options of `global`, in flow style. A call holds
/// its own bound on output.
pub(crate) fn limits(limits: &str, options: &str) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }}, user: {{ header: x-user }} }}
global: {{ cluster: ratelimit{options} }}
counting: {{ output_reserve: {{ at_most: 1 }} }}
tiers: {{ free: {{ limits: [ {limits} ] }} }}
"
    )
}

/// Returns the service's limit for [`tokens`].
pub(crate) fn tpd(max: u32) -> Limit {
    Limit::new("free/tpd", max, DAY)
}

/// Returns the descriptor entries of a tenant's budget of [`tokens`].
pub(crate) fn of(tenant: &str) -> [(&str, &str); 2] {
    [("tollgate_limit", "free/tpd"), ("tenant", tenant)]
}

/// Returns a call of a tenant that holds and uses these numbers of tokens.
pub(crate) fn call(tenant: &str, holds: u64, uses: u64) -> Request {
    chat_with(tenant, json!({ "max_tokens": holds - INPUT })).header("x-mock-usage", usage(uses))
}

/// Returns a usage object of this many tokens.
pub(crate) fn usage(tokens: u64) -> String {
    json!({ "prompt_tokens": INPUT, "completion_tokens": tokens - INPUT }).to_string()
}

/// Returns requests as text, such as `ShouldRateLimit tollgate 0: tollgate_limit=free/tpd
/// tenant=ada (30)`: the method, the domain, the request's hits, and each descriptor with its own.
/// Omits those of `zed`.
pub(crate) fn said(requests: &[Asked]) -> Vec<String> {
    let others = requests.iter().map(|asked| {
        let Asked { method, request } = asked;
        let mut text = format!("{method:?} {} {}:", request.domain, request.hits_addend);
        for (index, hits) in asked.hits().into_iter().enumerate() {
            for (key, value) in asked.entries(index) {
                let _ = write!(text, " {key}={value}");
            }
            let _ = hits.map_or(Ok(()), |hits| write!(text, " ({hits})"));
        }
        text
    });
    others.filter(|text| !text.contains("=zed")).collect()
}

/// Makes a call of `zed` and waits for its report: by then all earlier messages of the same worker
/// have arrived.
pub(crate) async fn say_everything(client: &mut Client, service: &ScriptedService) {
    let before = service.count(&of("zed"));
    let mut response = client.send(call("zed", 20, 50)).await.unwrap();
    response.body().await.unwrap();
    assert_eq!(response.status(), 200);
    service.wait_for_count(&of("zed"), before + 50).await;
}

/// Returns how many requests the service has received.
pub(crate) fn calls(service: &ScriptedService) -> usize {
    Method::ALL.into_iter().map(|method| service.calls(method)).sum()
}

impl Bench {
    /// Starts a bench with this configuration, four workers, and a service.
    pub(crate) async fn with_service(configuration: &str, service: &ScriptedService) -> Self {
        let address = service.address();
        Self::with(Filter::yaml(configuration), |bootstrap| bootstrap.grpc_cluster("ratelimit", address))
            .await
    }

    /// Opens a connection, which stays on one worker.
    pub(crate) async fn client(&self) -> Client {
        Client::http1(self.envoy.address()).await.unwrap()
    }

    /// Returns how many calls with global limits had this decision.
    pub(crate) async fn decided(&self, kind: &str) -> f64 {
        self.envoy.metrics().await.sum("tollgate_global_decisions_total", &[("kind", kind)])
    }
}
