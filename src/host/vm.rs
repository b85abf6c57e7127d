//! The state that all configurations and streams of one VM share.
//!
//! In: nothing. Out: [`Vm`]. Not here: anything of one configuration, because old and new ones
//! coexist while Envoy drains a listener.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::calls::{self, Level};
use super::counts::Counts;
use super::functions::Envoy;
use super::lines::{claim, shared_once};
use super::remote::Remote;
use crate::exchange::Warning;
use crate::limits::{Budgets, RENEW_EVERY, RecentRecords, Slots};
use crate::metrics::{Count, ModelLabels};
use crate::rls::{SOON, Service};
use crate::store::KeyHasher;
use crate::tokens::Counter;
use crate::units::{Span, Timestamp};

/// The state of one VM.
pub(super) struct Vm {
    pub(super) counter: RefCell<Counter>,
    pub(super) models: RefCell<ModelLabels>,
    pub(super) keys: KeyHasher,
    /// Keys the hashes of secrets if no salt is configured; the same in the whole process.
    pub(super) secret: [u8; 16],
    counts: RefCell<Counts>,
    dice: Cell<u64>,
    remotes: RefCell<Vec<Rc<Remote>>>,
    /// The slots of calls in flight, which this VM renews.
    pub(super) slots: RefCell<Slots>,
    renewed_at: Cell<Timestamp>,
    /// Records of the table that this VM has read lately.
    pub(super) recent: RefCell<RecentRecords>,
    /// Topics for which some worker has logged a warning.
    warned: RefCell<Vec<String>>,
}

thread_local! {
    static VM: RefCell<Option<Rc<Vm>>> = const { RefCell::new(None) };
}

impl Vm {
    /// Returns this VM's state, which the first call makes while the VM starts.
    pub(super) fn shared() -> Rc<Self> {
        VM.with_borrow_mut(|vm| vm.get_or_insert_with(|| Rc::new(Self::new())).clone())
    }

    fn new() -> Self {
        let secret = shared_once("secret", || calls::random().ok()).unwrap_or_else(|| {
            calls::log(
                Level::Warn,
                "tollgate: the host gives no random bytes; keys of budgets are not secret",
            );
            [0; 16]
        });
        let dice = calls::random().map_or_else(|_| calls::now(), u64::from_le_bytes);
        Self {
            counter: RefCell::new(Counter::new(secret)),
            models: RefCell::default(),
            keys: KeyHasher::new(&secret),
            secret,
            counts: RefCell::new(Counts::new(Rc::new(Envoy))),
            dice: Cell::new(dice | 1),
            remotes: RefCell::default(),
            slots: RefCell::default(),
            renewed_at: Cell::default(),
            recent: RefCell::default(),
            warned: RefCell::default(),
        }
    }

    /// Returns the time.
    pub(super) fn now() -> Timestamp {
        Timestamp(calls::now())
    }

    /// Returns a number random enough to spread callers in time: xorshift64 (Marsaglia 2003).
    pub(super) fn jitter(&self) -> u32 {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        u32::try_from(dice >> 32).unwrap_or_default()
    }

    /// Returns whether any calls in flight occupy slots.
    pub(super) fn has_slots(&self) -> bool {
        self.slots.try_borrow().is_ok_and(|slots| !slots.is_empty())
    }

    /// Renews the slots of calls in flight when that is due; many slots take several ticks. Returns
    /// the time to the next renewal, if slots are left.
    pub(super) fn renew_slots(&self, budgets: &Budgets<'_>) -> Option<Span> {
        let mut slots = self.slots.try_borrow_mut().ok()?;
        let now = budgets.now();
        let renewed_at = self.renewed_at.get();
        let is_set_back = now < renewed_at;
        let mut next = Span(RENEW_EVERY.0.saturating_sub(now.since(renewed_at).0));
        if next.is_zero() || is_set_back {
            if !slots.renew(budgets) {
                return Some(SOON);
            }
            self.renewed_at.set(now);
            next = RENEW_EVERY;
        }
        (!slots.is_empty()).then_some(next)
    }

    /// Returns this VM's side of a service.
    pub(super) fn remote(&self, service: &Rc<Service>) -> Rc<Remote> {
        let mut remotes = self.remotes.borrow_mut();
        // Forgets services that no configuration uses any more and that have nothing to send.
        remotes.retain(|remote| Rc::strong_count(remote) > 1 || remote.next_due().is_some());
        if let Some(known) = remotes.iter().find(|remote| remote.service == *service) {
            return known.clone();
        }
        let remote = Rc::new(Remote::new(service.clone()));
        remotes.push(remote.clone());
        remote
    }

    /// Returns all services, including those of earlier configurations with something to send.
    pub(super) fn remotes(&self) -> Vec<Rc<Remote>> {
        self.remotes.try_borrow().map(|remotes| remotes.clone()).unwrap_or_default()
    }

    /// Writes a warning to Envoy's log, unless a worker of this process has already logged its
    /// topic.
    pub(super) fn warn(&self, warning: &Warning) {
        let Ok(mut warned) = self.warned.try_borrow_mut() else { return };
        let topic = warning.topic();
        if warned.contains(&topic) {
            return;
        }
        if claim(&format!("warned/{topic}")) {
            calls::log(Level::Warn, &format!("tollgate: {warning}"));
        }
        warned.push(topic);
    }

    /// Adds to a counter, or sets a gauge. The host learns it from [`Self::write_counts`].
    pub(super) fn count(&self, count: &Count) {
        if let Ok(mut counts) = self.counts.try_borrow_mut() {
            counts.add(count);
        }
    }

    /// Returns the time within which counts must be written, if there are any.
    pub(super) fn counts_due(&self) -> Option<Span> {
        self.counts.try_borrow().ok()?.due()
    }

    /// Writes all counts to the host.
    pub(super) fn write_counts(&self) {
        if let Ok(mut counts) = self.counts.try_borrow_mut() {
            counts.write();
        }
    }
}
