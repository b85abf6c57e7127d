//! The rate limit service of a configuration in one VM: the requests under way, and the breaker.
//!
//! In: tasks, ticks, answers. Out: gRPC calls from the root context, so that their answers arrive
//! even if the streams are gone. Not here: the messages (`rls`).
//!
//! A VM has one of these for each distinct service, however often it is reconfigured, because tasks
//! outlive the configuration that they come from.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use super::calls;
use super::vm::Vm;
use crate::limits::Budgets;
use crate::rls::{Breaker, Change, Failure, Health, Question, ReportQueue, Service, TASK_TIMEOUT, Task};
use crate::units::Span;

/// One service.
pub(super) struct Remote {
    pub(super) service: Rc<Service>,
    upstream: String,
    pub(super) breaker: RefCell<Breaker>,
    report_queue: RefCell<ReportQueue>,
}

impl Remote {
    pub(super) fn new(service: Rc<Service>) -> Self {
        let breaker = RefCell::new(Breaker::new(service.breaker));
        Self { upstream: service.upstream(), breaker, report_queue: RefCell::default(), service }
    }

    /// Sends a question for the current context. Returns the number of its answer.
    pub(super) fn send(&self, question: &Question, timeout: Span) -> Result<u32, Failure> {
        let Question { method, message, .. } = question;
        let timeout = Duration::from_nanos(timeout.0);
        calls::grpc_call(&self.upstream, method.service, method.name, message, timeout)
            .map_err(|_| Failure::Unavailable)
    }

    /// Queues tasks. Returns the time until the first is due.
    pub(super) fn push(&self, tasks: Vec<Task>) -> Option<Span> {
        let (mut report_queue, now) = (self.report_queue.try_borrow_mut().ok()?, Vm::now());
        tasks.into_iter().map(|task| report_queue.push(task, now)).min()
    }

    /// Sends the tasks that are due. Only the root context may call this.
    pub(super) fn send_due(&self, vm: &Vm, budgets: &Budgets<'_>) {
        let (Ok(mut report_queue), Ok(mut breaker)) =
            (self.report_queue.try_borrow_mut(), self.breaker.try_borrow_mut())
        else {
            return;
        };
        for batch in report_queue.due(&self.service, &mut breaker, budgets) {
            match self.send(&batch.question, TASK_TIMEOUT) {
                Ok(token) => report_queue.sent(batch, token, budgets.now()),
                Err(_) => {
                    report_queue.not_sent(batch, budgets);
                    report(vm, breaker.answered(false, budgets.now()));
                }
            }
        }
        report_queue.take_counts().iter().for_each(|count| vm.count(count));
    }

    /// Handles an answer to the root context. Returns whether it was for this service.
    pub(super) fn answered(
        &self,
        token: u32,
        answer: Result<&[u8], Failure>,
        vm: &Vm,
        budgets: &Budgets<'_>,
    ) -> bool {
        let (Ok(mut report_queue), Ok(mut breaker)) =
            (self.report_queue.try_borrow_mut(), self.breaker.try_borrow_mut())
        else {
            return false;
        };
        let answered = report_queue.answered(token, answer, &self.service, budgets);
        match answered {
            Some(Health::Well) => report(vm, breaker.answered(true, budgets.now())),
            Some(Health::Failing) => report(vm, breaker.answered(false, budgets.now())),
            // The answer came too late for a call to use it, but it is not a failure.
            Some(Health::Slow) | None => {}
        }
        report_queue.take_counts().iter().for_each(|count| vm.count(count));
        answered.is_some()
    }

    /// Returns the time until the next task is due.
    pub(super) fn next_due(&self) -> Option<Span> {
        self.report_queue.try_borrow().ok()?.next_due(Vm::now())
    }
}

fn report(vm: &Vm, change: Option<Change>) {
    if let Some(change) = change {
        vm.count(&change.count());
    }
}
