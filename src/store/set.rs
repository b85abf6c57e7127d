//! The bytes of one line as a set of entries, and the choice of an entry to evict.
//!
//! In: the bytes of a line, a key, `now`. Out: the entry's payload, or the place where it would go,
//! and the bytes to write back. Entries are read and written where they are, because most accesses
//! need few of them. Not here: reading and writing lines (`lines`), retries (`table`), the meaning
//! of a payload.
//!
//! Bytes, all numbers little-endian: version (1), number of own entries (1), then the own entries
//! and the shared ones, each in the order of their last write, the oldest first. An entry is key
//! (16), `idle_at` (8), `fill` (1), touches (1), payload (40). Bytes of any other form come from
//! another program or version and read as an empty set; only their state is lost.

use super::key::Key;
use crate::units::Timestamp;

/// The most own entries of callers in a set.
///
/// All budgets of a caller that have the same dimensions are in one set. With 32, a table half full
/// of callers with four budgets each has places for 95 % of new callers (one third full: 99 %), and
/// almost always if they have one each. A full line is 2,114 bytes, which the host copies in less
/// time than a call to it takes.
pub const WAYS: usize = 32;

/// The most shared entries of a set: the number of limits that can overflow in one set at a time
/// without loss.
///
/// The configuration determines their number, never the callers. A set without an overflow has
/// none.
pub const SHARED_WAYS: usize = 32;

/// The bytes of state in an entry.
pub const PAYLOAD_BYTES: usize = 40;

/// An entry's state, opaque to the store.
pub type Payload = [u8; PAYLOAD_BYTES];

/// Packs up to five numbers into a payload, little-endian. Further numbers are dropped, missing
/// ones are 0.
#[must_use]
pub fn payload_of(numbers: impl IntoIterator<Item = u64>) -> Payload {
    let mut payload = [0; PAYLOAD_BYTES];
    for (place, number) in payload.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    payload
}

/// Returns the numbers that [`payload_of`] packed.
pub fn numbers_in(payload: &Payload) -> impl Iterator<Item = u64> {
    payload.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The first byte of every line. Any change of the layout changes it.
const VERSION: u8 = 2;

const HEADER_BYTES: usize = 2;
const ENTRY_BYTES: usize = 66;

/// A newcomer may evict an entry less full than this, of [`u8::MAX`], and touched only once. The
/// value is a quarter.
const EVICTABLE_BELOW: u8 = 64;

/// The entry in which a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The caller's own.
    Own,
    /// The entry shared by all of the limit's callers that found no place in the set.
    Shared,
}

/// A state to store, with what the table needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The state.
    pub payload: Payload,
    /// The time from which the state equals that of a new caller, so that dropping it loses
    /// nothing.
    pub idle_at: Timestamp,
    /// The used part of the budget, of [`u8::MAX`].
    pub fill: u8,
}

/// The bytes of an entry in its line.
#[derive(Clone, Copy)]
struct Occupant<'s>(&'s [u8; ENTRY_BYTES]);

impl<'s> Occupant<'s> {
    fn key(self) -> u128 {
        u128::from_le_bytes(self.part(0))
    }

    fn idle_at(self) -> Timestamp {
        Timestamp(u64::from_le_bytes(self.part(16)))
    }

    fn fill_and_touches(self) -> [u8; 2] {
        self.part(24)
    }

    fn payload(self) -> Option<&'s Payload> {
        self.0.last_chunk()
    }

    fn part<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn is_idle(self, now: Timestamp) -> bool {
        self.idle_at() <= now
    }

    fn is_evictable(self) -> bool {
        let [fill, touches] = self.fill_and_touches();
        touches <= 1 && fill < EVICTABLE_BELOW
    }
}

/// Returns the bytes of an entry.
fn occupant(key: u128, entry: &Entry, touches: u8) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    let idle_at = entry.idle_at.0.to_le_bytes();
    let parts: [&[u8]; 4] = [&key.to_le_bytes(), &idle_at, &[entry.fill, touches], &entry.payload];
    // The parts have as many bytes as an entry.
    bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    bytes
}

