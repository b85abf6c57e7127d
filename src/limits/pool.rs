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
use super::note::{self, Charge, Note};
use super::record::{self, Record, Unstored};
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
        Some(record::look::<Filled>(ledger, &self.key)?.left)
    }

    /// Draws an amount, or all that is left; none if the pool does not live.
    pub(super) fn draw(self, amount: Amount, ledger: &Ledger<'_>) -> Option<Draw> {
        let drawn = record::change(ledger, &self.key, |filled: Option<Filled>| match filled {
            Some(filled) => self.drawn(filled, amount),
            None => (None, None),
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
        let opened = record::change(ledger, &self.key, |filled: Option<Filled>| match filled {
            Some(filled) => self.drawn(filled, amount),
            None => {
                let (left, capacity) = (whole - amount.min(whole), self.capacity);
                (None, Some(Filled { until, charge, left, capacity }))
            }
        })?;
        Ok(match opened {
            Some((charge, amount)) => Draw { pool: self, charge, amount, has_opened: false },
            None => Draw { pool: self, charge, amount: amount.min(whole), has_opened: true },
        })
    }

    fn drawn(&self, filled: Filled, amount: Amount) -> (Option<(Charge, Amount)>, Option<Filled>) {
        let drawn = amount.min(filled.left);
        let rest = self.with(filled, filled.left - drawn);
        (Some((filled.charge, drawn)), Some(rest).filter(|_| !drawn.is_zero()))
    }

    fn with(&self, filled: Filled, left: Amount) -> Filled {
        Filled { left, capacity: self.capacity, ..filled }
    }
}

/// What is left in a pool.
#[derive(Clone, Copy, Debug)]
struct Filled {
    until: Timestamp,
    charge: Charge,
    left: Amount,
    /// The capacity of the budget that it was taken from; not stored.
    capacity: Amount,
}

impl Record for Filled {
    const KIND: u64 = 0x706f_6f6c_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        self.charge.packed(self.until, self.left.0)
    }

    fn from_numbers(numbers: [u64; 4]) -> Self {
        let (charge, until, left) = Charge::unpacked(numbers);
        Self { until, charge, left: Amount(left), capacity: Amount::ZERO }
    }

    fn until(&self) -> Timestamp {
        self.until
    }

    fn fill(&self) -> u8 {
        let share = u128::from(self.left.0).saturating_mul(u128::from(u8::MAX));
        let fill = share.checked_div(u128::from(self.capacity.0)).unwrap_or(0);
        u8::try_from(fill).unwrap_or(u8::MAX)
    }
}

impl Note for Filled {
    fn charge(&self) -> &Charge {
        &self.charge
    }
}

impl Draw {
    /// Draws more, as far as the pool has it, and says how much.
    pub(super) fn more(&self, amount: Amount, ledger: &Ledger<'_>) -> Amount {
        let drawn = self.change(ledger, |filled| {
            let drawn = amount.min(filled.left);
            (drawn, Some(self.pool.with(filled, filled.left - drawn)))
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
            || self
                .change(ledger, |filled| ((), Some(self.pool.with(filled, filled.left + amount))))
                .is_some()
    }

    /// Closes the pool, if it still lives, and says what was left in it.
    pub(super) fn close(&self, ledger: &Ledger<'_>) -> Amount {
        let closed =
            self.change(ledger, |filled| (filled.left, Some(Filled { until: Timestamp(0), ..filled })));
        closed.unwrap_or(Amount::ZERO)
    }

    /// Changes the pool if it is still the one that was drawn from.
    fn change<T>(&self, ledger: &Ledger<'_>, change: impl Fn(Filled) -> (T, Option<Filled>)) -> Option<T> {
        note::change_same(ledger, &self.pool.key, self.charge.made_at, change).ok().flatten()
    }
}

/// Until when a pool lives that is filled now.
pub(super) fn lives_until(standing: &Standing, charge: &Charge) -> Timestamp {
    let shape = &standing.limit.shape;
    let life = if shape.algorithm == Algorithm::FixedWindow { standing.reset } else { shape.window };
    charge.made_at + life
}
