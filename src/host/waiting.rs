//! Requests under one configuration, in one VM, that wait for their budgets.
//!
//! In: requests, and when they will be due. Out: those that are due, looked at again on a tick. Not
//! here: whether they may go on (`exchange`).

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::calls;
use super::flow::Flow;
use super::vm::Vm;
use crate::units::{Span, Timestamp};

/// How often requests that are not yet due are looked at: another call that ends early, or leaves,
/// may have made room.
const LOOK_EVERY: Span = Span::from_millis(50);

/// How many are looked at on one tick, the next ones first: some 10 us each, and more for one that
/// goes on. When a window ends for thousands at once, they go on a few at a time, with the worker's
/// other calls between them.
const LOOK_AT: usize = 64;

/// Requests that wait, in the order in which they will be due.
#[derive(Default)]
pub(super) struct Waiting {
    all: RefCell<Vec<Waiter>>,
    /// When those were last looked at that are not yet due.
    looked_ahead: Cell<Timestamp>,
}

struct Waiter {
    flow: Rc<Flow>,
    due: Timestamp,
}

impl Waiting {
    /// A request waits. When to look at it, at the latest.
    pub(super) fn add(&self, flow: Rc<Flow>, due: Timestamp) -> Span {
        let mut all = self.all.borrow_mut();
        let place = all.partition_point(|waiter| waiter.due <= due);
        all.insert(place, Waiter { flow, due });
        due.since(Vm::now()).min(LOOK_EVERY)
    }

    /// A request is over.
    pub(super) fn forget(&self, context: u32) {
        if let Ok(mut all) = self.all.try_borrow_mut() {
            all.retain(|waiter| waiter.flow.context != context);
        }
    }

    /// Looks at those that are due, and at the next ones. When to do so again, if any are left.
    ///
    /// Other contexts are at hand after it.
    pub(super) fn tick(&self) -> Option<Span> {
        let now = Vm::now();
        let looked_at: Vec<Waiter> = {
            let mut all = self.all.borrow_mut();
            let due = all.partition_point(|waiter| waiter.due <= now);
            let count = if self.looks_ahead(now) { all.len() } else { due };
            all.drain(..count.min(LOOK_AT)).collect()
        };
        for Waiter { flow, .. } in looked_at {
            // One that is gone has nothing to go on with.
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

    /// Whether it is time to look at those that are not yet due; ticks come more often than that
    /// when many are due one after the other.
    fn looks_ahead(&self, now: Timestamp) -> bool {
        let last = self.looked_ahead.get();
        let is_time = now.since(last) >= LOOK_EVERY || now < last;
        if is_time {
            self.looked_ahead.set(now);
        }
        is_time
    }
}
