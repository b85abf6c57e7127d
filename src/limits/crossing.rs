//! Budgets of the rate limit service that have come beyond their warning, and whether that is news.
//!
//! In: where such budgets stand. Out: those that no worker has told of in this window. Budgets of this process note it themselves
//! (`budget`). Not here: what is told.

use super::ledger::Ledger;
use super::limit::{Standing, Subject};
use crate::store::{Change, Entry, Payload, numbers_in, payload_of};

/// Those that are used beyond their warning and that no worker has told of. They are given back when their windows end, so that each can
/// cross it once in a window.
#[must_use]
pub fn newly_crossed(standings: &[Standing], subject: &Subject<'_>, ledger: &Ledger<'_>) -> Vec<Standing> {
    let past = standings.iter().filter(|standing| standing.is_past_warning());
    past.filter(|standing| is_news(standing, subject, ledger)).cloned().collect()
}

/// Whether nobody has told of it; then the others are told that it is. It may make way for a budget: then it is told of once more.
fn is_news(standing: &Standing, subject: &Subject<'_>, ledger: &Ledger<'_>) -> bool {
    let limit = &standing.limit;
    let key = limit.key_beside("crossed", None, ledger.keys, subject);
    let told_until = |stored: &Payload| numbers_in(stored).next().unwrap_or(0);
    let told = ledger.table.update(&key, ledger.now, |stored| {
        if stored.is_some_and(|stored| told_until(stored) > ledger.now.0) {
            return (false, Change::Keep);
        }
        let until = ledger.now + standing.reset;
        (true, Change::Put(Entry { payload: payload_of([until.0]), idle_at: until, fill: 0 }))
    });
    told.is_ok_and(|told| told.value)
}

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
            let ledger = Ledger::new(&table, &keys, Timestamp(1) + Span::from_secs(seconds));
            let caller = Caller::new(vec![("user".into(), user.into())]);
            let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
            let (available, reset) = (Amount(100 - spent), Span::from_secs(60 - seconds % 60));
            let standing = Standing { limit: limit.clone(), available, spent: Amount(spent), reset };
            !newly_crossed(&[standing], &subject, &ledger).is_empty()
        };
        assert!(!told("ada", 0, 79));
        assert!(told("ada", 10, 80) && !told("ada", 59, 90));
        assert!(told("bob", 59, 90));
        assert!(told("ada", 60, 85) && !told("ada", 61, 85));
    }
}
