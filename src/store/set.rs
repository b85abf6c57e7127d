//! The bytes of one line as a set of entries, and the choice of an entry to evict.
//!
//! In: the bytes of a line, a key, `now`. Out: the entry's payload, or the place where it would go,
//! and the bytes to write back. Not here: reading and writing lines (`lines`), retries (`table`),
//! the meaning of a payload.
//!
//! Bytes, all numbers little-endian: version (1), number of own entries (1), then the own entries
//! and the shared ones, each in the order of their last write, the oldest first. An entry is key
//! (16), `idle_at` (8), `fill` (1), touches (1), payload (40). Bytes of any other form come from
//! another program or version and read as an empty set; only their state is lost.

use super::key::Key;
use crate::units::Timestamp;

/// The most own entries of callers in a set.
///
/// With eight, a table half full of budgets in use still has a place for 95 % of new keys (one
/// third full: 99 %). A full line is 530 bytes, which the host copies in far less time than a call
/// to it takes.
pub const WAYS: usize = 8;

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
const VERSION: u8 = 1;

const HEADER_BYTES: usize = 2;
const ENTRY_BYTES: usize = 66;
const _: () = assert!(ENTRY_BYTES == 16 + 8 + 1 + 1 + PAYLOAD_BYTES);

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

#[derive(Clone, Copy, Debug)]
struct Occupant {
    key: u128,
    entry: Entry,
    touches: u8,
}

impl Occupant {
    fn is_idle(&self, now: Timestamp) -> bool {
        self.entry.idle_at <= now
    }

    fn is_evictable(&self) -> bool {
        self.touches <= 1 && self.entry.fill < EVICTABLE_BELOW
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk::<16>()?;
        let (idle_at, rest) = rest.split_first_chunk::<8>()?;
        let ([fill, touches], rest) = rest.split_first_chunk::<2>()?;
        let payload = *rest.first_chunk::<PAYLOAD_BYTES>()?;
        Some(Self {
            key: u128::from_le_bytes(*key),
            entry: Entry { payload, idle_at: Timestamp(u64::from_le_bytes(*idle_at)), fill: *fill },
            touches: *touches,
        })
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.key.to_le_bytes());
        bytes.extend_from_slice(&self.entry.idle_at.0.to_le_bytes());
        bytes.extend_from_slice(&[self.entry.fill, self.touches]);
        bytes.extend_from_slice(&self.entry.payload);
    }
}

/// The set has no place for the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

/// The entries of one line, each list in the order of the last write.
#[derive(Debug, Default)]
pub(super) struct Set {
    own: Vec<Occupant>,
    shared: Vec<Occupant>,
}

