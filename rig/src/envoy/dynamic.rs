//! Resources that Envoy reads from watched files, and the settings by which one process serves
//! several listeners in turn.
//!
//! In: resources as in a bootstrap. Out: YAML. Not here: writing the files (`pool`).

use std::path::Path;

use super::DIR;

/// The types of resources.
pub(super) const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
pub(super) const LISTENER: &str = "envoy.config.listener.v3.Listener";

/// Returns the field of `dynamic_resources` that reads one kind of resource from a watched file.
pub(super) fn from_file(field: &str, file: &str) -> String {
    format!(
        "  {field}:
    resource_api_version: V3
    path_config_source: {{ path: \"{DIR}/{file}\" }}
"
    )
}

/// Returns an idle VM of the module, on the main thread. Envoy keeps a compiled module only while a
/// VM uses it; without this VM, it would drop the module with the listener of each test.
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

/// Returns a list of static resources as items of `resources`, each with its type.
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
