//! Corrections of charges, those in one line of the table together.
//!
//! In: charges, and what was used of them. Out: corrected budgets. Not here: what was used
//! (`reserve`).

use core::convert::Infallible;

use crate::limits::budget::{Budget, Shape};
use crate::limits::budgets::Budgets;
use crate::store::{Key, Place};
use crate::units::{Amount, Timestamp};

/// The replacement of a charge by the usage.
pub(in crate::limits) struct Correction {
    pub(in crate::limits) shape: Shape,
    pub(in crate::limits) key: Key,
    pub(in crate::limits) place: Place,
    pub(in crate::limits) counted_at: Timestamp,
    pub(in crate::limits) amount: Amount,
    pub(in crate::limits) rest: Amount,
    pub(in crate::limits) used: Amount,
}

impl Correction {
    fn apply(&self, budget: &mut Budget) -> bool {
        if self.used > self.amount {
            budget.charge(self.used - self.amount);
            return true;
        }
        !budget.leave(self.amount - self.used, self.rest, self.counted_at).is_zero()
    }
}

/// Carries out corrections, those in one line of the table together.
pub(in crate::limits) fn correct(mut corrections: Vec<Correction>, budgets: &Budgets<'_>) {
    while let Some(first) = corrections.first() {
        let key = first.key;
        let (together, others): (Vec<_>, Vec<_>) =
            corrections.into_iter().partition(|correction| correction.key.is_beside(&key));
        let corrected = budgets.transact(&key, |line| {
            for correction in &together {
                let Correction { shape, key, place, .. } = correction;
                line.change(*shape, key, Some(*place), |budget| ((), correction.apply(budget)));
            }
            Ok::<_, Infallible>(())
        });
        if corrected.is_err() {
            let failed = together.len() as u64;
            budgets.count(|tally| tally.failed_settlements = tally.failed_settlements.saturating_add(failed));
        }
        corrections = others;
    }
}
