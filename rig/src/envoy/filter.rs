//! The filter as one item of an HTTP filter chain.
//!
//! In: the filter's configuration in one of its two carriers, and the settings of the host. Out:
//! YAML. Not here: the meaning of the configuration; any text is allowed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bootstrap::indent;
use super::pool::USE;

/// The filter in a chain: module, configuration and settings of the host. The module is
/// [`wasm_module`] unless the test names another.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The value of `configuration`, as YAML fields.
    configuration: String,
    /// `None` stands for the built module.
    module: Option<PathBuf>,
    vm_id: String,
    holds_headers: bool,
    fields: String,
}

impl Filter {
    /// Returns a filter whose configuration is YAML in a `Struct`, as in a handwritten envoy.yaml.
    #[must_use]
    pub fn yaml(configuration: &str) -> Self {
        let kind = "\"@type\": type.googleapis.com/google.protobuf.Struct\nvalue:\n";
        Self::configured(format!("{kind}{}", indent(2, configuration)))
    }

    /// Returns a filter whose configuration is JSON in a `StringValue`, as Istio and Envoy Gateway
    /// generate it.
    #[must_use]
    pub fn json(configuration: &Value) -> Self {
        Self::text(&configuration.to_string())
    }

    /// Returns a filter whose configuration is any text in a `StringValue`, JSON or not.
    #[must_use]
    pub fn text(configuration: &str) -> Self {
        let kind = "\"@type\": type.googleapis.com/google.protobuf.StringValue\n";
        // A JSON string is a YAML string.
        Self::configured(format!("{kind}value: {}\n", Value::from(configuration)))
    }

    /// Uses another module than the built one.
    #[must_use]
    pub fn module(mut self, path: &Path) -> Self {
        self.module = Some(path.to_owned());
        self
    }

    /// Sets another `vm_id`, and with it other shared data.
    #[must_use]
    pub fn vm_id(mut self, vm_id: &str) -> Self {
        vm_id.clone_into(&mut self.vm_id);
        self
    }

    /// Omits `allow_on_headers_stop_iteration`, as Istio's `WasmPlugin` does.
    #[must_use]
    pub const fn without_holding(mut self) -> Self {
        self.holds_headers = false;
        self
    }

    /// Adds fields to the `PluginConfig`.
    #[must_use]
    pub fn fields(mut self, yaml: &str) -> Self {
        self.fields = yaml.to_owned();
        self
    }

    fn configured(configuration: String) -> Self {
        Self {
            configuration,
            module: None,
            vm_id: "tollgate".to_owned(),
            holds_headers: true,
            fields: String::new(),
        }
    }

    /// Returns the path of the module.
    pub(super) fn module_path(&self) -> PathBuf {
        self.module.clone().unwrap_or_else(wasm_module)
    }

    pub(super) fn item(&self) -> String {
        let Self { configuration, vm_id, holds_headers, fields, .. } = self;
        format!(
            "- name: tollgate
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: tollgate
      root_id: tollgate
      allow_on_headers_stop_iteration: {holds_headers}
      failure_policy: FAIL_RELOAD
      reload_config: {{ backoff: {{ base_interval: 0.05s }} }}
      vm_config:
        vm_id: {vm_id}{USE}
        runtime: envoy.wasm.runtime.v8
        code: {{ local: {{ filename: \"{}\" }} }}
{}      configuration:
{}",
            self.module_path().display(),
            indent(6, fields),
            indent(8, configuration)
        )
    }
}

/// Returns the path of the filter's module: `$TOLLGATE_WASM`, or the output of `make wasm`.
///
/// # Panics
///
/// If the module does not exist.
#[must_use]
pub fn wasm_module() -> PathBuf {
    built("tollgate.wasm", "TOLLGATE_WASM", "make wasm")
}

/// Returns the path of the module that ends stopped streams: `$TOLLGATE_FINISHER`, or the output of
/// `make finisher`.
pub(super) fn finisher_module() -> PathBuf {
    built("libtollgate_finisher.so", "TOLLGATE_FINISHER", "make finisher")
}

/// Returns that module as an HTTP filter, a YAML list item.
///
/// # Panics
///
/// If the module does not exist.
#[must_use]
pub fn finisher() -> String {
    format!(
        "- name: tollgate_finisher
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
    dynamic_module_config: {{ module: {{ local: {{ filename: \"{}\" }} }} }}
    filter_name: tollgate_finisher
",
        finisher_module().display()
    )
}

/// Returns the output of `made_by` in `target/`, unless the environment names another file.
fn built(name: &str, variable: &str, made_by: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name);
    built.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}; run `{made_by}` or set {variable}=/path/to/{name}", built.display())
    })
}