/// The set has no place for the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// The entries of one line, each list in the order of the last write.
#[derive(Debug)]
pub(super) struct Set {
    bytes: Vec<u8>,
    /// The number of own entries.
    own: usize,
    /// The number of own entries that were written since the set was read. They are the last ones,
    /// and make no way for each other.
    written: usize,
}

impl Set {
    /// Reads the bytes of a line.
    pub(super) fn read(bytes: Vec<u8>) -> Self {
        match own_entries_of(&bytes) {
            Some(own) => Self { bytes, own, written: 0 },
            None => Self { bytes: vec![VERSION, 0], own: 0, written: 0 },
        }
    }

    /// Returns the bytes to write.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Returns the number of own entries.
    pub(super) fn places_taken(&self) -> i32 {
        // There are at most WAYS, so the number always fits.
        i32::try_from(self.own).unwrap_or(i32::MAX)
    }

    /// Returns the place where the caller's budget is or can be: shared only if every own entry
    /// belongs to another caller and is in use.
    pub(super) fn place_for(&self, key: &Key, now: Timestamp) -> Place {
        let fits = self.own < WAYS
            || self.own().any(|occupant| occupant.key() == key.own || occupant.is_idle(now))
            || self.own().take(self.unwritten()).any(Occupant::is_evictable);
        if fits { Place::Own } else { Place::Shared }
    }

    pub(super) fn payload(&self, place: Place, key: &Key) -> Option<&Payload> {
        let found = match place {
            Place::Own => self.own().find(|occupant| occupant.key() == key.own),
            Place::Shared => self.shared().find(|occupant| occupant.key() == key.shared),
        };
        found?.payload()
    }

    /// Writes an entry and returns how many entries in use it evicted.
    pub(super) fn put(
        &mut self,
        place: Place,
        key: &Key,
        entry: &Entry,
        touch: bool,
        now: Timestamp,
    ) -> Result<u32, NoRoom> {
        let (key, found) = match place {
            Place::Own => (key.own, self.own().position(|occupant| occupant.key() == key.own)),
            Place::Shared => (key.shared, self.shared().position(|occupant| occupant.key() == key.shared)),
        };
        let evicted = match found {
            Some(_) => 0,
            None => self.make_room(place, now)?,
        };
        let (own, unwritten) = (self.own, self.unwritten());
        let entries = self.bytes.get_mut(HEADER_BYTES..).unwrap_or_default().as_chunks_mut().0;
        let list = match place {
            Place::Own => entries.get_mut(..own),
            Place::Shared => entries.get_mut(own..),
        };
        let later = list.zip(found).and_then(|(list, found)| list.get_mut(found..));
        if let Some(later) = later {
            let touches = later.first().map_or(0, |first| Occupant(first).fill_and_touches()[1]);
            // The list is not empty, because it has the entry that was found.
            later.copy_within(1.., 0);
            if let Some(last) = later.last_mut() {
                *last = occupant(key, entry, touches.saturating_add(u8::from(touch)));
            }
        } else {
            self.insert(place, &occupant(key, entry, u8::from(touch)));
        }
        let is_first_write = found.is_none_or(|found| found < unwritten);
        self.written = self.written.saturating_add(usize::from(place == Place::Own && is_first_write));
        Ok(evicted)
    }

