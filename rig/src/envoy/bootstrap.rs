//! An Envoy configuration for tests: one listener, one route, one upstream, and the options of a
//! test.
//!
//! In: an upstream's address, and options as builder methods. Out: a [`Setup`]. The configuration
//! is text, so that Envoy's own YAML reader parses a test's input as it parses an operator's. Not
//! here: the example that users copy, which is `envoy/envoy.yaml`.

use core::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::dynamic::{CLUSTER, LISTENER, from_file, keeper, typed};
use super::filter::Filter;
use super::pool::{CLUSTERS, NOTHING, Shared, USE};
use super::{ACCESS_LOG, DIR, LISTENERS, Setup};

/// The description of an Envoy that passes everything to one upstream.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    upstream: SocketAddr,
    upstream_http2: bool,
    concurrency: usize,
    filter: Option<Filter>,
    filters_before: String,
    filters_after: String,
    upgrades: Vec<String>,
    body_limit: Option<u64>,
    routes_before: String,
    route: String,
    connection_manager: String,
    listener: String,
    clusters: String,
    grpc_clusters: Vec<(String, SocketAddr)>,
    stats_tags: String,
    filter_state: Vec<String>,
    reloadable: bool,
    drains_at_once: bool,
    own_process: bool,
    keep_compiled: Option<PathBuf>,
    http1_trailers: bool,
    component_log_level: String,
}

impl Bootstrap {
    /// Returns a bootstrap with one worker, HTTP/1.1 to the upstream, and only the router as a
    /// filter.
    #[must_use]
    pub const fn to(upstream: SocketAddr) -> Self {
        Self {
            upstream,
            upstream_http2: false,
            concurrency: 1,
            filter: None,
            filters_before: String::new(),
            filters_after: String::new(),
            upgrades: Vec::new(),
            body_limit: None,
            routes_before: String::new(),
            route: String::new(),
            connection_manager: String::new(),
            listener: String::new(),
            clusters: String::new(),
            grpc_clusters: Vec::new(),
            stats_tags: String::new(),
            filter_state: Vec::new(),
            reloadable: false,
            drains_at_once: false,
            own_process: false,
            keep_compiled: None,
            http1_trailers: false,
            component_log_level: String::new(),
        }
    }

