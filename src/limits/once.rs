//! Counting a workflow once: which values of a dimension a limit on requests has counted already (`once_per`).
//!
//! In: a call's value, and where a request was charged for it. Out: a [`Claim`] on that request; who is the last to leave it is told
//! to give the request back. Not here: budgets, and what a call does with a claim (`workflow`).
//!
//! # How no request is forgotten
//!
//! The first call charges a request and then claims it for its value, in one compare-and-swap; so behind each claim there is a charge.
//! Others join the claim, and it counts them until the first of all is settled: from then on the request stays charged and joining needs no
//! counting. A call that is refused elsewhere leaves. Only the last to leave, with none settled, takes the claim away and gives the request
//! back: a refused call consumes nothing, and nobody relies on a request that is given back.
//!
//! A worker that traps leaves nothing, so its request stays charged. If a claim is lost from a full table, its request stays charged too, and
//! the next call of the workflow is counted again: too much rather than too little.

use super::ledger::Ledger;
use super::limit::{Limit, Subject};
use super::note::{self, Charge, Kind, Note, Write};
use super::record::Unstored;
use crate::store::Key;
use crate::units::Span;

/// A value is remembered so long after its last call, or for the limit's window if that is longer: people who sit before an agent
/// think, eat and come back.
const REMEMBERED_FOR: Span = Span::from_secs(3600);

/// Nothing of a budget hangs on a claim: if it is lost, one request is counted more.
const FILL: u8 = 0;

/// A value of a limit's `once_per`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Once {
    key: Key,
    remembered_for: Span,
}

/// A call counts by the request that was charged for its value.
#[derive(Debug)]
#[must_use = "a claim must be settled or left"]
pub(super) struct Claim {
    once: Once,
    /// The request.
    pub(super) charge: Charge,
}

/// Whose request a call counts by.
#[derive(Debug)]
pub(super) enum Claimed {
    /// Its own, by which others may count as well.
    First(Claim),
    /// Another's: its own has to be given back.
    Joined(Claim),
}

impl Once {
    /// The value that a call has of a limit's `once_per`; none if the limit counts every call, or the call has no value.
    pub(super) fn of(limit: &Limit, subject: &Subject<'_>, ledger: &Ledger<'_>) -> Option<Self> {
        let dimension = limit.once_per.as_deref()?;
        let value = Some(subject.value(dimension)).filter(|value| !value.is_empty())?;
        let key = limit.key_beside("once", Some((dimension, value)), ledger.keys, subject);
        Some(Self { key, remembered_for: limit.shape.window.max(REMEMBERED_FOR) })
    }

    /// Whether a request is charged for it.
    pub(super) fn is_counted(&self, ledger: &Ledger<'_>) -> bool {
        note::look(ledger, Kind::Once, &self.key).is_some()
    }

    /// Counts by the request that is charged for it, if one is.
    pub(super) fn join(self, ledger: &Ledger<'_>) -> Option<Claim> {
        let joined = note::change(ledger, Kind::Once, &self.key, |note| match note {
            Some(note) => (Some(note.charge), self.joined(note, ledger)),
            None => (None, Write::Keep),
        });
        Some(Claim { once: self, charge: joined.ok()?? })
    }

    /// Counts by the request that has just been charged for it, or by another's that came first.
    ///
    /// # Errors
    /// [`Unstored`]: it cannot be remembered, and the call counts for itself.
    pub(super) fn claim(self, charge: Charge, ledger: &Ledger<'_>) -> Result<Claimed, Unstored> {
        note::change(ledger, Kind::Once, &self.key, |note| match note {
            Some(note) => (Some(note.charge), self.joined(note, ledger)),
            None => (None, self.put(charge, Calls::FIRST, ledger)),
        })
        .map(|first| match first {
            Some(charge) => Claimed::Joined(Claim { once: self, charge }),
            None => Claimed::First(Claim { once: self, charge }),
        })
    }

    fn joined(&self, note: Note, ledger: &Ledger<'_>) -> Write {
        self.put(note.charge, Calls::decode(note.word).and_one(), ledger)
    }

    fn put(&self, charge: Charge, calls: Calls, ledger: &Ledger<'_>) -> Write {
        Write::Put(Note { until: ledger.now + self.remembered_for, charge, word: calls.encode() }, FILL)
    }
}

impl Claim {
    /// The call has been made: the request stays charged.
    pub(super) fn settle(self, ledger: &Ledger<'_>) {
        let settled = self.change(ledger, |note| match Calls::decode(note.word) {
            Calls::Settled => ((), Write::Keep),
            Calls::Open(_) => ((), self.once.put(note.charge, Calls::Settled, ledger)),
        });
        count_failure(settled, ledger);
    }

    /// The call has not been made. The request that is to be given back, if nobody else counts by it.
    pub(super) fn leave(self, ledger: &Ledger<'_>) -> Option<Charge> {
        let left = self.change(ledger, |note| match Calls::decode(note.word) {
            Calls::Settled => (None, Write::Keep),
            Calls::Open(0 | 1) => (Some(note.charge), Write::Remove),
            Calls::Open(calls) => {
                let word = Calls::Open(calls.saturating_sub(1)).encode();
                (None, Write::Put(Note { word, ..note }, FILL))
            }
        });
        count_failure(left, ledger).flatten()
    }

    /// Changes the claim if it is still the same.
    fn change<T>(
        &self,
        ledger: &Ledger<'_>,
        change: impl Fn(Note) -> (T, Write),
    ) -> Result<Option<T>, Unstored> {
        note::change_same(ledger, Kind::Once, &self.once.key, self.charge.made_at, change)
    }
}

/// A claim that cannot be changed stays as it is: its request stays charged.
fn count_failure<T>(changed: Result<Option<T>, Unstored>, ledger: &Ledger<'_>) -> Option<T> {
    changed.unwrap_or_else(|Unstored| {
        ledger.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(1));
        None
    })
}

/// Who counts by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// So many calls, none of which is settled.
    Open(u64),
    /// At least one that is settled.
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
