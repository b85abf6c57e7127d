//! The root context: receives the configuration and ticks, and makes a context for each stream.
//!
//! In: the host's callbacks. Out: a configuration, streams under it. Not here: reading options
//! (`settings`).

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::calls::grpc_answer;
use super::configured::Configured;
use super::lines::SharedData;
use super::stream::Stream;
use super::vm::Vm;
use crate::limits::Budgets;
use crate::rls::SOON;
use crate::store::{Lines, Table};
use crate::units::Span;

/// The shortest time to the next tick for waiting requests.
const NEXT: Span = Span::from_millis(1);

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

impl Root {
    fn with_budgets<T>(&self, configured: &Configured, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let lines: &dyn Lines = &SharedData;
        let table = Table::new(lines, configured.config.sets());
        run(&Budgets::new(&table, &self.vm.keys, Vm::now()))
    }
}

impl Context for Root {
    /// Handles the rate limit service's answer to a task.
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let Some(configured) = &self.configured else { return };
        let message = grpc_answer(status, size);
        let answer = message.as_deref().map_err(|failure| *failure);
        let remotes = self.vm.remotes();
        self.with_budgets(configured, |budgets| {
            remotes.iter().any(|remote| remote.answered(token, answer, &self.vm, budgets));
        });
        // Failed tasks are retried before the tick that looks for missing answers.
        let due = remotes.iter().filter_map(|remote| remote.next_due()).map(|span| span.max(SOON));
        if let Some(due) = due.chain(self.vm.counts_due()).min() {
            configured.ticker.wake_within(due);
        }
    }

    /// Writes the last counts. The host ends a configuration after its last stream.
    fn on_done(&mut self) -> bool {
        self.vm.write_counts();
        true
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        self.configured = Configured::read(size, &self.vm).map(Rc::new);
        self.configured.is_some()
    }

    fn on_tick(&mut self) {
        let Some(configured) = &self.configured else { return };
        let remotes = self.vm.remotes();
        // This precedes the resuming of requests, which changes the current context and so the
        // receiver of answers.
        let renewal = self.with_budgets(configured, |budgets| {
            remotes.iter().for_each(|remote| remote.send_due(&self.vm, budgets));
            self.vm.renew_slots(budgets)
        });
        let due = remotes.iter().filter_map(|remote| remote.next_due());
        let due = due.chain(renewal).chain(configured.watch.tick()).map(|span| span.max(SOON));
        let due = due.chain(configured.waiting.tick().map(|span| span.max(NEXT)));
        // This follows everything that counts. Where there was something to write, there soon is
        // again.
        let due = due.chain(self.vm.counts_due()).min();
        self.vm.write_counts();
        configured.ticker.go_on(due);
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // Without a configuration there are no streams, because the host has refused the filter.
        let configured = self.configured.clone()?;
        Some(Box::new(Stream::new(context_id, self.vm.clone(), configured)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
