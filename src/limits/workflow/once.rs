//! Counting a workflow once: the values of a dimension that a limit on requests has already counted
//! (`once_per`).
//!
//! In: a call's value, and the place of the request charged for it. Out: a [`Claim`] on that
//! request. The last to leave a claim is told to give the request back. Not here: budgets, and the
//! use of a claim (`workflow`).
//!
//! # How no request is forgotten
//!
//! The first call charges a request and then claims it for its value, in one compare-and-swap, so
//! there is a charge behind each claim. Others join the claim, and it counts them until one of them
//! is settled. From then on the request stays charged and joining needs no counting. A call that is
//! refused elsewhere leaves. Only the last to leave, with none settled, removes the claim and gives
//! the request back: a refused call consumes nothing, and no call relies on a request that was
//! given back.
//!
//! A worker that traps does not leave, so its request stays charged. If a full table loses a claim,
//! its request stays charged too, and the next call of the workflow is counted again: too much
//! rather than too little.

use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::remembered::record::{self, Record, Unstored};
use crate::limits::workflow::note::{self, Note, SharedCharge};
use crate::store::Key;
use crate::units::{Span, Timestamp};

/// The time for which a value is remembered after its last call, or the limit's window if that is
/// longer. People in front of an agent think, eat and come back.
const REMEMBERED_FOR: Span = Span::from_secs(3600);

/// A value of a limit's `once_per`.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct Once {
    key: Key,
    remembered_for: Span,
}

/// A call's claim on the request charged for its value.
#[derive(Debug)]
#[must_use = "a claim must be settled or left"]
pub(in crate::limits) struct Claim {
    once: Once,
    /// The request.
    pub(in crate::limits) charge: SharedCharge,
}

/// The request that a call counts by.
#[derive(Debug)]
pub(in crate::limits) enum Claimed {
    /// Its own, which others may share.
    First(Claim),
    /// Another's, so its own must be given back.
    Joined(Claim),
}

impl Once {
    /// Returns a call's value of a limit's `once_per`, or `None` if the limit counts every call, or
    /// the call has no value.
    pub(in crate::limits) fn of(limit: &Limit, subject: &Subject<'_>, budgets: &Budgets<'_>) -> Option<Self> {
        let dimension = limit.once_per.as_deref()?;
        let value = Some(subject.value(dimension)).filter(|value| !value.is_empty())?;
        let key = limit.key_beside("once", Some((dimension, value)), budgets.keys, subject);
        Some(Self { key, remembered_for: limit.shape.window.max(REMEMBERED_FOR) })
    }

    /// Returns whether a request is charged for it.
    pub(in crate::limits) fn is_counted(&self, budgets: &Budgets<'_>) -> bool {
        record::look::<CountedRequest>(budgets, &self.key).is_some()
    }

    /// Joins the request that is charged for it, if one is.
    pub(in crate::limits) fn join(self, budgets: &Budgets<'_>) -> Option<Claim> {
        let joined = record::change(budgets, &self.key, |counted: Option<CountedRequest>| {
            (counted.map(|counted| counted.charge), counted.map(|counted| self.joined(counted, budgets)))
        });
        Some(Claim { once: self, charge: joined.ok()?? })
    }

    /// Claims the request just charged for it, or joins another's that came first.
    ///
    /// # Errors
    /// [`Unstored`]: it cannot be remembered, and the call counts by itself.
    pub(in crate::limits) fn claim(
        self,
        charge: SharedCharge,
        budgets: &Budgets<'_>,
    ) -> Result<Claimed, Unstored> {
        record::change(budgets, &self.key, |counted: Option<CountedRequest>| match counted {
            Some(counted) => (Some(counted.charge), Some(self.joined(counted, budgets))),
            None => (None, Some(self.counted(charge, Calls::FIRST, budgets))),
        })
        .map(|first| match first {
            Some(charge) => Claimed::Joined(Claim { once: self, charge }),
            None => Claimed::First(Claim { once: self, charge }),
        })
    }

    fn joined(&self, counted: CountedRequest, budgets: &Budgets<'_>) -> CountedRequest {
        self.counted(counted.charge, counted.calls.and_one(), budgets)
    }

    fn counted(&self, charge: SharedCharge, calls: Calls, budgets: &Budgets<'_>) -> CountedRequest {
        CountedRequest { until: budgets.now + self.remembered_for, charge, calls }
    }
}

impl Claim {
    /// Settles a call that was made: the request stays charged.
    pub(in crate::limits) fn settle(self, budgets: &Budgets<'_>) {
        let settled = self.change(budgets, |counted| match counted.calls {
            Calls::Settled => ((), None),
            Calls::Open(_) => ((), Some(self.once.counted(counted.charge, Calls::Settled, budgets))),
        });
        count_failure(settled, budgets);
    }

    /// Leaves for a call that was not made. Returns the request to give back, if no other call
    /// counts by it.
    pub(in crate::limits) fn leave(self, budgets: &Budgets<'_>) -> Option<SharedCharge> {
        let left = self.change(budgets, |counted| match counted.calls {
            Calls::Settled => (None, None),
            Calls::Open(0 | 1) => {
                (Some(counted.charge), Some(CountedRequest { until: Timestamp(0), ..counted }))
            }
            Calls::Open(calls) => {
                let calls = Calls::Open(calls.saturating_sub(1));
                (None, Some(CountedRequest { calls, ..counted }))
            }
        });
        count_failure(left, budgets).flatten()
    }

    /// Changes the claim if it is still the same.
    fn change<T>(
        &self,
        budgets: &Budgets<'_>,
        change: impl Fn(CountedRequest) -> (T, Option<CountedRequest>),
    ) -> Result<Option<T>, Unstored> {
        note::change_same(budgets, &self.once.key, self.charge.made_at, change)
    }
}

/// Counts a failed change. The claim then stays as it is, and its request stays charged.
fn count_failure<T>(changed: Result<Option<T>, Unstored>, budgets: &Budgets<'_>) -> Option<T> {
    changed.unwrap_or_else(|Unstored| {
        budgets.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(1));
        None
    })
}

/// The request counted for a value. If the table loses it, one more request is counted.
#[derive(Clone, Copy, Debug)]
struct CountedRequest {
    until: Timestamp,
    charge: SharedCharge,
    calls: Calls,
}

impl Record for CountedRequest {
    const KIND: u64 = 0x6f6e_6365_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        self.charge.packed(self.until, self.calls.encode())
    }

    fn from_numbers(numbers: [u64; 4]) -> Self {
        let (charge, until, calls) = SharedCharge::unpacked(numbers);
        Self { until, charge, calls: Calls::decode(calls) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }
}

impl Note for CountedRequest {
    fn charge(&self) -> &SharedCharge {
        &self.charge
    }
}

/// The calls that count by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// This many calls, none of which is settled.
    Open(u64),
    /// At least one settled call.
    Settled,
}

impl Calls {
    const FIRST: Self = Self::Open(1);

    fn and_one(self) -> Self {
        match self {
            Self::Open(calls) => Self::Open(calls.saturating_add(1)),
            Self::Settled => Self::Settled,
        }
    }

    const fn decode(word: u64) -> Self {
        if word == u64::MAX { Self::Settled } else { Self::Open(word) }
    }

    const fn encode(self) -> u64 {
        match self {
            Self::Open(calls) => calls,
            Self::Settled => u64::MAX,
        }
    }
}