impl Set {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self::try_decode(bytes).unwrap_or_default()
    }

    fn try_decode(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, own_count], entries) = bytes.split_first_chunk::<HEADER_BYTES>()? else {
            return None;
        };
        let occupants = entries.chunks_exact(ENTRY_BYTES);
        if !occupants.remainder().is_empty() {
            return None;
        }
        let own_count = usize::from(*own_count);
        let shared_count = occupants.len().checked_sub(own_count)?;
        if own_count > WAYS || shared_count > SHARED_WAYS {
            return None;
        }
        let mut occupants = occupants.map(Occupant::decode);
        let own = occupants.by_ref().take(own_count).collect::<Option<_>>()?;
        Some(Self { own, shared: occupants.collect::<Option<_>>()? })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let entries = self.own.len().saturating_add(self.shared.len());
        let mut bytes = Vec::with_capacity(entries.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES));
        bytes.push(VERSION);
        // There are at most WAYS, so the number always fits.
        bytes.push(u8::try_from(self.own.len()).unwrap_or(u8::MAX));
        for occupant in self.own.iter().chain(&self.shared) {
            occupant.encode(&mut bytes);
        }
        bytes
    }

    /// Returns the number of own entries.
    pub(super) fn places_taken(&self) -> i32 {
        // There are at most WAYS, so the number always fits.
        i32::try_from(self.own.len()).unwrap_or(i32::MAX)
    }

    /// Returns the place where the caller's budget is or can be: shared only if every own entry
    /// belongs to another caller and is in use.
    pub(super) fn place_for(&self, key: &Key, now: Timestamp) -> Place {
        let fits = self.own.len() < WAYS
            || self
                .own
                .iter()
                .any(|occupant| occupant.key == key.own || occupant.is_idle(now) || occupant.is_evictable());
        if fits { Place::Own } else { Place::Shared }
    }

    pub(super) fn payload(&self, place: Place, key: &Key) -> Option<&Payload> {
        let (occupants, key) = match place {
            Place::Own => (&self.own, key.own),
            Place::Shared => (&self.shared, key.shared),
        };
        occupants.iter().find(|occupant| occupant.key == key).map(|occupant| &occupant.entry.payload)
    }

    /// Writes an entry and returns how many entries in use it evicted.
    pub(super) fn put(
        &mut self,
        place: Place,
        key: &Key,
        entry: Entry,
        touch: bool,
        now: Timestamp,
    ) -> Result<u32, NoRoom> {
        let (occupants, key) = match place {
            Place::Own => (&mut self.own, key.own),
            Place::Shared => (&mut self.shared, key.shared),
        };
        let found = occupants
            .iter()
            .position(|occupant| occupant.key == key)
            .map(|index| occupants.remove(index).touches);
        let evicted = if found.is_some() { 0 } else { self.make_room(place, now)? };

        let touches = found.unwrap_or(0).saturating_add(u8::from(touch));
        let occupants = match place {
            Place::Own => &mut self.own,
            Place::Shared => &mut self.shared,
        };
        occupants.push(Occupant { key, entry, touches });
        Ok(evicted)
    }

    fn make_room(&mut self, place: Place, now: Timestamp) -> Result<u32, NoRoom> {
        self.own.retain(|occupant| !occupant.is_idle(now));
        self.shared.retain(|occupant| !occupant.is_idle(now));
        match place {
            Place::Own if self.own.len() < WAYS => Ok(0),
            Place::Own => {
                let oldest = self.own.iter().position(Occupant::is_evictable).ok_or(NoRoom)?;
                self.own.remove(oldest);
                Ok(1)
            }
            Place::Shared if self.shared.len() < SHARED_WAYS => Ok(0),
            Place::Shared => {
                // More limits overflow here than there are places. The emptiest entry has the least
                // to lose.
                let emptiest = self.shared.iter().enumerate().min_by_key(|(_, occupant)| occupant.entry.fill);
                if let Some((index, _)) = emptiest {
                    self.shared.remove(index);
                }
                Ok(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn key(own: u128) -> Key {
        Key { own, shared: own + 1_000 }
    }

    fn entry(idle_at: u64, fill: u8) -> Entry {
        Entry { payload: [fill; PAYLOAD_BYTES], idle_at: Timestamp(idle_at), fill }
    }

    fn put(set: &mut Set, own: u128, entry: Entry) -> Result<u32, NoRoom> {
        set.put(Place::Own, &key(own), entry, true, NOW)
    }

    /// Returns a set with own entries 0, 1, 2.. that are in use.
    fn busy() -> Set {
        let mut set = Set::default();
        for own in 0..WAYS as u128 {
            put(&mut set, own, entry(u64::MAX, 200)).unwrap();
        }
        set
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut set = busy();
        set.put(Place::Shared, &key(3), entry(9_999, 5), true, NOW).unwrap();

        let read = Set::decode(&set.encode());

        assert_eq!(read.payload(Place::Own, &key(7)), Some(&[200; PAYLOAD_BYTES]));
        assert_eq!(read.payload(Place::Shared, &key(3)), Some(&[5; PAYLOAD_BYTES]));
        assert_eq!(read.encode(), set.encode());
    }

    #[test]
    fn the_layout_is_fixed() {
        let mut set = Set::default();
        put(&mut set, 0x0102, entry(0x0304, 7)).unwrap();

        let bytes = set.encode();

        assert_eq!(bytes[..2], [VERSION, 1]);
        assert_eq!(bytes[2..18], 0x0102_u128.to_le_bytes());
        assert_eq!(bytes[18..26], 0x0304_u64.to_le_bytes());
        assert_eq!(bytes[26..28], [7, 1]);
        assert_eq!(bytes[28..], [7; PAYLOAD_BYTES]);
    }

    #[test]
    fn foreign_bytes_are_an_empty_set() {
        let whole = busy().encode();
        let (mut newer, mut overcounted, mut undercounted) = (whole.clone(), whole.clone(), whole.clone());
        newer[0] = VERSION + 1;
        overcounted[1] = u8::try_from(WAYS).unwrap() + 1;
        undercounted.extend(vec![0; ENTRY_BYTES * (SHARED_WAYS + 1)]);
        let truncated = &whole[..whole.len() - 1];

        for bytes in [b"".as_slice(), b"\x01", b"\x01\x01", &newer, &overcounted, &undercounted, truncated] {
            assert_eq!(Set::decode(bytes).encode(), [VERSION, 0]);
        }
    }

    #[test]
    fn an_idle_entry_makes_way_before_a_used_one() {
        let mut set = busy();
        put(&mut set, 4, entry(NOW.0, 200)).unwrap();
        put(&mut set, 5, entry(u64::MAX, 0)).unwrap();

        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Ok(0));

        assert_eq!(set.payload(Place::Own, &key(4)), None);
        assert!(set.payload(Place::Own, &key(5)).is_some());
    }

    #[test]
    fn the_oldest_of_those_touched_once_and_hardly_used_makes_way() {
        let mut set = busy();
        set.own.clear();
        for own in 0..WAYS as u128 {
            put(&mut set, own, entry(u64::MAX, EVICTABLE_BELOW - 1)).unwrap();
        }
        put(&mut set, 0, entry(u64::MAX, 0)).unwrap();

        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Ok(1));

        assert!(set.payload(Place::Own, &key(0)).is_some());
        assert_eq!(set.payload(Place::Own, &key(1)), None);
    }

    #[test]
    fn a_newcomer_shares_when_all_others_are_in_use() {
        let mut set = busy();

        assert_eq!(set.place_for(&key(100), NOW), Place::Shared);
        assert_eq!(put(&mut set, 100, entry(u64::MAX, 1)), Err(NoRoom));
        assert_eq!(set.place_for(&key(3), NOW), Place::Own);
    }

    #[test]
    fn a_correction_is_no_touch() {
        let mut set = busy();
        set.own.truncate(WAYS - 1);
        put(&mut set, 100, entry(u64::MAX, 1)).unwrap();
        set.put(Place::Own, &key(100), entry(u64::MAX, 2), false, NOW).unwrap();

        assert_eq!(set.place_for(&key(101), NOW), Place::Own);
        put(&mut set, 100, entry(u64::MAX, 2)).unwrap();
        assert_eq!(set.place_for(&key(101), NOW), Place::Shared);
    }

    #[test]
    fn the_emptiest_shared_entry_makes_way_when_too_many_limits_overflow() {
        let mut set = busy();
        for limit in 0..SHARED_WAYS as u128 {
            let fill = if limit == 9 { 1 } else { 2 };
            set.put(Place::Shared, &key(limit), entry(u64::MAX, fill), true, NOW).unwrap();
        }

        assert_eq!(set.put(Place::Shared, &key(99), entry(u64::MAX, 1), true, NOW), Ok(1));

        assert_eq!(set.payload(Place::Shared, &key(9)), None);
        assert_eq!(set.encode().len(), HEADER_BYTES + ENTRY_BYTES * (WAYS + SHARED_WAYS));
    }
}
