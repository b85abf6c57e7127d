//! Why a limit refuses a call, and for how long.
//!
//! In: where a budget stands, what a call needs. Out: a [`Refusal`]. Not here: what the caller is
//! told (`reply`).

use core::borrow::Borrow;
use std::rc::Rc;

use crate::limits::budget::Wait;
use crate::limits::limit::{Limit, Standing};
use crate::units::{Amount, Span};

/// A call may not pass; nothing is held for it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The limit that has to be waited for longest, and where its budget stands.
    pub standing: Standing,
    /// The amount that the call needs of it.
    pub needed: Amount,
    /// How long until that fits.
    pub wait: Wait,
    /// The ground that it rests on.
    pub reason: Reason,
}

/// The ground that a refusal rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The budget is known, and the call does not fit.
    Spent,
    /// The same, and the budget is kept for the call at the moment that it is told.
    Promised,
    /// Where the budget stands cannot be found out: what is not known to fit must not pass for
    /// free.
    Unknown,
}

impl Refusal {
    /// Whether the call would fit if it waited so long, which calls in flight are not waited for.
    pub(in crate::limits) fn is_within(&self, patience: Span) -> bool {
        matches!(self.wait, Wait::For(span) if span <= patience) && self.reason == Reason::Spent
    }

    /// How long it has to be waited for.
    pub(in crate::limits) const fn span(&self) -> Span {
        match self.wait {
            Wait::For(span) => span,
            Wait::Never => Span::MAX,
        }
    }

    /// Nobody knows where the budget stands; it is worth asking again after `wait`.
    #[must_use]
    pub fn unknown(limit: &Rc<Limit>, needed: Amount, wait: Span) -> Self {
        let standing =
            Standing { limit: limit.clone(), available: Amount::ZERO, spent: Amount::ZERO, reset: wait };
        Self { standing, needed, wait: Wait::For(wait), reason: Reason::Unknown }
    }
}

/// The refusal that has to be waited for longest.
#[must_use]
pub fn longest<R: Borrow<Refusal>>(refusals: impl Iterator<Item = R>) -> Option<R> {
    refusals.max_by_key(|refusal| refusal.borrow().span())
}
