//! The requests of one configuration in one VM that wait for their budgets.
//!
//! In: requests and their due times. Out: those that are due, checked again on a tick. Not here:
//! whether they may go on (`exchange`).

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::calls;
use super::flow::Flow;
use super::vm::Vm;
use crate::units::{Span, Timestamp};

/// The interval at which requests that are not yet due are checked, because another call that ends
/// early, or leaves, may have made room.
const LOOK_EVERY: Span = Span::from_millis(50);

/// The most requests checked on one tick, the earliest due first: about 10 µs each, and more for
/// one that goes on. When a window ends for thousands at once, they go on a few at a time, between
/// the worker's other calls.
const LOOK_AT: usize = 64;

/// WaitingRequests requests, in the order of their due times.
#[derive(Default)]
pub(super) struct WaitingRequests {
    all: RefCell<Vec<Waiter>>,
    /// The time of the last check of requests that were not yet due.
    looked_ahead: Cell<Timestamp>,
}

struct Waiter {
    flow: Rc<Flow>,
    due: Timestamp,
}

impl WaitingRequests {
    /// Adds a waiting request. Returns the longest time to its next check.
    pub(super) fn add(&self, flow: Rc<Flow>, due: Timestamp) -> Span {
        let mut all = self.all.borrow_mut();
        let place = all.partition_point(|waiter| waiter.due <= due);
        all.insert(place, Waiter { flow, due });
        due.since(Vm::now()).min(LOOK_EVERY)
    }

    /// Forgets a request that is over.
    pub(super) fn forget(&self, context: u32) {
        if let Ok(mut all) = self.all.try_borrow_mut() {
            all.retain(|waiter| waiter.flow.context != context);
        }
    }

    /// Checks the requests that are due, and the next ones. Returns the time to the next check, if
    /// any are left.
    ///
    /// It changes the current context.
    pub(super) fn tick(&self) -> Option<Span> {
        let now = Vm::now();
        let looked_at: Vec<Waiter> = {
            let mut all = self.all.borrow_mut();
            let due = all.partition_point(|waiter| waiter.due <= now);
            let count = if self.looks_ahead(now) { all.len() } else { due };
            all.drain(..count.min(LOOK_AT)).collect()
        };
        for Waiter { flow, .. } in looked_at {
            // A request that is gone cannot go on.
            if calls::set_effective_context(flow.context).is_err() {
                continue;
            }
            if let Some(until) = flow.look_again() {
                self.add(flow, until);
            }
        }
        let first = self.all.borrow().first().map(|waiter| waiter.due);
        first.map(|due| due.since(Vm::now()).min(LOOK_EVERY))
    }

    /// Returns whether it is time to check requests that are not yet due. Ticks come more often
    /// when many requests are due one after the other.
    fn looks_ahead(&self, now: Timestamp) -> bool {
        let last = self.looked_ahead.get();
        let is_time = now.since(last) >= LOOK_EVERY || now < last;
        if is_time {
            self.looked_ahead.set(now);
        }
        is_time
    }
}
