//! The exchange of one stream, with the host calls that do not depend on the callback.
//!
//! In: events, from callbacks of the stream and from ticks, which resume waiting requests. Out:
//! host calls. Not here: the mapping of callbacks to events (`stream`), decisions (`exchange`).

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use proxy_wasm::types::Action;

use super::calls::{self, Buffer, Level, Map};
use super::configured::Configured;
use super::hold::Headers;
use super::lines::SharedData;
use super::vm::Vm;
use crate::exchange::{Context, Effects, Event, Exchange, HeaderEdit, Next, Wanted};
use crate::limits::{Budgets, RENEW_EVERY};
use crate::reply::Reply;
use crate::store::{Lines, Table};
use crate::units::Timestamp;

/// The exchange of one stream.
pub(super) struct Flow {
    pub(super) context: u32,
    vm: Rc<Vm>,
    pub(super) configured: Rc<Configured>,
    exchange: RefCell<Exchange>,
    /// The state of the request's headers, which the watch over holding shares.
    headers: Rc<Cell<Headers>>,
    /// The request is held, although its body has arrived.
    pub(super) waits: Cell<bool>,
    /// A reply was sent, or an error is on its way. Nothing else may follow.
    pub(super) replied: Cell<bool>,
}

impl Flow {
    pub(super) fn new(context: u32, vm: Rc<Vm>, configured: Rc<Configured>) -> Self {
        let exchange = RefCell::new(Exchange::new(configured.config.clone()));
        let headers = Rc::new(Cell::new(Headers::Held));
        let (waits, replied) = (Cell::new(false), Cell::new(false));
        Self { context, vm, configured, exchange, headers, waits, replied }
    }

    /// Runs the exchange and carries out the effects that do not depend on the callback.
    pub(super) fn handle(&self, event: Event<'_>) -> Effects {
        let lines: &dyn Lines = &SharedData;
        let table = Table::new(lines, self.configured.config.sets());
        let budgets = Budgets::new(&table, &self.vm.keys, Vm::now())
            .with_slots(&self.vm.slots)
            .with_recent(&self.vm.recent);
        let (Ok(mut exchange), Ok(mut counter), Ok(mut models)) = (
            self.exchange.try_borrow_mut(),
            self.vm.counter.try_borrow_mut(),
            self.vm.models.try_borrow_mut(),
        ) else {
            // Callbacks do not nest in the host, so this cannot happen. If it did, the call would
            // pass uncounted.
            return Effects::default();
        };
        let remote = self.configured.remote.as_deref();
        let mut breaker = remote.and_then(|remote| remote.breaker.try_borrow_mut().ok());
        let mut context = Context {
            budgets: &budgets,
            counter: &mut counter,
            models: &mut models,
            jitter: self.vm.jitter(),
            breaker: breaker.as_deref_mut(),
        };
        let mut effects = exchange.handle(event, &mut context);
        for (fact, value) in &effects.facts {
            let _ = calls::set_property(fact.name(), value.text().as_bytes());
        }
        for count in &effects.counts {
            self.vm.count(count);
        }
        for line in &effects.log {
            calls::log(Level::Info, line);
        }
        for warning in &effects.warnings {
            self.vm.warn(warning);
        }
        let tasks = core::mem::take(&mut effects.tasks);
        if let Some(due) = remote.filter(|_| !tasks.is_empty()).and_then(|remote| remote.push(tasks)) {
            self.configured.ticker.wake_within(due);
        }
        if self.vm.has_slots() {
            self.configured.ticker.wake_within(RENEW_EVERY);
        }
        if let Some(due) = self.vm.counts_due() {
            self.configured.ticker.wake_within(due);
        }
        effects
    }

    /// Returns whether the exchange holds the request.
    pub(super) fn is_held(&self) -> bool {
        self.exchange.try_borrow().is_ok_and(|exchange| exchange.is_held())
    }

    /// Returns whether the exchange needs such an event now.
    pub(super) fn wants(&self, wanted: Wanted) -> bool {
        self.exchange.try_borrow().is_ok_and(|exchange| exchange.wants(wanted))
    }

    /// Holds the request until its body has arrived, if the host can.
    pub(super) fn hold(&self) {
        self.configured.watch.hold(self.context, &self.headers);
    }

    /// Records that `size` bytes of the request's body, or its trailers, were delivered.
    pub(super) fn saw_body(&self, size: usize) {
        self.configured.watch.saw_body(size, &self.headers);
    }

    pub(super) fn headers_are(&self) -> Headers {
        self.headers.get()
    }

    pub(super) fn set_headers(&self, headers: Headers) {
        self.headers.set(headers);
    }

    pub(super) fn reply(&self, reply: &Reply) -> Action {
        self.replied.set(true);
        let Reply { status, fields, added, body, details } = reply;
        let ours = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let theirs = added.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        if let Err(status) = calls::send_reply(*status, details, ours.chain(theirs), body.as_bytes()) {
            calls::log(Level::Warn, &format!("tollgate: a refusal could not be sent: {status:?}"));
        }
        // The host stops a request that has a reply, whatever this returns.
        Action::Pause
    }

    /// Holds the request until `until`.
    pub(super) fn wait(self: &Rc<Self>, until: Timestamp) {
        self.waits.set(true);
        self.configured.ticker.wake_within(self.configured.waiting.add(self.clone(), until));
    }

    /// Checks a waiting request again, in its own context. Returns the new end of its wait, if it
    /// must wait on.
    pub(super) fn look_again(&self) -> Option<Timestamp> {
        let effects = self.handle(Event::Due);
        match effects.next {
            Next::Wait { until } => return Some(until),
            Next::Reply(reply) => {
                self.waits.set(false);
                self.reply(&reply);
            }
            _ => self.go_on(&effects),
        }
        None
    }

    /// Resumes a held request.
    pub(super) fn go_on(&self, effects: &Effects) {
        if self.waits.take() {
            replace_request(effects.piece.as_deref());
            change_headers(Map::RequestHeaders, &effects.headers);
            self.set_headers(Headers::Released);
            let _ = calls::resume_request();
        }
    }
}

/// Replaces the bytes of the request that the host has, if there are others to pass on.
pub(super) fn replace_request(bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        // A failure is ignored, as for headers: the bytes pass as they came.
        let _ = calls::replace_buffer(Buffer::RequestBody, usize::MAX, bytes);
    }
}

/// Changes headers, as far as they can still be changed.
pub(super) fn change_headers(map: Map, edits: &[HeaderEdit]) {
    for edit in edits {
        // A failure is ignored: a header that can no longer be changed is not worth failing a call.
        let _ = match edit {
            HeaderEdit::Set(name, value) => calls::set_header(map, name, value),
            HeaderEdit::Remove(name) => calls::remove_header(map, name),
        };
    }
}
