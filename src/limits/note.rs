//! What calls of one workflow note for each other: an entry of the table that tells of a charge that they have in common.
//!
//! In: a key, and a pure closure on the note that lives there. Out: the closure's answer, if what it wanted is stored. Not here: what
//! is noted (`once`, `pool`), budgets.
//!
//! # What is promised
//!
//! - A note has a place of its own or none: those of two workflows are never taken for one another, however full the table is.
//! - Notes are never a touch. One that is little filled makes way for whatever comes, so that a flood of made-up workflows fills the
//!   table with nothing that stays. A note that is lost costs its workflow a charge more, never one less.

use super::ledger::Ledger;
use super::record::{self, Unstored};
use crate::store::{Change, Entry, Key, Payload, Place, numbers_in, payload_of};
use crate::units::{Span, Timestamp};

/// What a note is about. Marks its payload, so that no budget is taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request that a workflow is counted as.
    Once = 0x6f6e_6365,
    /// Tokens that are held for a workflow.
    Pool = 0x706f_6f6c,
}

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// From when on it says nothing any more.
    pub(super) until: Timestamp,
    /// What it tells of.
    pub(super) charge: Charge,
    /// Whatever else its kind has to say.
    pub(super) word: u64,
}

/// A charge that calls have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// Whose entry of the budget it is in.
    pub(super) place: Place,
    /// When it counts in the budget.
    pub(super) counted_at: Timestamp,
    /// When it was made, by the clock of the call that made it: tells it from an earlier one of the same workflow.
    pub(super) made_at: Timestamp,
    /// How long after that it is paid, if it was made into a debt.
    pub(super) wait: Span,
}

impl Charge {
    /// How long calls have to wait that rely on it.
    pub(super) fn due_in(&self, now: Timestamp) -> Span {
        (self.made_at + self.wait).since(now)
    }
}

/// What becomes of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It stays as it is.
    Keep,
    /// This is noted, and so much of a budget, of [`u8::MAX`], hangs on it.
    Put(Note, u8),
    /// It says nothing from now on.
    Remove,
}

/// Runs `change` on the living note at `key` and stores what it says; it is run again whenever another worker came first.
pub(super) fn change<T>(
    ledger: &Ledger<'_>,
    kind: Kind,
    key: &Key,
    change: impl Fn(Option<Note>) -> (T, Write),
) -> Result<T, Unstored> {
    record::store(ledger, key, |stored| {
        let (answer, write) = change(living(kind, stored, ledger.now));
        let change = match write {
            Write::Keep => Change::Keep,
            Write::Put(note, fill) => {
                Change::Put(Entry { payload: note.encode(kind), idle_at: note.until, fill })
            }
            Write::Remove => {
                Change::Put(Entry { payload: payload_of([]), idle_at: Timestamp::default(), fill: 0 })
            }
        };
        (answer, change)
    })
}

/// The same, on the note that still holds the charge made at `made_at`; none if it does not.
pub(super) fn change_same<T>(
    ledger: &Ledger<'_>,
    kind: Kind,
    key: &Key,
    made_at: Timestamp,
    run: impl Fn(Note) -> (T, Write),
) -> Result<Option<T>, Unstored> {
    change(ledger, kind, key, |note| match note.filter(|note| note.charge.made_at == made_at) {
        Some(note) => {
            let (answer, write) = run(note);
            (Some(answer), write)
        }
        None => (None, Write::Keep),
    })
}

/// The living note at `key`, as far as it can be read.
pub(super) fn look(ledger: &Ledger<'_>, kind: Kind, key: &Key) -> Option<Note> {
    ledger.table.peek(key, ledger.now, |stored| living(kind, stored, ledger.now)).ok()?
}

fn living(kind: Kind, stored: Option<&Payload>, now: Timestamp) -> Option<Note> {
    Note::decode(kind, stored?).filter(|note| now < note.until)
}

/// Set in the first number of a note whose charge is in a shared entry.
const SHARED: u64 = 1 << 31;

/// A wait in milliseconds takes what is left of the first number: 24 days, of which a minute can occur.
const LONGEST_WAIT: u64 = SHARED - 1;

impl Note {
    fn encode(&self, kind: Kind) -> Payload {
        let Charge { place, counted_at, made_at, wait } = self.charge;
        let shared = if place == Place::Shared { SHARED } else { 0 };
        let first = ((kind as u64) << 32) | shared | wait.as_millis_ceil().min(LONGEST_WAIT);
        payload_of([first, self.until.0, counted_at.0, made_at.0, self.word])
    }

    fn decode(kind: Kind, payload: &Payload) -> Option<Self> {
        let mut numbers = numbers_in(payload);
        let mut next = || numbers.next();
        let first = next()?;
        if first >> 32 != kind as u64 {
            return None;
        }
        let place = if first & SHARED == 0 { Place::Own } else { Place::Shared };
        let wait = Span::from_millis(first & LONGEST_WAIT);
        let until = Timestamp(next()?);
        let charge = Charge { place, counted_at: Timestamp(next()?), made_at: Timestamp(next()?), wait };
        Some(Self { until, charge, word: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::budget::{Budget, Shape};
    use crate::units::Amount;

    const SHAPE: Shape = Shape::in_flight(Amount(1));

    fn note() -> Note {
        let charge = Charge {
            place: Place::Shared,
            counted_at: Timestamp(2),
            made_at: Timestamp(3),
            wait: Span::from_secs(60),
        };
        Note { until: Timestamp(1), charge, word: u64::MAX }
    }

    #[test]
    fn what_is_noted_is_read_and_only_as_what_it_is() {
        let payload = note().encode(Kind::Pool);
        assert_eq!(Note::decode(Kind::Pool, &payload), Some(note()));
        assert_eq!(Note::decode(Kind::Once, &payload), None);
    }

    #[test]
    fn a_budget_is_no_note_and_a_note_no_budget() {
        let untouched = Budget::open(SHAPE, None, Timestamp(9));
        assert_eq!(Note::decode(Kind::Once, &untouched.entry().payload), None);
        let payload = note().encode(Kind::Once);
        assert_eq!(Budget::open(SHAPE, Some(&payload), Timestamp(9)), untouched);
    }

    #[test]
    fn calls_wait_until_the_charge_is_paid_and_no_longer() {
        let charge = Charge { wait: Span(5), ..note().charge };
        assert_eq!([4, 8, 9].map(|now| charge.due_in(Timestamp(now))), [Span(4), Span(0), Span(0)]);
    }
}