    /// Adds the filter.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub const fn concurrency(mut self, workers: usize) -> Self {
        self.concurrency = workers;
        self
    }

    /// Speaks HTTP/2 to the upstream.
    #[must_use]
    pub const fn upstream_http2(mut self) -> Self {
        self.upstream_http2 = true;
        self
    }

    /// Limits the buffer for request bodies on the route to `bytes`, instead of the listener's 1
    /// MiB.
    #[must_use]
    pub const fn body_limit(mut self, bytes: u64) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Adds HTTP filters before the filter, as YAML list items.
    #[must_use]
    pub fn filters_before(mut self, yaml: &str) -> Self {
        self.filters_before = yaml.to_owned();
        self
    }

    /// Adds HTTP filters between the filter and the router, as YAML list items.
    #[must_use]
    pub fn filters_after(mut self, yaml: &str) -> Self {
        self.filters_after = yaml.to_owned();
        self
    }

    /// Allows upgrades to `protocol`, such as `websocket` or `CONNECT`.
    #[must_use]
    pub fn upgrade(mut self, protocol: &str) -> Self {
        self.upgrades.push(protocol.to_owned());
        self
    }

    /// Adds routes before the catch-all route, as YAML list items.
    #[must_use]
    pub fn routes_before(mut self, yaml: &str) -> Self {
        self.routes_before = yaml.to_owned();
        self
    }

    /// Adds fields to the catch-all `route` action, such as a `retry_policy`.
    #[must_use]
    pub fn route(mut self, yaml: &str) -> Self {
        self.route = yaml.to_owned();
        self
    }

    /// Adds fields to the HTTP connection manager.
    #[must_use]
    pub fn connection_manager(mut self, yaml: &str) -> Self {
        self.connection_manager = yaml.to_owned();
        self
    }

    /// Adds fields to the listener, such as `per_connection_buffer_limit_bytes: 8388608`.
    #[must_use]
    pub fn listener(mut self, yaml: &str) -> Self {
        self.listener = yaml.to_owned();
        self
    }

    /// Adds clusters, as YAML list items.
    #[must_use]
    pub fn clusters(mut self, yaml: &str) -> Self {
        self.clusters = yaml.to_owned();
        self
    }

    /// Adds a cluster of one server that speaks gRPC without TLS, such as a rate limit service.
    #[must_use]
    pub fn grpc_cluster(mut self, name: &str, address: SocketAddr) -> Self {
        self.grpc_clusters.push((name.to_owned(), address));
        self
    }

    /// Sets the `stats_tags` that extract labels from metric names, as YAML list items.
    #[must_use]
    pub fn stats_tags(mut self, yaml: &str) -> Self {
        self.stats_tags = yaml.to_owned();
        self
    }

    /// Adds these keys of the filter state, named without `wasm.`, to each line of the access log.
    #[must_use]
    pub fn log_filter_state(mut self, keys: &[&str]) -> Self {
        self.filter_state.extend(keys.iter().map(|&key| key.to_owned()));
        self
    }

    /// Reads the listener from a file that Envoy watches, for [`super::Envoy::reload`].
    #[must_use]
    pub const fn reloadable(mut self) -> Self {
        self.reloadable = true;
        self
    }

    /// Closes the connections of a listener when another replaces it, instead of leaving them open.
    #[must_use]
    pub const fn drains_at_once(mut self) -> Self {
        self.drains_at_once = true;
        self
    }

    /// Uses a process that serves no other test, for tests that measure memory or CPU time, or that
    /// test the process itself. A reloadable Envoy always has its own process.
    #[must_use]
    pub const fn own_process(mut self) -> Self {
        self.own_process = true;
        self
    }

    /// Names the module of a filter that the test writes as YAML. A process that serves several
    /// tests with the same module compiles it once.
    #[must_use]
    pub fn keep_compiled(mut self, module: &Path) -> Self {
        self.keep_compiled = Some(module.to_owned());
        self
    }

    /// Passes HTTP/1.1 trailers on both sides; Envoy drops them by default.
    #[must_use]
    pub const fn http1_trailers(mut self) -> Self {
        self.http1_trailers = true;
        self
    }

    /// Sets the log levels of some components, such as `wasm:debug`.
    #[must_use]
    pub fn component_log_level(mut self, levels: &str) -> Self {
        self.component_log_level = levels.to_owned();
        self
    }

    /// Returns the resource file that holds the listener of a reloadable Envoy.
    #[must_use]
    pub fn listeners(&self) -> String {
        without_use(&self.shared_listeners())
    }

    fn shared_listeners(&self) -> String {
        let fields = indent(2, &self.listener_fields());
        format!("resources:\n{}", typed(LISTENER, &format!("- {}", fields.trim_start())))
    }

    /// Returns the bootstrap of a process of its own.
    fn bootstrap(&self) -> String {
        let mut text = self.node();
        if self.reloadable {
            let _ = write!(text, "dynamic_resources:\n{}", from_file("lds_config", LISTENERS));
        }
        let _ = write!(text, "static_resources:\n  clusters:\n{}", indent(2, &self.all_clusters()));
        if !self.reloadable {
            let _ = write!(text, "  listeners:\n  -\n{}", indent(4, &self.listener_fields()));
        }
        without_use(&text)
    }

    /// Returns the bootstrap and resources of a process that serves several tests in turn.
    fn shared(&self) -> Shared {
        let files = [("cds_config", CLUSTERS), ("lds_config", LISTENERS)];
        let sources = files.map(|(field, file)| from_file(field, file)).concat();
        let module = self.keep_compiled.clone().or_else(|| self.filter.as_ref().map(Filter::module_path));
        let keeper = module.map(|module| keeper(&module)).unwrap_or_default();
        let process = Setup {
            bootstrap: format!("{}dynamic_resources:\n{sources}{keeper}", self.node()),
            files: files.map(|(_, file)| (file.to_owned(), NOTHING.to_owned())).into(),
            concurrency: self.concurrency,
            component_log_level: self.component_log_level.clone(),
            drains_at_once: true,
            ..Setup::default()
        };
        let clusters = format!("resources:\n{}", typed(CLUSTER, &self.all_clusters()));
        Shared { process, clusters, listeners: self.shared_listeners() }
    }

    fn node(&self) -> String {
        let admin = socket_address(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut text = format!("node: {{ id: rig, cluster: rig }}\nadmin:\n  address: {admin}\n");
        if !self.stats_tags.is_empty() {
            let _ = write!(text, "stats_config:\n  stats_tags:\n{}", indent(2, &self.stats_tags));
        }
        text
    }

    fn all_clusters(&self) -> String {
        let protocol = match (self.upstream_http2, self.http1_trailers) {
            (true, _) => HTTP2,
            (false, true) => "http_protocol_options: { enable_trailers: true }",
            (false, false) => "http_protocol_options: {}",
        };
        let mut text = cluster("upstream", "5s", self.upstream, protocol);
        for (name, address) in &self.grpc_clusters {
            text.push_str(&cluster(name, "0.25s", *address, HTTP2));
        }
        text.push_str(&indent(0, &self.clusters));
        text
    }

    fn listener_fields(&self) -> String {
        format!(
            "name: main
address: {}
{}filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
{}",
            socket_address(SocketAddr::from(([127, 0, 0, 1], 0))),
            indent(0, &self.listener),
            indent(6, &self.connection_manager_fields())
        )
    }

    fn connection_manager_fields(&self) -> String {
        let mut text = String::from(
            "\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
stat_prefix: main
codec_type: AUTO
",
        );
        if self.http1_trailers {
            text.push_str("http_protocol_options: { enable_trailers: true }\n");
        }
        text.push_str(&indent(0, &self.connection_manager));
        if !self.upgrades.is_empty() {
            text.push_str("upgrade_configs:\n");
            for protocol in &self.upgrades {
                let _ = writeln!(text, "- {{ upgrade_type: {protocol} }}");
            }
        }
        text.push_str(&self.access_log());
        text.push_str("http_filters:\n");
        text.push_str(&indent(0, &self.filters_before));
        text.push_str(&self.filter.as_ref().map(Filter::item).unwrap_or_default());
        text.push_str(&indent(0, &self.filters_after));
        text.push_str(
            "- name: envoy.filters.http.router
  typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
route_config:
  name: main
  virtual_hosts:
  - name: main
    domains: [\"*\"]
    routes:
",
        );
        text.push_str(&indent(4, &self.routes_before));
        text.push_str("    - match: { prefix: / }\n");
        if let Some(bytes) = self.body_limit {
            let _ = writeln!(text, "      request_body_buffer_limit: {bytes}");
        }
        // A long wait must fail by the test's own deadline.
        text.push_str("      route:\n        cluster: upstream\n        timeout: 0s\n");
        text.push_str(&indent(8, &self.route));
        text
    }

    fn access_log(&self) -> String {
        let mut text = format!(
            "access_log:
- name: envoy.access_loggers.file
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
    path: \"{DIR}/{ACCESS_LOG}\"
    log_format:
      json_format:
"
        );
        let fixed = [
            ("method", "REQ(:METHOD)"),
            ("path", "REQ(:PATH)"),
            ("status", "RESPONSE_CODE"),
            ("details", "RESPONSE_CODE_DETAILS"),
            ("flags", "RESPONSE_FLAGS"),
            ("bytes_received", "BYTES_RECEIVED"),
            ("bytes_sent", "BYTES_SENT"),
            ("duration_ms", "DURATION"),
        ];
        for (key, command) in fixed {
            let _ = writeln!(text, "        {key}: \"%{command}%\"");
        }
        for key in &self.filter_state {
            let _ = writeln!(text, "        {key}: \"%FILTER_STATE(wasm.{key}:PLAIN)%\"");
        }
        text
    }
}

impl From<Bootstrap> for Setup {
    fn from(bootstrap: Bootstrap) -> Self {
        let listeners = bootstrap.reloadable.then(|| (LISTENERS.to_owned(), bootstrap.listeners()));
        let is_shared = !bootstrap.own_process && !bootstrap.reloadable;
        Self {
            bootstrap: bootstrap.bootstrap(),
            files: listeners.into_iter().collect(),
            concurrency: bootstrap.concurrency,
            drains_at_once: bootstrap.drains_at_once,
            shared: is_shared.then(|| Box::new(bootstrap.shared())),
            component_log_level: bootstrap.component_log_level,
        }
    }
}

/// Removes the placeholder [`USE`], because a process of its own has only one use.
fn without_use(text: &str) -> String {
    text.replace(USE, "")
}

const HTTP2: &str = "http2_protocol_options: {}";

fn cluster(name: &str, connect_timeout: &str, server: SocketAddr, protocol: &str) -> String {
    format!(
        "- name: {name}
  connect_timeout: {connect_timeout}
  type: STATIC
  circuit_breakers: {{ thresholds: [ {{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }} ] }}
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {{ {protocol} }}
  load_assignment:
    cluster_name: {name}
    endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {} }} }} ] }} ]
",
        socket_address(server)
    )
}

fn socket_address(address: SocketAddr) -> String {
    format!("{{ socket_address: {{ address: \"{}\", port_value: {} }} }}", address.ip(), address.port())
}

/// Returns `yaml` indented by `columns` and ended by a newline, or nothing if it is empty.
pub(super) fn indent(columns: usize, yaml: &str) -> String {
    let mut text = String::new();
    for line in yaml.lines() {
        let _ = writeln!(text, "{:columns$}{line}", "");
    }
    text
}