    fn own(&self) -> impl Iterator<Item = Occupant<'_>> {
        self.occupants().take(self.own)
    }

    fn shared(&self) -> impl Iterator<Item = Occupant<'_>> {
        self.occupants().skip(self.own)
    }

    fn occupants(&self) -> impl Iterator<Item = Occupant<'_>> {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default().as_chunks().0.iter().map(Occupant)
    }

    /// Returns the number of own entries that were not written since the set was read.
    const fn unwritten(&self) -> usize {
        self.own.saturating_sub(self.written)
    }

    fn insert(&mut self, place: Place, occupant: &[u8; ENTRY_BYTES]) {
        let at = match place {
            Place::Own => self.own.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES),
            Place::Shared => self.bytes.len(),
        };
        self.bytes.splice(at..at, *occupant);
        self.count_own(self.own.saturating_add(usize::from(place == Place::Own)));
    }

    fn count_own(&mut self, own: usize) {
        self.own = own;
        if let Some([_, count]) = self.bytes.first_chunk_mut::<HEADER_BYTES>() {
            // There are at most WAYS, so the number always fits.
            *count = u8::try_from(own).unwrap_or(u8::MAX);
        }
    }

    /// Removes idle entries, and one in use if there is no other way.
    #[cold]
    fn make_room(&mut self, place: Place, now: Timestamp) -> Result<u32, NoRoom> {
        let unwritten = self.unwritten();
        let stays = |(at, occupant): &(usize, Occupant<'_>)| *at >= unwritten || !occupant.is_idle(now);
        let mut own: Vec<_> = self.own().enumerate().filter(stays).map(|(_, occupant)| *occupant.0).collect();
        let mut shared: Vec<_> =
            self.shared().filter(|occupant| !occupant.is_idle(now)).map(|occupant| *occupant.0).collect();
        let evicted = match place {
            Place::Own if own.len() < WAYS => 0,
            Place::Own => {
                let older = own.len().saturating_sub(self.written);
                let evictable = |bytes: &[u8; ENTRY_BYTES]| Occupant(bytes).is_evictable();
                own.remove(own.iter().take(older).position(evictable).ok_or(NoRoom)?);
                1
            }
            Place::Shared if shared.len() < SHARED_WAYS => 0,
            Place::Shared => {
                // More limits overflow here than there are places. The emptiest entry has the least
                // to lose.
                let fill = |(_, bytes): &(usize, &[u8; ENTRY_BYTES])| Occupant(bytes).fill_and_touches()[0];
                if let Some((index, _)) = shared.iter().enumerate().min_by_key(fill) {
                    shared.remove(index);
                }
                1
            }
        };
        self.bytes.truncate(HEADER_BYTES);
        own.iter().chain(&shared).for_each(|occupant| self.bytes.extend_from_slice(occupant));
        self.count_own(own.len());
        Ok(evicted)
    }
}

