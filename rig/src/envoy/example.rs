//! The configurations that users copy, `envoy/envoy.yaml` and `envoy/envoy-global.yaml`, on ports
//! of the system's choice, so that several can run.
//!
//! In: the upstream to use, and the rate limit service. Out: a [`Setup`] that differs from the file
//! only in addresses and the paths of the modules. Not here: the files themselves.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::Setup;
use super::filter::{finisher_module, wasm_module};

/// Texts that occur exactly once in both files.
const ADMIN: &str = "address: 127.0.0.1, port_value: 9901 ";
const LISTENER: &str = "address: 127.0.0.1, port_value: 10000 ";
const UPSTREAM: &str = "address: 127.0.0.1, port_value: 8000 ";
const MODULE: &str = "target/tollgate.wasm }";

/// A text that only the first file has.
const FINISHER: &str = "target/libtollgate_finisher.so }";

/// A text that only the second file has.
const SERVICE: &str = "address: 127.0.0.1, port_value: 8081 ";

/// Returns `envoy/envoy.yaml` in front of `upstream`, on free ports, with four workers.
///
/// # Panics
///
/// If the file does not exist, or lacks a text to replace.
#[must_use]
pub fn example(upstream: SocketAddr) -> Setup {
    setup("envoy/envoy.yaml", &[(UPSTREAM, address(upstream)), (FINISHER, module(&finisher_module()))])
}

/// Returns `envoy/envoy-global.yaml` in front of `upstream`, with the rate limit service `service`,
/// on free ports, with four workers.
///
/// # Panics
///
/// As [`example`].
#[must_use]
pub fn example_global(upstream: SocketAddr, service: SocketAddr) -> Setup {
    setup("envoy/envoy-global.yaml", &[(UPSTREAM, address(upstream)), (SERVICE, address(service))])
}

fn setup(file: &str, own: &[(&'static str, String)]) -> Setup {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let any_port = "address: 127.0.0.1, port_value: 0 ";
    let fixed =
        [(ADMIN, any_port.to_owned()), (LISTENER, any_port.to_owned()), (MODULE, module(&wasm_module()))];
    let bootstrap = fixed.iter().chain(own).fold(text, |text, (from, to)| {
        let found = text.matches(*from).count();
        assert_eq!(found, 1, "{} has {from:?} {found} times", path.display());
        text.replace(*from, to)
    });
    Setup { bootstrap, concurrency: 4, ..Setup::default() }
}

fn address(server: SocketAddr) -> String {
    format!("address: {}, port_value: {} ", server.ip(), server.port())
}

fn module(path: &Path) -> String {
    format!("\"{}\" }}", path.display())
}
