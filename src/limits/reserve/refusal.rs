//! The refusal of a call by a limit, with its reason and wait.
//!
//! In: the standing of a budget, a call's need. Out: a [`Refusal`]. Not here: the reply to the
//! caller (`reply`).

use core::borrow::Borrow;
use core::cmp::Reverse;
use std::rc::Rc;

use crate::limits::budget::Wait;
use crate::limits::limit::{Limit, Standing};
use crate::units::{Amount, Span};

/// The refusal of a call; nothing is charged for it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The limit with the longest wait, and the standing of its budget.
    pub standing: Standing,
    /// The amount that the call needs.
    pub needed: Amount,
    /// The wait until it fits.
    pub wait: Wait,
    /// The reason.
    pub reason: Reason,
}

/// The reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The budget is known, and the call does not fit.
    Spent,
    /// The same, and the budget is reserved for the call at the promised moment.
    Promised,
    /// The budget is unknown, and an unknown budget must not let calls pass.
    Unknown,
}

impl Refusal {
    /// Returns whether the call would fit after at most `patience`.
    pub(in crate::limits) fn is_within(&self, patience: Span) -> bool {
        matches!(self.wait, Wait::For(span) if span <= patience) && self.reason == Reason::Spent
    }

    /// Returns the wait as a span; the longest one for a call that never fits.
    pub(in crate::limits) const fn span(&self) -> Span {
        match self.wait {
            Wait::For(span) => span,
            Wait::Never => Span::MAX,
        }
    }

    /// Returns a refusal for an unknown budget; a retry makes sense after `wait`.
    #[must_use]
    pub fn unknown(limit: &Rc<Limit>, needed: Amount, wait: Span) -> Self {
        let standing =
            Standing { limit: limit.clone(), available: Amount::ZERO, spent: Amount::ZERO, reset: wait };
        Self { standing, needed, wait: Wait::For(wait), reason: Reason::Unknown }
    }
}

/// The limits that refuse a call, at least one, each with its place among the limits of the call.
pub(in crate::limits) struct Refusals {
    first: Box<(usize, Refusal)>,
    further: Vec<(usize, Refusal)>,
}

impl Refusals {
    pub(in crate::limits) fn one(at: usize, refusal: Refusal) -> Self {
        Self { first: Box::new((at, refusal)), further: Vec::new() }
    }

    /// Collects refusals, if there are any.
    pub(in crate::limits) fn of(mut refusals: impl Iterator<Item = (usize, Refusal)>) -> Option<Self> {
        let first = Box::new(refusals.next()?);
        Some(Self { first, further: refusals.collect() })
    }

    /// Adds refusals of other limits.
    pub(in crate::limits) fn and(mut self, refusals: impl Iterator<Item = (usize, Refusal)>) -> Self {
        self.further.extend(refusals);
        self
    }

    pub(in crate::limits) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Refusal> {
        self.further.iter_mut().chain([&mut *self.first]).map(|(_, refusal)| refusal)
    }

    /// Returns the refusal with the longest wait; of several, that of the first limit.
    pub(in crate::limits) fn longest(self) -> Refusal {
        let rank = |(at, refusal): &(usize, Refusal)| (refusal.span(), Reverse(*at));
        let later = |longest, other| if rank(&other) > rank(&longest) { other } else { longest };
        self.further.into_iter().fold(*self.first, later).1
    }
}

/// Returns the refusal with the longest wait.
#[must_use]
pub fn longest<R: Borrow<Refusal>>(refusals: impl Iterator<Item = R>) -> Option<R> {
    refusals.max_by_key(|refusal| refusal.borrow().span())
}
