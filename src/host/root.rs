//! The root context: one configuration in one VM.
//!
//! In: the plugin configuration, ticks. Out: streams under that configuration. Not here: reading options (`settings`).

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::calls::{self, Buffer, Level};
use super::hold::{WATCHED_FOR_MILLIS, Watch};
use super::stream::Stream;
use super::vm::Vm;
use crate::settings::Config;

/// One configuration in one VM.
pub(super) struct Root {
    vm: Rc<Vm>,
    configured: Option<Rc<Configured>>,
}

/// What streams need of their configuration.
pub(super) struct Configured {
    pub(super) config: Rc<Config>,
    pub(super) watch: Watch,
}

impl Root {
    pub(super) fn new() -> Self {
        Self { vm: Vm::shared(), configured: None }
    }

    /// Reads the configuration.
    fn configure(&self, size: usize) -> Option<Configured> {
        let bytes = match calls::buffer(Buffer::PluginConfiguration, size) {
            Ok(bytes) => bytes,
            Err(status) => {
                calls::log(
                    Level::Error,
                    &format!("tollgate: the host does not hand over the configuration: {status:?}"),
                );
                return None;
            }
        };
        match Config::read(&bytes, &self.vm.secret) {
            Ok(config) => {
                let watch = Watch::new(config.hold, &name());
                Some(Configured { config: Rc::new(config), watch })
            }
            Err(errors) => {
                calls::log(Level::Error, &format!("tollgate: the configuration is refused:\n{errors}"));
                None
            }
        }
    }
}

/// Tells filters of one process apart.
fn name() -> String {
    let plugin = calls::property(&["plugin_name"]).unwrap_or_default();
    let listener = calls::property(&["plugin_root_id"]).unwrap_or_default();
    format!("{}/{}", String::from_utf8_lossy(&plugin), String::from_utf8_lossy(&listener))
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.configured = self.configure(size).map(Rc::new);
        let Some(configured) = &self.configured else { return false };
        if configured.watch.is_open() && calls::set_tick_period(WATCHED_FOR_MILLIS).is_err() {
            calls::log(Level::Warn, "tollgate: the host has no ticks; set `hold` to `always` or `never`");
        }
        true
    }

    fn on_tick(&mut self) {
        let Some(configured) = &self.configured else { return };
        configured.watch.tick();
        if !configured.watch.is_open() {
            let _ = calls::set_tick_period(0);
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // Without a configuration there is no stream: the host has refused the filter.
        let configured = self.configured.clone()?;
        Some(Box::new(Stream::new(context_id, self.vm.clone(), configured)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
