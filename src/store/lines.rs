//! The one thing a host gives the store: numbered lines of bytes under compare-and-swap.
//!
//! In: a line's number, bytes, and the [`Cas`] they were read under. Out: the bytes, or who came
//! first. Not here: what is in a line (`set`), how often a lost write is tried again (`table`).

use core::fmt;

/// Which version of a line was read; a write succeeds only while it is still the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cas(pub u32);

impl Cas {
    /// What [`Lines::load`] gives for a line that nobody has written.
    ///
    /// Envoy inserts a missing key whatever the number given and overwrites unconditionally for 0,
    /// so a first write must carry a number that is not 0 and is never issued: its counter starts
    /// at 1 and would have to go all the way round. Then the second of two first writers finds the
    /// key present and loses, as it must.
    pub const ABSENT: Self = Self(u32::MAX);
}

/// The host could not read or write at all; trying again at once would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared data could not be read or written")
    }
}

impl core::error::Error for Unavailable {}

/// Why bytes were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Somebody else wrote the line since it was loaded: load it again.
    Lost,
    /// The host could not write at all.
    Unavailable,
}

impl From<Unavailable> for NotStored {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Lines of bytes by number, shared by everything that may write them.
///
/// Lines are never deleted (Envoy cannot), so their numbers must come from a bounded range.
pub trait Lines {
    /// The line's bytes and their version; no bytes and [`Cas::ABSENT`] if nobody has written it.
    ///
    /// # Errors
    /// [`Unavailable`] if the host cannot read.
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable>;

    /// Replaces the line if `cas` is still its version.
    ///
    /// # Errors
    /// [`NotStored::Lost`] if somebody else wrote it since, [`NotStored::Unavailable`] if the host
    /// cannot write.
    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored>;
}

impl<L: Lines + ?Sized> Lines for &L {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        (**self).load(line)
    }

    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        (**self).store(line, bytes, cas)
    }
}
