//! The key of a budget: keyed hashes of the limit's name and of the caller's dimensions.
//!
//! In: a limit's name, dimension names and values as raw bytes. Out: [`Key`]. The hash is
//! SipHash-1-3 with a 128-bit result under a secret. Callers who choose their own names can neither
//! aim at another's set nor find a collision, and stored data do not reveal names. Not here: the
//! dimensions of a limit (`limits`), and the origin of the secret (`host`).
//!
//! The hash of the dimensions chooses the line, so that all budgets of a caller with the same
//! dimensions are in one line and change together. Both hashes are computed apart: one for a
//! caller's event, one for the life of a limit.

use core::fmt;
use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// The key of one budget, and of the budget it shares with others if the table has no place for it.
///
/// Two keys are equal if and only if limit, dimensions, their order and their values are (except
/// for a 128-bit collision).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its low bits choose the line.
    pub(super) line: u32,
    /// The budget of this limit for this caller.
    pub(super) own: u128,
    /// The same limit for all callers of the set that found no place.
    pub(super) shared: u128,
}

/// The hash of a caller's dimensions.
#[derive(Clone, Copy, Debug)]
pub struct SubjectHash(u128);

/// The hashes of a limit's name.
#[derive(Clone, Copy, Debug)]
pub struct NameHash {
    own: u128,
    shared: u128,
}

impl Key {
    /// Returns the key of a limit for a caller, in the line of the caller.
    #[must_use]
    pub const fn of(limit: NameHash, subject: SubjectHash) -> Self {
        // Nobody knows either hash, so nobody can choose parts whose combinations collide.
        Self { line: low_bits(subject.0), own: limit.own ^ subject.0, shared: limit.shared }
    }

    /// Returns the same key in a line of its own.
    #[must_use]
    pub const fn apart(self) -> Self {
        Self { line: low_bits(self.own), ..self }
    }

    /// Returns whether both are in one line, whatever the size of the table.
    #[must_use]
    pub const fn is_beside(&self, other: &Self) -> bool {
        self.line == other.line
    }

    /// Returns bytes that identify the key, to make the keys of records beside its budget.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.own.to_le_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:032x})", self.own)
    }
}

/// Makes keys under one secret.
#[derive(Clone)]
pub struct KeyHasher {
    start: SipHasher13,
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

impl KeyHasher {
    /// Creates a hasher. All workers of a process must use the same secret, or they will not find
    /// each other's budgets.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Self {
        Self { start: SipHasher13::new_with_key(secret) }
    }

    /// Returns the key of `limit` for a caller with these `dimensions` (name, value), in the
    /// limit's own order, in a line of its own.
    #[must_use]
    pub fn key<'a>(&self, limit: &str, dimensions: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Key {
        Key::of(self.name(limit), self.subject(dimensions)).apart()
    }

    /// Returns the hash of a caller's `dimensions` (name, value), in the limit's own order.
    #[must_use]
    pub fn subject<'a>(&self, dimensions: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> SubjectHash {
        let mut hasher = self.hasher(Kind::Subject);
        for (name, value) in dimensions {
            write_part(&mut hasher, name.as_bytes());
            write_part(&mut hasher, value);
        }
        SubjectHash(hasher.finish128().as_u128())
    }

    /// Returns the hashes of the name of a limit.
    #[must_use]
    pub fn name(&self, limit: &str) -> NameHash {
        let hash = |kind| {
            let mut hasher = self.hasher(kind);
            write_part(&mut hasher, limit.as_bytes());
            hasher.finish128().as_u128()
        };
        NameHash { own: hash(Kind::Own), shared: hash(Kind::Shared) }
    }

    fn hasher(&self, kind: Kind) -> SipHasher13 {
        let mut hasher = self.start;
        hasher.write(&[kind as u8]);
        hasher
    }
}

/// Separates the hashes, even of a limit without dimensions.
#[derive(Clone, Copy)]
enum Kind {
    Own = 0,
    Shared = 1,
    Subject = 2,
}

/// Returns the lowest 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the other bits are not wanted")]
const fn low_bits(hash: u128) -> u32 {
    hash as u32
}

/// Writes a part after its length, so that no two lists of parts have the same bytes.
fn write_part(hasher: &mut SipHasher13, part: &[u8]) {
    // A usize is at most 64 bits wide on every target of Rust, so nothing is lost.
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(limit: &str, dimensions: &[(&str, &[u8])]) -> Key {
        KeyHasher::new(&[7; 16]).key(limit, dimensions.iter().copied())
    }

    #[test]
    fn the_same_parts_give_the_same_key() {
        assert_eq!(key("tpm", &[("user", b"ada")]), key("tpm", &[("user", b"ada")]));
    }

    #[test]
    fn moving_bytes_between_parts_gives_another_key() {
        let keys = [
            key("tpm", &[("user", b"ada")]),
            key("tpmuser", &[("", b"ada")]),
            key("tpm", &[("usera", b"da")]),
            key("tpm", &[("user", b"ada"), ("", b"")]),
            key("tpm", &[("user", b""), ("ada", b"")]),
            key("tpm", &[("", b"user"), ("ada", b"")]),
            key("tpm", &[]),
        ];
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert_ne!(one.own, other.own);
            }
        }
    }

    #[test]
    fn budgets_of_one_caller_are_in_one_line_unless_they_are_apart() {
        let hasher = KeyHasher::new(&[7; 16]);
        let [ada, bob] = ["ada", "bob"].map(|user| hasher.subject([("user", user.as_bytes())]));
        let [rpm, tpm] = ["rpm", "tpm"].map(|limit| hasher.name(limit));
        assert!(Key::of(rpm, ada).is_beside(&Key::of(tpm, ada)));
        assert!(!Key::of(rpm, ada).is_beside(&Key::of(rpm, bob)));
        assert!(!Key::of(rpm, ada).apart().is_beside(&Key::of(tpm, ada).apart()));
        assert_eq!(Key::of(rpm, ada).apart(), hasher.key("rpm", [("user", b"ada".as_slice())]));
    }

    #[test]
    fn a_limit_without_dimensions_is_not_its_own_shared_budget() {
        let key = key("all", &[]);

        assert_ne!(key.own, key.shared);
    }

    #[test]
    fn callers_of_one_limit_share_the_overflow_of_that_limit_only() {
        assert_eq!(key("tpm", &[("user", b"ada")]).shared, key("tpm", &[("user", b"bob")]).shared);
        assert_ne!(key("tpm", &[("user", b"ada")]).shared, key("rpm", &[("user", b"ada")]).shared);
    }

    #[test]
    fn another_secret_gives_another_key() {
        let other = KeyHasher::new(&[8; 16]).key("tpm", [("user", b"ada".as_slice())]);

        assert_ne!(key("tpm", &[("user", b"ada")]).own, other.own);
    }

    #[test]
    fn values_need_not_be_text() {
        assert_ne!(key("tpm", &[("user", b"\xff\x00")]), key("tpm", &[("user", b"\xff")]));
    }

    #[test]
    fn printing_a_hasher_shows_no_secret() {
        assert_eq!(format!("{:?}", KeyHasher::new(&[7; 16])), "KeyHasher(secret)");
    }
}
