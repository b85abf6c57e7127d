//! The host's interface to the store: numbered lines of bytes under compare-and-swap.
//!
//! In: a line's number, bytes, and the [`Cas`] they were read under. Out: the bytes, or the loss to
//! another writer. Not here: the contents of a line (`set`), retries (`table`).

use core::fmt;

/// The version of a line when it was read. A write succeeds only while that version is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cas(pub u32);

impl Cas {
    /// The version of a line that was never written.
    ///
    /// Envoy inserts a missing key whatever the number given, and overwrites unconditionally for 0.
    /// A first write must therefore carry a number other than 0 that is never issued. Envoy's
    /// counter starts at 1 and would have to wrap to reach this one. The second of two first
    /// writers then finds the key present and loses, as it must.
    pub const ABSENT: Self = Self(u32::MAX);
}

/// The host could not read or write. An immediate retry would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared data could not be read or written")
    }
}

impl core::error::Error for Unavailable {}

/// The reason why bytes were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// Another writer changed the line since it was loaded. Load it again.
    Lost,
    /// The host could not write.
    Unavailable,
}

impl From<Unavailable> for NotStored {
    fn from(Unavailable: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Lines of bytes by number, shared by all their writers.
///
/// Lines are never deleted, because Envoy cannot delete them, so their numbers must come from a
/// bounded range.
pub trait Lines {
    /// Returns the line's bytes and their version; no bytes and [`Cas::ABSENT`] for a line never
    /// written.
    ///
    /// # Errors
    /// [`Unavailable`] if the host cannot read.
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable>;

    /// Replaces the line if `cas` is still its version.
    ///
    /// # Errors
    /// [`NotStored::Lost`] if another writer changed it since, [`NotStored::Unavailable`] if the
    /// host cannot write.
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
