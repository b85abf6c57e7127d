//! An in-memory twin of the host's shared data, for tests and benchmarks of everything above the
//! store.
//!
//! In and out: as [`Lines`], with Envoy's rules for missing lines and the number 0. In addition it
//! can lose writes, fail like a broken host, and count what it holds. Not here: expiry, limits of
//! any kind. The filter never uses it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lines::{Cas, Lines, NotStored, Unavailable};

/// Lines in this process's memory; safe to use from several threads.
#[derive(Debug, Default)]
pub struct MemoryLines {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: BTreeMap<u32, (Vec<u8>, u32)>,
    issued: u32,
    losing: u32,
    failing: bool,
    writes: u64,
}

impl MemoryLines {
    /// Creates an empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next `count` stores lose against a writer who leaves the bytes unchanged.
    pub fn lose_next(&self, count: u32) {
        self.lock().losing = count;
    }

    /// Makes every load and store fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// Overwrites a line unconditionally, as another program would.
    pub fn overwrite(&self, line: u32, bytes: &[u8]) {
        self.lock().write(line, bytes);
    }

    /// Returns the number of successful stores.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Returns the number of lines ever written; lines are never deleted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().lines.len()
    }

    /// Returns the number of bytes in all lines.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().lines.values().map(|(bytes, _)| bytes.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: u32, bytes: &[u8]) {
        self.issued = self.issued.wrapping_add(1).max(1);
        self.lines.insert(line, (bytes.to_vec(), self.issued));
    }
}

impl Lines for MemoryLines {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        let inner = self.lock();
        if inner.failing {
            return Err(Unavailable);
        }
        Ok(inner
            .lines
            .get(&line)
            .map_or((Vec::new(), Cas::ABSENT), |(bytes, cas)| (bytes.clone(), Cas(*cas))))
    }

    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        let mut inner = self.lock();
        if inner.failing {
            return Err(NotStored::Unavailable);
        }
        if inner.losing > 0 {
            inner.losing = inner.losing.saturating_sub(1);
            return Err(NotStored::Lost);
        }
        if inner.lines.get(&line).is_some_and(|(_, current)| cas.0 != 0 && cas.0 != *current) {
            return Err(NotStored::Lost);
        }
        inner.write(line, bytes);
        inner.writes = inner.writes.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_first_writers_loses() {
        let lines = MemoryLines::new();
        let (_, first) = lines.load(3).unwrap();
        let (_, second) = lines.load(3).unwrap();

        assert_eq!(lines.store(3, b"one", first), Ok(()));
        assert_eq!(lines.store(3, b"two", second), Err(NotStored::Lost));

        assert_eq!(lines.load(3).unwrap().0, b"one");
    }

    #[test]
    fn a_write_under_an_old_version_loses() {
        let lines = MemoryLines::new();
        lines.store(3, b"one", Cas::ABSENT).unwrap();
        let (_, old) = lines.load(3).unwrap();
        lines.store(3, b"two", old).unwrap();

        assert_eq!(lines.store(3, b"three", old), Err(NotStored::Lost));
    }

    #[test]
    fn a_failing_host_neither_reads_nor_writes() {
        let lines = MemoryLines::new();
        lines.fail(true);

        assert_eq!(lines.load(0), Err(Unavailable));
        assert_eq!(lines.store(0, b"one", Cas::ABSENT), Err(NotStored::Unavailable));
    }
}
