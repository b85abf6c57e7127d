//! Resources that Envoy takes from files which it watches, and what a process needs to serve one
//! listener after the other.
//!
//! In: resources as they would stand in a bootstrap. Out: YAML. Not here: writing the files
//! (`pool`).

use std::path::Path;

use super::DIR;

/// The types of resources.
pub(super) const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
pub(super) const LISTENER: &str = "envoy.config.listener.v3.Listener";

/// The field of `dynamic_resources` that takes one kind of them from a file that Envoy watches.
pub(super) fn from_file(field: &str, file: &str) -> String {
    format!(
        "  {field}:
    resource_api_version: V3
    path_config_source: {{ path: \"{DIR}/{file}\" }}
"
    )
}

/// One idle VM of the module, on the main thread. The compiled module lives as long as a VM of it;
/// without this it would go with the listener of each test.
pub(super) fn keeper(module: &Path) -> String {
    format!(
        "bootstrap_extensions:
- name: envoy.bootstrap.wasm
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.wasm.v3.WasmService
    singleton: true
    config:
      name: keeper
      root_id: tollgate
      vm_config:
        vm_id: keeper
        runtime: envoy.wasm.runtime.v8
        code: {{ local: {{ filename: \"{}\" }} }}
      configuration:
        \"@type\": type.googleapis.com/google.protobuf.StringValue
        value: '{{\"tiers\":{{\"free\":{{}}}}}}'
",
        module.display()
    )
}

/// A list of static resources as one of `resources`, where each item says its type.
pub(super) fn typed(kind: &str, items: &str) -> String {
    let kind = format!("\"@type\": type.googleapis.com/{kind}");
    let lines = items.lines().map(|line| {
        if let Some(flow) = line.strip_prefix("- {") {
            format!("- {{ {kind},{flow}\n")
        } else if let Some(block) = line.strip_prefix("- ") {
            format!("- {kind}\n  {block}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}
