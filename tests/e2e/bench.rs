//! The common setup of the end-to-end tests: a configuration, an Envoy with the filter in front of
//! a mock LLM, and calls.
//!
//! In: a configuration. Out: a [`Bench`], and requests for it. Not here: readings of budgets and
//! metrics (`probe`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_rig::client::{self, Client, Request, Response};
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use tollgate_rig::mock_llm::MockLlm;

/// The filter state keys that access logs show.
pub(crate) const FACTS: [&str; 9] = [
    "tollgate.tier",
    "tollgate.input_tokens.counted",
    "tollgate.input_tokens.used",
    "tollgate.output_tokens.used",
    "tollgate.cost_usd",
    "tollgate.refused_by",
    "tollgate.warning",
    "tollgate.softened",
    "tollgate.stopped_by",
];

/// Extracts labels from metric names, as `envoy/envoy.yaml` does.
pub(crate) const STATS_TAGS: &str = r#"- { tag_name: tier, regex: "(tier=\\.=(.*?);\\.;)" }
- { tag_name: limit, regex: "(limit=\\.=(.*?);\\.;)" }
- { tag_name: model, regex: "(model=\\.=(.*?);\\.;)" }
- { tag_name: kind, regex: "(kind=\\.=(.*?);\\.;)" }
"#;

/// A second route, for calls whose path begins with `/name`.
pub(crate) struct Detour<'a> {
    pub name: &'a str,
    /// The upstream; the mock if `None`.
    pub to: Option<SocketAddr>,
    /// More fields for the route's action, in flow style.
    pub route: &'a str,
}

/// Adds these detours to a bootstrap.
pub(crate) fn with_detours(bootstrap: Bootstrap, detours: &[Detour<'_>]) -> Bootstrap {
    let (mut routes, mut clusters) = (String::new(), String::new());
    for Detour { name, to, route } in detours {
        let cluster = if to.is_some() { name } else { "upstream" };
        routes += &format!("- {{ match: {{ prefix: /{name} }}, route: {{ cluster: {cluster}{route} }} }}\n");
        if let Some(address) = to {
            let socket = format!("{{ address: {}, port_value: {} }}", address.ip(), address.port());
            clusters += &format!(
                "- name: {name}\n  type: STATIC\n  load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {socket} }} }} }} ] }} ] }}\n"
            );
        }
    }
    bootstrap.routes_before(&routes).clusters(&clusters)
}

/// An Envoy with the filter in front of a mock LLM.
pub(crate) struct Bench {
    pub envoy: Envoy,
    pub mock: MockLlm,
}

impl Bench {
    /// Starts a bench on four workers, with this filter configuration in YAML.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::with(Filter::yaml(configuration), |bootstrap| bootstrap).await
    }

    /// Starts a bench with this filter, and with `change` applied to the bootstrap.
    pub(crate) async fn with(filter: Filter, change: impl FnOnce(Bootstrap) -> Bootstrap) -> Self {
        let mock = MockLlm::start().await;
        let envoy = Envoy::start(change(bootstrap(mock.address(), filter))).await;
        Self { envoy, mock }
    }

    /// Sends one request on its own connection.
    pub(crate) async fn send(&self, request: Request) -> Response {
        client::send(self.envoy.address(), request).await.unwrap()
    }

    /// Sends one request on its own HTTP/2 connection.
    pub(crate) async fn send_http2(&self, request: Request) -> Response {
        Client::http2(self.envoy.address()).await.unwrap().send(request).await.unwrap()
    }

    /// Sends a request and reads its whole answer as JSON.
    pub(crate) async fn json(&self, request: Request) -> (Response, Value) {
        let mut response = self.send(request).await;
        let body = response.json().await.unwrap();
        (response, body)
    }
}

/// Returns a bootstrap with four workers, the filter and an upstream, with all logs and metrics
/// enabled.
pub(crate) fn bootstrap(upstream: SocketAddr, filter: Filter) -> Bootstrap {
    Bootstrap::to(upstream).filter(filter).concurrency(4).stats_tags(STATS_TAGS).log_filter_state(&FACTS)
}

/// Returns the path of the module that can trap on demand.
pub(crate) fn trap_module() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tollgate-trap.wasm");
    assert!(module.exists(), "there is no {}: run `make wasm-trap`", module.display());
    module
}

/// Returns a short chat call of a tenant.
pub(crate) fn chat(tenant: &str) -> Request {
    chat_with(tenant, json!({}))
}

/// Returns a chat call with additional members.
pub(crate) fn chat_with(tenant: &str, members: Value) -> Request {
    chat_by("", tenant, members)
}

/// Returns a chat call through a [`Detour`].
pub(crate) fn chat_by(detour: &str, tenant: &str, members: Value) -> Request {
    let mut body =
        json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "Say something." }] });
    let Value::Object(members) = members else { panic!("{members} has no members") };
    body.as_object_mut().unwrap().extend(members);
    let path = if detour.is_empty() { String::new() } else { format!("/{detour}") };
    Request::post(&format!("{path}/v1/chat/completions")).json(&body).header("x-tenant-id", tenant)
}
