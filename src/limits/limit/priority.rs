//! The share of an upstream's budgets that is kept for callers who cannot wait.
//!
//! In: who calls. Out: how much of a budget must be left behind. Not here: reserving
//! (`reservation`).

use std::rc::Rc;

use super::subject::Subject;
use crate::config::Ratio;
use crate::units::Amount;

/// The share of a budget that batch traffic may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The dimension that tells batch traffic.
    pub dimension: Rc<str>,
    /// Its values for batch traffic.
    pub batch: Vec<String>,
    /// Which share is kept for all others.
    pub share: Ratio,
}

impl Reserved {
    /// How much of a budget of this size the caller must leave behind.
    pub(in crate::limits) fn keeps(&self, subject: &Subject<'_>, capacity: Amount) -> Amount {
        let value = subject.value(&self.dimension);
        let is_batch = self.batch.iter().any(|batch| batch.as_bytes() == value);
        if is_batch { Amount(self.share.of(capacity.0)) } else { Amount::ZERO }
    }
}