/// Returns the number of own entries in the bytes of a line, if these are a set.
fn own_entries_of(bytes: &[u8]) -> Option<usize> {
    let ([VERSION, own], entries) = bytes.split_first_chunk::<HEADER_BYTES>()? else {
        return None;
    };
    let (entries, remainder) = entries.as_chunks::<ENTRY_BYTES>();
    let own = usize::from(*own);
    let shared = entries.len().checked_sub(own)?;
    (remainder.is_empty() && own <= WAYS && shared <= SHARED_WAYS).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn empty() -> Set {
        Set::read(Vec::new())
    }

    fn key(own: u128) -> Key {
        Key { line: 0, own, shared: own + 1_000 }
    }

    fn entry(idle_at: u64, fill: u8) -> Entry {
        Entry { payload: [fill; PAYLOAD_BYTES], idle_at: Timestamp(idle_at), fill }
    }

    fn put(set: &mut Set, own: u128, entry: Entry) -> Result<u32, NoRoom> {
        set.put(Place::Own, &key(own), &entry, true, NOW)
    }

    /// Returns a set with own entries 0, 1, 2.. that are in use.
    fn busy(entries: usize) -> Set {
        let mut set = empty();
        for own in 0..entries as u128 {
            put(&mut set, own, entry(u64::MAX, 200)).unwrap();
        }
        again(&set)
    }

    /// Returns the set as the next transaction reads it.
    fn again(set: &Set) -> Set {
        Set::read(set.bytes().to_vec())
    }

    #[test]
    fn entries_written_together_make_no_way_for_each_other() {
        let mut set = busy(WAYS - 1);
        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Ok(0));

        assert_eq!(set.place_for(&key(101), NOW), Place::Shared);
        assert_eq!(put(&mut set, 101, entry(u64::MAX, 1)), Err(NoRoom));
        assert_eq!(put(&mut again(&set), 101, entry(u64::MAX, 1)), Ok(1));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut set = busy(WAYS);
        set.put(Place::Shared, &key(3), &entry(9_999, 5), true, NOW).unwrap();

        let read = again(&set);

        assert_eq!(read.payload(Place::Own, &key(7)), Some(&[200; PAYLOAD_BYTES]));
        assert_eq!(read.payload(Place::Shared, &key(3)), Some(&[5; PAYLOAD_BYTES]));
        assert_eq!(read.bytes(), set.bytes());
    }

    #[test]
    fn the_layout_is_fixed() {
        let mut set = empty();
        put(&mut set, 0x0102, entry(0x0304, 7)).unwrap();

        let bytes = set.bytes();

        assert_eq!(bytes[..2], [VERSION, 1]);
        assert_eq!(bytes[2..18], 0x0102_u128.to_le_bytes());
        assert_eq!(bytes[18..26], 0x0304_u64.to_le_bytes());
        assert_eq!(bytes[26..28], [7, 1]);
        assert_eq!(bytes[28..], [7; PAYLOAD_BYTES]);
    }

    #[test]
    fn foreign_bytes_are_an_empty_set() {
        let whole = busy(WAYS).bytes().to_vec();
        let (mut newer, mut overcounted, mut undercounted) = (whole.clone(), whole.clone(), whole.clone());
        newer[0] = VERSION + 1;
        overcounted[1] = u8::try_from(WAYS).unwrap() + 1;
        undercounted.extend(vec![0; ENTRY_BYTES * (SHARED_WAYS + 1)]);
        let truncated = &whole[..whole.len() - 1];

        for bytes in [b"".as_slice(), b"\x01", b"\x01\x01", &newer, &overcounted, &undercounted, truncated] {
            assert_eq!(Set::read(bytes.to_vec()).bytes(), [VERSION, 0]);
        }
    }

    #[test]
    fn an_idle_entry_makes_way_before_a_used_one() {
        let mut set = busy(WAYS);
        put(&mut set, 4, entry(NOW.0, 200)).unwrap();
        put(&mut set, 5, entry(u64::MAX, 0)).unwrap();
        let mut set = again(&set);

        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Ok(0));

        assert_eq!(set.payload(Place::Own, &key(4)), None);
        assert!(set.payload(Place::Own, &key(5)).is_some());
    }

    #[test]
    fn the_oldest_of_those_touched_once_and_hardly_used_makes_way() {
        let mut set = empty();
        for own in 0..WAYS as u128 {
            put(&mut set, own, entry(u64::MAX, EVICTABLE_BELOW - 1)).unwrap();
        }
        put(&mut set, 0, entry(u64::MAX, 0)).unwrap();
        let mut set = again(&set);

        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Ok(1));

        assert!(set.payload(Place::Own, &key(0)).is_some());
        assert_eq!(set.payload(Place::Own, &key(1)), None);
    }

    #[test]
    fn a_newcomer_shares_when_all_others_are_in_use() {
        let mut set = busy(WAYS);

        assert_eq!(set.place_for(&key(100), NOW), Place::Shared);
        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Err(NoRoom));
        assert_eq!(set.place_for(&key(3), NOW), Place::Own);
    }

    #[test]
    fn a_correction_is_no_touch() {
        let mut set = busy(WAYS - 1);
        put(&mut set, 100, entry(u64::MAX, 1)).unwrap();
        set.put(Place::Own, &key(100), &entry(u64::MAX, 2), false, NOW).unwrap();

        let mut set = again(&set);
        assert_eq!(set.place_for(&key(101), NOW), Place::Own);
        put(&mut set, 100, entry(u64::MAX, 2)).unwrap();
        assert_eq!(again(&set).place_for(&key(101), NOW), Place::Shared);
    }

    #[test]
    fn the_emptiest_shared_entry_makes_way_when_too_many_limits_overflow() {
        let mut set = busy(WAYS);
        for limit in 0..SHARED_WAYS as u128 {
            let fill = if limit == 9 { 1 } else { 2 };
            set.put(Place::Shared, &key(limit), &entry(u64::MAX, fill), true, NOW).unwrap();
        }

        assert_eq!(set.put(Place::Shared, &key(99), &entry(u64::MAX, 1), true, NOW), Ok(1));

        assert_eq!(set.payload(Place::Shared, &key(9)), None);
        assert_eq!(set.bytes().len(), HEADER_BYTES + ENTRY_BYTES * (WAYS + SHARED_WAYS));
    }
}
