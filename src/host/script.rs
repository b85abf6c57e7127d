//! A scripted host for native tests: a clock under control, requests that come in pieces, shared
//! data, metrics.

use core::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::functions::Functions;
use crate::metrics::Kind;
use crate::units::Timestamp;

/// The state of the scripted host and its answers.
#[derive(Default)]
pub(super) struct Script {
    pub(super) now: Cell<u64>,
    /// The sizes of the existing requests, by their contexts.
    pub(super) requests: RefCell<BTreeMap<u32, u64>>,
    /// The current request.
    pub(super) at_hand: Cell<u32>,
    pub(super) resumed: RefCell<Vec<u32>>,
    pub(super) data: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) periods: RefCell<Vec<u32>>,
    pub(super) has_no_ticks: bool,
    pub(super) warnings: RefCell<Vec<String>>,
    /// The names of the defined metrics; their positions are their numbers.
    pub(super) metrics: RefCell<Vec<String>>,
    pub(super) has_no_metrics: Cell<bool>,
    /// The names of written metrics, with the increments of counters and the values of gauges.
    pub(super) writes: RefCell<Vec<(String, u64)>>,
}

impl Functions for Script {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.get())
    }

    fn request_size(&self) -> u64 {
        self.requests.borrow().get(&self.at_hand.get()).copied().unwrap_or(0)
    }

    fn switch_to(&self, context: u32) -> bool {
        self.at_hand.set(context);
        self.requests.borrow().contains_key(&context)
    }

    fn resume_request(&self) {
        self.resumed.borrow_mut().push(self.at_hand.get());
    }

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        (self.data.borrow().get(key).cloned().unwrap_or_default(), 1)
    }

    fn share(&self, key: &str, value: &[u8], _: u32) -> bool {
        self.data.borrow_mut().insert(key.to_owned(), value.to_vec());
        false
    }

    fn set_tick_period(&self, millis: u32) -> bool {
        self.periods.borrow_mut().push(millis);
        !self.has_no_ticks
    }

    fn warn(&self, text: &str) {
        self.warnings.borrow_mut().push(text.to_owned());
    }

    fn define_metric(&self, _: Kind, name: &str) -> Option<u32> {
        let mut metrics = self.metrics.borrow_mut();
        metrics.push(name.to_owned());
        (!self.has_no_metrics.get()).then(|| u32::try_from(metrics.len() - 1).unwrap())
    }

    fn increment_metric(&self, counter: u32, by: u64) {
        self.record_metric(counter, by);
    }

    fn record_metric(&self, gauge: u32, value: u64) {
        let name = self.metrics.borrow()[gauge as usize].clone();
        self.writes.borrow_mut().push((name, value));
    }
}
