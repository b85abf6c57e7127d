//! Budgets of the rate limit service that have crossed their warning, reported once.
//!
//! In: the standings of such budgets. Out: those that no worker has reported in this window.
//! Budgets of this process note it themselves (`budget`). Not here: the report.

use crate::limits::budgets::Budgets;
use crate::limits::limit::{Standing, Subject};
use crate::limits::remembered::record::{self, Happened};

/// Returns the standings beyond their warning that no worker has reported. They end with their
/// windows, so each budget can cross its warning once per window.
#[must_use]
pub fn newly_crossed(standings: &[Standing], subject: &Subject<'_>, budgets: &Budgets<'_>) -> Vec<Standing> {
    let past = standings.iter().filter(|standing| standing.is_past_warning());
    past.filter(|standing| is_news(standing, subject, budgets)).cloned().collect()
}

/// Returns whether no worker has reported it in this window. If a budget evicts the record, one
/// more worker does.
fn is_news(standing: &Standing, subject: &Subject<'_>, budgets: &Budgets<'_>) -> bool {
    let key = standing.limit.key_beside("crossed", None, budgets.keys, subject);
    let told = record::change(budgets, &key, |told: Option<Crossed>| match told {
        Some(_) => (false, None),
        None => (true, Some(Crossed { until: budgets.now + standing.reset })),
    });
    told == Ok(true)
}

/// The record that a worker has reported it.
type Crossed = Happened<0x6372_6f73_7365_6421, 0>;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::identity::Caller;
    use crate::limits::Limit;
    use crate::store::{KeyHasher, Lines, MemoryLines, Table};
    use crate::units::{Amount, Span, Timestamp};

    #[test]
    fn each_caller_is_told_of_once_until_the_window_ends() {
        let lines = MemoryLines::default();
        let table = Table::new(&lines as &dyn Lines, 64);
        let keys = KeyHasher::new(&[1; 16]);
        let limit = Rc::new(Limit::example("tpm", "tokens", 100));
        let told = |user: &str, seconds: u64, spent: u64| {
            let budgets = Budgets::new(&table, &keys, Timestamp(1) + Span::from_secs(seconds));
            let caller = Caller::new(vec![("user".into(), user.into())]);
            let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
            let (available, reset) = (Amount(100 - spent), Span::from_secs(60 - seconds % 60));
            let standing = Standing { limit: limit.clone(), available, spent: Amount(spent), reset };
            !newly_crossed(&[standing], &subject, &budgets).is_empty()
        };
        assert!(!told("ada", 0, 79));
        assert!(told("ada", 10, 80) && !told("ada", 59, 90));
        assert!(told("bob", 59, 90));
        assert!(told("ada", 60, 85) && !told("ada", 61, 85));
    }
}
