//! Records that a worker has read lately.
//!
//! In: a key, the payload of a record. Out: the payload again, for a second. What many calls of a
//! worker read alike, such as the expected output of a model, they need not all read from the
//! table. Not here: which records may be that old (their readers say so).

use crate::store::{Key, Payload};
use crate::units::{Span, Timestamp};

/// The most records to remember: more than the tiers and models that most installations have.
const MOST: usize = 64;

/// How long a record counts as read lately. What is learned moves by a small part with each call,
/// so a second makes no difference.
const LATELY: Span = Span::from_secs(1);

/// The records that one worker has read lately.
#[derive(Debug, Default)]
pub struct RecentRecords {
    read: Vec<Read>,
    /// The place of the next record when all are taken.
    next: usize,
}

#[derive(Debug)]
struct Read {
    key: Key,
    payload: Option<Payload>,
    at: Timestamp,
}

impl RecentRecords {
    /// Returns the payload at a key, if it was read lately: `Some(None)` if there was none.
    pub(in crate::limits) fn payload(&self, key: &Key, now: Timestamp) -> Option<Option<&Payload>> {
        let read = self.read.iter().find(|read| read.key == *key)?;
        (read.at <= now && now.since(read.at) <= LATELY).then_some(read.payload.as_ref())
    }

    pub(in crate::limits) fn remember(&mut self, key: Key, payload: Option<Payload>, at: Timestamp) {
        let read = Read { key, payload, at };
        if let Some(known) = self.read.iter_mut().find(|known| known.key == key) {
            *known = read;
        } else if self.read.len() < MOST {
            self.read.push(read);
        } else if let Some(oldest) = self.read.get_mut(self.next) {
            *oldest = read;
            self.next = self.next.saturating_add(1) % MOST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KeyHasher;

    fn key(name: usize) -> Key {
        KeyHasher::new(&[1; 16]).key("record", [("name", name.to_string().as_bytes())])
    }

    #[test]
    fn a_record_is_known_until_it_is_too_old_or_the_clock_was_set_back() {
        let mut recent = RecentRecords::default();
        let (read_at, last) = (Timestamp(100), Timestamp(100) + LATELY);
        recent.remember(key(0), Some([7; 40]), read_at);
        recent.remember(key(1), None, read_at);

        let known = |name, now| recent.payload(&key(name), now);
        assert_eq!((known(0, last), known(1, last)), (Some(Some(&[7; 40])), Some(None)));
        let too_late = Timestamp(last.0 + 1);
        assert_eq!((known(0, too_late), known(0, Timestamp(99)), known(2, read_at)), (None, None, None));
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_known() {
        let mut recent = RecentRecords::default();
        (0..10 * MOST).for_each(|name| recent.remember(key(name), None, Timestamp(0)));
        assert_eq!(recent.read.len(), MOST);
        let known = |name| recent.payload(&key(name), Timestamp(0)).is_some();
        assert!((9 * MOST..10 * MOST).all(known) && !known(0));
    }
}
