//! The ticks of one configuration: as frequent as needed, and off when not needed.
//!
//! In: requests for a tick. Out: the host's tick period. Not here: the work of a tick.
//!
//! The host restarts the period whenever it is set, so frequent requests would postpone the tick
//! for ever. The period is therefore set only for a tick sooner than the next one.

use core::cell::Cell;
use std::rc::Rc;

use super::functions::Functions;
use crate::units::Span;

/// The period set at the host in milliseconds; 0 is none.
pub(super) struct Ticker {
    host: Rc<dyn Functions>,
    period: Cell<u32>,
}

impl Ticker {
    pub(super) fn new(host: Rc<dyn Functions>) -> Self {
        Self { host, period: Cell::new(0) }
    }

    /// Requests a tick within this time.
    pub(super) fn wake_within(&self, span: Span) {
        let millis = millis(span);
        if self.period.get() == 0 || millis < self.period.get() {
            self.set(millis);
        }
    }

    /// Ends a tick: sets the time to the next one, or stops the ticks.
    pub(super) fn go_on(&self, next: Option<Span>) {
        let millis = next.map_or(0, millis);
        if millis != self.period.get() {
            self.set(millis);
        }
    }

    fn set(&self, millis: u32) {
        if self.host.set_tick_period(millis) {
            self.period.set(millis);
        } else {
            self.host
                .warn("tollgate: the host has no ticks; set `hold` to `always` or `never`, and no `global`");
        }
    }
}

/// Converts to whole milliseconds, at least one, because zero means never.
fn millis(span: Span) -> u32 {
    u32::try_from(span.as_millis_ceil()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::script::Script;

    #[test]
    fn the_period_is_set_only_where_a_tick_is_wanted_sooner_than_it_would_come() {
        let host = Rc::new(Script::default());
        let ticker = Ticker::new(host.clone());
        for millis in [50, 80, 50, 5] {
            ticker.wake_within(Span::from_millis(millis));
        }
        assert_eq!(host.periods.borrow().as_slice(), [50, 5]);
    }

    #[test]
    fn after_a_tick_the_period_is_what_is_wanted_next() {
        let host = Rc::new(Script::default());
        let ticker = Ticker::new(host.clone());
        ticker.wake_within(Span::from_millis(5));
        for next in [Some(Span::from_millis(50)), Some(Span::from_millis(50)), None, None] {
            ticker.go_on(next);
        }
        ticker.wake_within(Span::ZERO);
        assert_eq!(host.periods.borrow().as_slice(), [5, 50, 0, 1]);
    }

    #[test]
    fn a_host_without_ticks_is_told_of_and_asked_again() {
        let host = Rc::new(Script { has_no_ticks: true, ..Script::default() });
        let ticker = Ticker::new(host.clone());
        ticker.wake_within(Span::from_millis(50));
        ticker.wake_within(Span::from_millis(80));
        assert_eq!(host.periods.borrow().as_slice(), [50, 80]);
        assert!(host.warnings.borrow()[0].contains("the host has no ticks"));
    }
}
