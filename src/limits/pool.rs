//! What a workflow has declared up front: so many tokens are charged at once, and its calls draw from them.
//!
//! In: a key, amounts. Out: [`Draw`]s from the pool, and what is put back into it. Not here: budgets, and what a call does with a draw
//! (`workflow`).
//!
//! # What is promised
//!
//! - Draws are made by compare-and-swap, so all of them together are never more than what is in the pool.
//! - All that is in a pool is charged to the budget, as are all draws from it. Whoever cannot put back what it has drawn, because the pool is
//!   gone, gives it back to the budget instead.
//! - A pool lives for the limit's window, and no longer than the calendar's where that counts: by then what is left of it has flowed
//!   back, as all that is charged does. If it is lost from a full table before, what is left stays charged until then.

use super::budget::Algorithm;
use super::ledger::Ledger;
use super::limit::{Limit, Standing, Subject};
use super::note::{self, Charge, Kind, Note, Write};
use super::record::Unstored;
use crate::store::Key;
use crate::units::{Amount, Timestamp};

/// The pool of a workflow in one limit, whether it lives or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    key: Key,
    capacity: Amount,
}

/// What a call has drawn from a pool.
#[derive(Debug)]
#[must_use = "what is drawn must be settled or put back"]
pub(super) struct Draw {
    pool: Pool,
    /// What fills the pool.
    pub(super) charge: Charge,
    /// How much.
    pub(super) amount: Amount,
    /// Whether this call has opened the pool.
    pub(super) has_opened: bool,
}

impl Pool {
    /// The pool in a limit on tokens; none if the limit counts something else, or the call is of no workflow.
    pub(super) fn of(
        limit: &Limit,
        subject: &Subject<'_>,
        dimension: &str,
        ledger: &Ledger<'_>,
    ) -> Option<Self> {
        let value = subject.value(dimension);
        if limit.counts.name != "tokens" || value.is_empty() {
            return None;
        }
        let key = limit.key_beside("pool", Some((dimension, value)), ledger.keys, subject);
        Some(Self { key, capacity: limit.shape.capacity() })
    }

    /// What is left in it, if it lives.
    pub(super) fn left(&self, ledger: &Ledger<'_>) -> Option<Amount> {
        Some(Amount(note::look(ledger, Kind::Pool, &self.key)?.word))
    }

    /// Draws an amount, or all that is left; none if the pool does not live.
    pub(super) fn draw(self, amount: Amount, ledger: &Ledger<'_>) -> Option<Draw> {
        let drawn = note::change(ledger, Kind::Pool, &self.key, |note| match note {
            Some(note) => self.drawn(note, amount),
            None => (None, Write::Keep),
        });
        let (charge, amount) = drawn.ok()??;
        Some(Draw { pool: self, charge, amount, has_opened: false })
    }

    /// Opens it with what has just been charged, and draws an amount from it; or draws from the one that another call has opened
    /// meanwhile.
    ///
    /// # Errors
    /// [`Unstored`]: there is no pool.
    pub(super) fn open(
        self,
        whole: Amount,
        until: Timestamp,
        charge: Charge,
        amount: Amount,
        ledger: &Ledger<'_>,
    ) -> Result<Draw, Unstored> {
        let opened = note::change(ledger, Kind::Pool, &self.key, |note| match note {
            Some(note) => self.drawn(note, amount),
            None => {
                let left = whole - amount.min(whole);
                (None, self.put(Note { until, charge, word: whole.0 }, left))
            }
        })?;
        Ok(match opened {
            Some((charge, amount)) => Draw { pool: self, charge, amount, has_opened: false },
            None => Draw { pool: self, charge, amount: amount.min(whole), has_opened: true },
        })
    }

    fn drawn(&self, note: Note, amount: Amount) -> (Option<(Charge, Amount)>, Write) {
        let drawn = amount.min(Amount(note.word));
        let left = Amount(note.word) - drawn;
        let write = if drawn.is_zero() { Write::Keep } else { self.put(note, left) };
        (Some((note.charge, drawn)), write)
    }

    fn put(&self, note: Note, left: Amount) -> Write {
        let share = u128::from(left.0).saturating_mul(u128::from(u8::MAX));
        let fill = share.checked_div(u128::from(self.capacity.0)).unwrap_or(0);
        Write::Put(Note { word: left.0, ..note }, u8::try_from(fill).unwrap_or(u8::MAX))
    }
}

impl Draw {
    /// Draws more, as far as the pool has it, and says how much.
    pub(super) fn more(&self, amount: Amount, ledger: &Ledger<'_>) -> Amount {
        let drawn = self.change(ledger, |note| {
            let drawn = amount.min(Amount(note.word));
            (drawn, self.pool.put(note, Amount(note.word) - drawn))
        });
        drawn.unwrap_or(Amount::ZERO)
    }

    /// Draws more for the same call, and says how much.
    pub(super) fn draw_more(&mut self, amount: Amount, ledger: &Ledger<'_>) -> Amount {
        let more = if amount.is_zero() { amount } else { self.more(amount, ledger) };
        self.amount += more;
        more
    }

    /// Puts an amount back, if the pool still lives, and says whether it does.
    pub(super) fn put_back(&self, amount: Amount, ledger: &Ledger<'_>) -> bool {
        amount.is_zero()
            || self.change(ledger, |note| ((), self.pool.put(note, Amount(note.word) + amount))).is_some()
    }

    /// Closes the pool, if it still lives, and says what was left in it.
    pub(super) fn close(&self, ledger: &Ledger<'_>) -> Amount {
        self.change(ledger, |note| (Amount(note.word), Write::Remove)).unwrap_or(Amount::ZERO)
    }

    /// Changes the pool if it is still the one that was drawn from.
    fn change<T>(&self, ledger: &Ledger<'_>, change: impl Fn(Note) -> (T, Write)) -> Option<T> {
        note::change_same(ledger, Kind::Pool, &self.pool.key, self.charge.made_at, change).ok().flatten()
    }
}

/// Until when a pool lives that is filled now.
pub(super) fn lives_until(standing: &Standing, charge: &Charge) -> Timestamp {
    let shape = &standing.limit.shape;
    let life = if shape.algorithm == Algorithm::FixedWindow { standing.reset } else { shape.window };
    charge.made_at + life
}
