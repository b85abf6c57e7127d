//! The share of an upstream's budgets that is reserved for callers who cannot wait.
//!
//! In: a caller. Out: the amount of a budget that it must leave to others. Not here: reserving
//! (`reserve`).

use std::rc::Rc;

use super::subject::Subject;
use crate::config::Ratio;
use crate::units::Amount;

/// The share of a budget that batch traffic may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The dimension that identifies batch traffic.
    pub dimension: Rc<str>,
    /// Its values for batch traffic.
    pub batch: Vec<String>,
    /// The share reserved for all others.
    pub share: Ratio,
}

impl Reserved {
    /// Returns the amount of a budget of this size that the caller must leave to others.
    pub(in crate::limits) fn keeps(&self, subject: &Subject<'_>, capacity: Amount) -> Amount {
        let value = subject.value(&self.dimension);
        let is_batch = self.batch.iter().any(|batch| batch.as_bytes() == value);
        if is_batch { Amount(self.share.of(capacity.0)) } else { Amount::ZERO }
    }
}
