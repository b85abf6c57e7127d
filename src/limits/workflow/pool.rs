//! Pools: tokens that a workflow declares in advance. They are charged at once, and its calls draw
//! from them.
//!
//! In: a key, amounts. Out: [`Draw`]s from the pool, and amounts put back. Not here: budgets, and
//! the use of a draw (`workflow`).
//!
//! # Guarantees
//!
//! - Draws use compare-and-swap, so together they never exceed the content of the pool.
//! - The whole content of a pool is charged to the budget, and so are all draws from it. A call
//!   that cannot put back its draw, because the pool is gone, gives it back to the budget instead.
//! - A pool lives for the limit's window, at most until the end of a calendar window. By then its
//!   rest has flowed back like any charge. If a full table loses the pool earlier, its rest stays
//!   charged until then.

use crate::limits::budget::Algorithm;
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Standing, Subject};
use crate::limits::remembered::record::{self, Record, Unstored};
use crate::limits::workflow::note::{self, Note, SharedCharge};
use crate::store::Key;
use crate::units::{Amount, Timestamp};

/// The pool of a workflow in one limit, whether or not it lives.
#[derive(Clone, Copy, Debug)]
pub(in crate::limits) struct Pool {
    key: Key,
    capacity: Amount,
}

/// An amount that a call has drawn from a pool.
#[derive(Debug)]
#[must_use = "a draw must be settled or put back"]
pub(in crate::limits) struct Draw {
    pool: Pool,
    /// The charge that fills the pool.
    pub(in crate::limits) charge: SharedCharge,
    /// The amount.
    pub(in crate::limits) amount: Amount,
    /// Whether this call opened the pool.
    pub(in crate::limits) has_opened: bool,
}

impl Pool {
    /// Returns the pool in a limit on tokens, or `None` if the limit counts another resource, or
    /// the call has no workflow.
    pub(in crate::limits) fn of(
        limit: &Limit,
        subject: &Subject<'_>,
        dimension: &str,
        budgets: &Budgets<'_>,
    ) -> Option<Self> {
        let value = subject.value(dimension);
        if limit.counts.name != "tokens" || value.is_empty() {
            return None;
        }
        let key = limit.key_beside("pool", Some((dimension, value)), budgets.keys, subject);
        Some(Self { key, capacity: limit.shape.capacity() })
    }

    /// Returns the amount left in it, if it lives.
    pub(in crate::limits) fn left(&self, budgets: &Budgets<'_>) -> Option<Amount> {
        Some(record::look::<Filled>(budgets, &self.key)?.left)
    }

    /// Draws an amount, or the rest if that is less. Returns `None` if the pool does not live.
    pub(in crate::limits) fn draw(self, amount: Amount, budgets: &Budgets<'_>) -> Option<Draw> {
        let drawn = record::change(budgets, &self.key, |filled: Option<Filled>| match filled {
            Some(filled) => self.drawn(filled, amount),
            None => (None, None),
        });
        let (charge, amount) = drawn.ok()??;
        Some(Draw { pool: self, charge, amount, has_opened: false })
    }

    /// Opens it with the amount just charged, and draws from it, or draws from the pool that
    /// another call has opened meanwhile.
    ///
    /// # Errors
    /// [`Unstored`]: there is no pool.
    pub(in crate::limits) fn open(
        self,
        whole: Amount,
        until: Timestamp,
        charge: SharedCharge,
        amount: Amount,
        budgets: &Budgets<'_>,
    ) -> Result<Draw, Unstored> {
        let opened = record::change(budgets, &self.key, |filled: Option<Filled>| match filled {
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

    fn drawn(&self, filled: Filled, amount: Amount) -> (Option<(SharedCharge, Amount)>, Option<Filled>) {
        let drawn = amount.min(filled.left);
        let rest = self.with(filled, filled.left - drawn);
        (Some((filled.charge, drawn)), Some(rest).filter(|_| !drawn.is_zero()))
    }

    fn with(&self, filled: Filled, left: Amount) -> Filled {
        Filled { left, capacity: self.capacity, ..filled }
    }
}

/// A pool with the amount left in it.
#[derive(Clone, Copy, Debug)]
struct Filled {
    until: Timestamp,
    charge: SharedCharge,
    left: Amount,
    /// The capacity of its budget; not stored.
    capacity: Amount,
}

impl Record for Filled {
    const KIND: u64 = 0x706f_6f6c_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        self.charge.packed(self.until, self.left.0)
    }

    fn from_numbers(numbers: [u64; 4]) -> Self {
        let (charge, until, left) = SharedCharge::unpacked(numbers);
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
    fn charge(&self) -> &SharedCharge {
        &self.charge
    }
}

impl Draw {
    /// Draws more, as far as the pool has it, and returns the amount.
    pub(in crate::limits) fn more(&self, amount: Amount, budgets: &Budgets<'_>) -> Amount {
        let drawn = self.change(budgets, |filled| {
            let drawn = amount.min(filled.left);
            (drawn, Some(self.pool.with(filled, filled.left - drawn)))
        });
        drawn.unwrap_or(Amount::ZERO)
    }

    /// Draws more for the same call, and returns the amount.
    pub(in crate::limits) fn draw_more(&mut self, amount: Amount, budgets: &Budgets<'_>) -> Amount {
        let more = if amount.is_zero() { amount } else { self.more(amount, budgets) };
        self.amount += more;
        more
    }

    /// Puts an amount back, if the pool still lives, and returns whether it does.
    pub(in crate::limits) fn put_back(&self, amount: Amount, budgets: &Budgets<'_>) -> bool {
        amount.is_zero()
            || self
                .change(budgets, |filled| ((), Some(self.pool.with(filled, filled.left + amount))))
                .is_some()
    }

    /// Closes the pool, if it still lives, and returns its rest.
    pub(in crate::limits) fn close(&self, budgets: &Budgets<'_>) -> Amount {
        let closed =
            self.change(budgets, |filled| (filled.left, Some(Filled { until: Timestamp(0), ..filled })));
        closed.unwrap_or(Amount::ZERO)
    }

    /// Changes the pool if it is still the one that was drawn from.
    fn change<T>(&self, budgets: &Budgets<'_>, change: impl Fn(Filled) -> (T, Option<Filled>)) -> Option<T> {
        note::change_same(budgets, &self.pool.key, self.charge.made_at, change).ok().flatten()
    }
}

/// Returns the end of a pool filled now.
pub(in crate::limits) fn lives_until(standing: &Standing, charge: &SharedCharge) -> Timestamp {
    let shape = &standing.limit.shape;
    let life = if shape.algorithm == Algorithm::FixedWindow { standing.reset } else { shape.window };
    charge.made_at + life
}
