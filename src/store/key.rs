//! The key of a budget: a keyed hash of the limit's name and the caller's dimensions.
//!
//! In: a limit's name, dimension names and values as raw bytes. Out: [`Key`]. The hash is
//! SipHash-1-3 with a 128-bit result under a secret. Callers who choose their own names can neither
//! aim at another's set nor find a collision, and stored data do not reveal names. Not here: the
//! dimensions of a limit (`limits`), and the origin of the secret (`host`).

use core::fmt;
use core::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// The key of one budget, and of the budget it shares with others if the table has no place for it.
///
/// Two keys are equal if and only if limit, dimensions, their order and their values are (except
/// for a 128-bit collision).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The budget of this limit for this caller; its low bits choose the set.
    pub(super) own: u128,
    /// The same limit for all callers of the set that found no place.
    pub(super) shared: u128,
}

impl Key {
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
    /// limit's own order.
    #[must_use]
    pub fn key<'a>(&self, limit: &str, dimensions: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Key {
        let mut shared = self.hasher(Kind::Shared);
        write_part(&mut shared, limit.as_bytes());

        let mut own = self.hasher(Kind::Own);
        write_part(&mut own, limit.as_bytes());
        for (name, value) in dimensions {
            write_part(&mut own, name.as_bytes());
            write_part(&mut own, value);
        }
        Key { own: own.finish128().as_u128(), shared: shared.finish128().as_u128() }
    }

    fn hasher(&self, kind: Kind) -> SipHasher13 {
        let mut hasher = self.start;
        hasher.write(&[kind as u8]);
        hasher
    }
}

/// Separates the two halves of a key even for a limit without dimensions.
#[derive(Clone, Copy)]
enum Kind {
    Own = 0,
    Shared = 1,
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
