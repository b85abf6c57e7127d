//! The root context: it is configured, ticks, and makes a context for each stream.
//!
//! In: the host's callbacks. Out: a configuration, streams under it. Not here: reading options (`settings`).

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::configured::Configured;
use super::stream::Stream;
use super::vm::Vm;

/// One configuration in one VM.
pub(super) struct Root {
    vm: Rc<Vm>,
    configured: Option<Rc<Configured>>,
}

impl Root {
    pub(super) fn new() -> Self {
        Self { vm: Vm::shared(), configured: None }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.configured = Configured::read(size, &self.vm.secret).map(Rc::new);
        self.configured.is_some()
    }

    fn on_tick(&mut self) {
        if let Some(configured) = &self.configured {
            configured.watch.tick();
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
