//! Counters in this process, under one lock.
//!
//! In: charges. Out: standings. Ended windows are removed whenever the number of counters has
//! doubled, so there are at most twice as many as are in use. Not here: persistence.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use limitador::counter::Counter;
use tokio::time::Instant;

use super::{Act, Amount, Charge, MOST, Standing};

/// Below this number of counters none is removed.
const FEW: usize = 1024;

/// The counters of this process.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    open: HashMap<Counter, Window>,
    kept: usize,
}

struct Window {
    used: u64,
    until: Instant,
}

impl Memory {
    pub(crate) fn apply(&self, act: Act, charges: &[Charge]) -> Vec<Standing> {
        // A poisoned lock is safe, because no code below can panic in the middle of a change.
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.apply(act, charges, Instant::now())
    }
}

impl Windows {
    fn apply(&mut self, act: Act, charges: &[Charge], now: Instant) -> Vec<Standing> {
        if !matches!(act, Act::Look) {
            self.give_back(charges, now);
        }
        let is_over = self.which_are_over(act, charges, now);
        if matches!(act, Act::Count) || (matches!(act, Act::Fit) && !is_over.contains(&true)) {
            self.take(charges, now);
        }
        charges
            .iter()
            .zip(is_over)
            .map(|(charge, is_over)| {
                let window = self.window(&charge.counter, now);
                Standing {
                    is_over,
                    used: window.map_or(0, |window| window.used),
                    resets_in: window.map_or_else(|| charge.counter.window(), |window| window.until - now),
                }
            })
            .collect()
    }

    fn give_back(&mut self, charges: &[Charge], now: Instant) {
        for charge in charges {
            if let Amount::GiveBack(amount) = charge.amount
                && let Some(window) = self.open.get_mut(&charge.counter).filter(|window| window.until > now)
            {
                window.used = window.used.saturating_sub(amount);
            }
        }
    }

    /// Returns which charges do not fit. Charges of one call to the same counter add up.
    fn which_are_over(&self, act: Act, charges: &[Charge], now: Instant) -> Vec<bool> {
        let mut used: HashMap<&Counter, u64> = HashMap::new();
        let mut is_over = Vec::with_capacity(charges.len());
        for Charge { counter, amount } in charges {
            let Amount::Take(amount) = *amount else {
                is_over.push(false);
                continue;
            };
            let used = used
                .entry(counter)
                .or_insert_with(|| self.window(counter, now).map_or(0, |window| window.used));
            let then = used.saturating_add(amount).min(MOST + 1);
            let does_not_fit = then > counter.max_value();
            if !does_not_fit || matches!(act, Act::Count) {
                *used = then;
            }
            is_over.push(does_not_fit);
        }
        is_over
    }

    fn take(&mut self, charges: &[Charge], now: Instant) {
        for Charge { counter, amount } in charges {
            let (Amount::Take(amount @ 1..), counter) = (*amount, counter) else { continue };
            self.make_room(now);
            let fresh = || Window { used: 0, until: now + counter.window() };
            let window = self.open.entry(counter.clone()).or_insert_with(fresh);
            if window.until <= now {
                *window = fresh();
            }
            window.used = window.used.saturating_add(amount).min(MOST);
        }
    }

    fn window(&self, counter: &Counter, now: Instant) -> Option<&Window> {
        self.open.get(counter).filter(|window| window.until > now)
    }

    fn make_room(&mut self, now: Instant) {
        if self.open.len() >= FEW.max(self.kept.saturating_mul(2)) {
            self.open.retain(|_, window| window.until > now);
            self.kept = self.open.len();
        }
    }
}
