//! The ticks of one configuration: as often as somebody needs them, and none when nobody does.
//!
//! In: wishes to be called soon. Out: the host's tick period. Not here: what is done on a tick.
//!
//! The host starts the period anew whenever it is set, so that a wish repeated often enough would put the tick off for ever:
//! it is set only where a tick is wanted sooner than it would come.

use core::cell::Cell;

use super::calls::{self, Level};
use crate::units::Span;

/// The period that the host has been told; 0 is none.
#[derive(Default)]
pub(super) struct Ticker {
    period: Cell<u32>,
}

impl Ticker {
    /// A tick is wanted within this time.
    pub(super) fn wake_within(&self, span: Span) {
        let millis = millis(span);
        if self.period.get() == 0 || millis < self.period.get() {
            self.set(millis);
        }
    }

    /// A tick has come: when the next is wanted, if at all.
    pub(super) fn go_on(&self, next: Option<Span>) {
        let millis = next.map_or(0, millis);
        if millis != self.period.get() {
            self.set(millis);
        }
    }

    fn set(&self, millis: u32) {
        if calls::set_tick_period(millis).is_ok() {
            self.period.set(millis);
        } else {
            calls::log(
                Level::Warn,
                "tollgate: the host has no ticks; set `hold` to `always` or `never`, and no `global`",
            );
        }
    }
}

/// At least one: zero means never.
fn millis(span: Span) -> u32 {
    u32::try_from(span.as_millis_ceil()).unwrap_or(u32::MAX).max(1)
}
