//! Small typed records that the table keeps beside budgets, each with a kind of its own.
//!
//! In: a key, and a pure closure on the record there. Out: the closure's answer, once its change is
//! stored. Not here: the meaning of a record, budgets.
//!
//! A record has a place of its own or none: the table never shares it between callers, however full
//! it is. Writing one does not count as use when the table chooses what to evict, so budgets can
//! displace records.

use crate::limits::budgets::Budgets;
use crate::store::{Change, Entry, Failure, Key, Payload, Place, Updated, numbers_in, payload_of};
use crate::units::Timestamp;

/// A kind of record, of up to four numbers.
pub(in crate::limits) trait Record: Sized {
    /// Marks the payload, so that no record is read as a budget or as another kind.
    const KIND: u64;

    fn numbers(&self) -> [u64; 4];

    fn from_numbers(numbers: [u64; 4]) -> Self;

    /// Returns when it no longer matters; the table may drop it then.
    fn until(&self) -> Timestamp;

    /// Returns the value lost with it, of [`u8::MAX`]; the table evicts records of little value.
    fn fill(&self) -> u8 {
        0
    }
}

/// A record that only says that something has happened, until it expires; `FILL` is the value lost
/// with it.
pub(in crate::limits) struct Happened<const KIND: u64, const FILL: u8> {
    pub(in crate::limits) until: Timestamp,
}

impl<const KIND: u64, const FILL: u8> Record for Happened<KIND, FILL> {
    const KIND: u64 = KIND;

    fn numbers(&self) -> [u64; 4] {
        [self.until.0, 0, 0, 0]
    }

    fn from_numbers([until, ..]: [u64; 4]) -> Self {
        Self { until: Timestamp(until) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }

    fn fill(&self) -> u8 {
        FILL
    }
}

/// Nothing was written: there was no place, or the table could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Unstored;

/// Returns the living record at `key`, if there is one and it can be read.
pub(in crate::limits) fn look<R: Record>(budgets: &Budgets<'_>, key: &Key) -> Option<R> {
    budgets.table.peek(key, budgets.now, |stored| decode(stored, budgets.now)).ok()?
}

/// Does the same, but the record may be a second old, if this worker has read it lately.
pub(in crate::limits) fn look_lately<R: Record>(budgets: &Budgets<'_>, key: &Key) -> Option<R> {
    let now = budgets.now;
    let Some(mut recent) = budgets.recent() else { return look(budgets, key) };
    if let Some(payload) = recent.payload(key, now) {
        return decode(payload, now);
    }
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method takes one lifetime only")]
    let payload = budgets.table.peek(key, now, |stored| stored.copied()).ok()?;
    recent.remember(*key, payload, now);
    decode(payload.as_ref(), now)
}

/// Runs `change` on the living record at `key` and stores the record that it returns, if any. It
/// runs again whenever another worker wrote first.
pub(in crate::limits) fn change<R: Record, T>(
    budgets: &Budgets<'_>,
    key: &Key,
    change: impl Fn(Option<R>) -> (T, Option<R>),
) -> Result<T, Unstored> {
    store(budgets, key, |stored| {
        let (answer, record) = change(decode(stored, budgets.now));
        (answer, record.map_or(Change::Keep, |record| Change::Put(entry(&record))))
    })
}

fn entry<R: Record>(record: &R) -> Entry {
    let [first, second, third, fourth] = record.numbers();
    let payload = payload_of([R::KIND, first, second, third, fourth]);
    Entry { payload, idle_at: record.until(), fill: record.fill() }
}

/// Runs `run` on the payload at `key`, stores the result in an entry of its own, and counts the
/// work.
pub(in crate::limits) fn store<T>(
    budgets: &Budgets<'_>,
    key: &Key,
    run: impl Fn(Option<&Payload>) -> (T, Change),
) -> Result<T, Unstored> {
    let updated = budgets.table.settle(key, Place::Own, budgets.now, run);
    budgets.count(|tally| match &updated {
        Ok(Updated { retries, evicted, lost, .. }) => {
            tally.retries = tally.retries.saturating_add(u64::from(*retries));
            tally.evictions = tally.evictions.saturating_add(if *lost { 0 } else { u64::from(*evicted) });
        }
        Err(Failure::Contended { tries }) => tally.retries = tally.retries.saturating_add(u64::from(*tries)),
        Err(Failure::Unavailable) => {}
    });
    match updated {
        Ok(Updated { value, lost: false, .. }) => Ok(value),
        Ok(Updated { lost: true, .. }) | Err(_) => Err(Unstored),
    }
}

fn decode<R: Record>(stored: Option<&Payload>, now: Timestamp) -> Option<R> {
    let mut numbers = numbers_in(stored?);
    let mut next = || numbers.next();
    if next()? != R::KIND {
        return None;
    }
    let record = R::from_numbers([next()?, next()?, next()?, next()?]);
    (now < record.until()).then_some(record)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
