//! Counts the calls in flight, without those whose slots are no longer renewed.
//!
//! In: calls that begin and end, the time that passed. Out: the number of calls. Not here: which
//! time counts (`budget`), renewing slots (`slots`).
//!
//! Time is cut into terms of one window each. A call counts in the term in which it began, and each
//! renewal moves it to the present term. A call that still counts in the term before the last
//! belongs to a worker whose VM has trapped. So the slots of a dead VM are forgotten one to two
//! terms after their last renewal, and a slot renewed once in every term never is.

use super::shape::Shape;
use crate::units::{Span, Timestamp};

/// The wait when all slots are taken; the end of a call cannot be predicted.
pub(in crate::limits) const TRY_AGAIN: Span = Span::from_secs(1);

/// Calls in flight, by the term of their last renewal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::limits) struct InFlight {
    /// Calls of the present term.
    pub(in crate::limits) present: u64,
    /// Calls of the last term.
    pub(in crate::limits) last: u64,
}

impl InFlight {
    pub(in crate::limits) const fn count(self) -> u64 {
        self.present.saturating_add(self.last)
    }

    /// Advances from the term of `from` to that of `to`. A step back changes nothing.
    pub(in crate::limits) fn advance(&mut self, shape: &Shape, from: Timestamp, to: Timestamp) {
        *self = match term(shape, to).saturating_sub(term(shape, from)) {
            0 => *self,
            1 => Self { present: 0, last: self.present },
            _ => Self::default(),
        };
    }

    pub(in crate::limits) fn charge(&mut self, calls: u64) {
        self.present = self.present.saturating_add(calls);
    }

    /// Gives back calls that were last renewed at `renewed_at`, and returns how many were still
    /// counted.
    pub(in crate::limits) fn refund(
        &mut self,
        shape: &Shape,
        calls: u64,
        renewed_at: Timestamp,
        at: Timestamp,
    ) -> u64 {
        let counted = match term(shape, at).saturating_sub(term(shape, renewed_at)) {
            0 => &mut self.present,
            1 => &mut self.last,
            _ => return 0,
        };
        let returned = calls.min(*counted);
        *counted = counted.saturating_sub(returned);
        returned
    }

    /// Returns the time until no call counts any more, if none is renewed.
    pub(in crate::limits) fn until_forgotten(self, shape: &Shape, at: Timestamp) -> Span {
        let terms = match self {
            Self { present: 0, last: 0 } => return Span::ZERO,
            Self { present: 0, .. } => 1,
            _ => 2,
        };
        let term = shape.window_nanos();
        let rest = term.saturating_sub(at.0.checked_rem(term).unwrap_or(0));
        Span(rest.saturating_add(term.saturating_mul(terms).saturating_sub(term)))
    }
}

fn term(shape: &Shape, at: Timestamp) -> u64 {
    at.0.checked_div(shape.window_nanos()).unwrap_or(0)
}
