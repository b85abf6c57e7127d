//! The table's lines as a worker of the simulation sees them.
//!
//! In: the lines of the process. Out: [`InTurn`], which loads and stores only in its turn, with a
//! [`Fault`] if the simulation plants one; and [`Snapshot`], whose stores the process never sees.
//! Not here: who has the next turn (`world`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use corosensei::Yielder;
use tollgate::store::{Cas, Lines, MemoryLines, NotStored, Unavailable};

/// What a worker is about to do with a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    Load(u32),
    Store(u32),
}

/// A defect of the store that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Stores succeed although another worker wrote first.
    IgnoresVersions,
    /// Each fifth store reports success and writes nothing.
    LosesWrites,
    /// Each fifth store reports that another worker wrote first, but writes.
    WritesAndDenies,
}

/// The lines of the process; each access waits for the worker's turn.
pub(crate) struct InTurn<'y> {
    pub(crate) lines: Rc<MemoryLines>,
    pub(crate) fault: Fault,
    pub(crate) stores: Rc<RefCell<u32>>,
    pub(crate) turn: &'y Yielder<(), Access>,
}

impl InTurn<'_> {
    /// Returns whether this store is one of each five.
    fn is_fifth(&self) -> bool {
        let mut stores = self.stores.borrow_mut();
        *stores += 1;
        (*stores).is_multiple_of(5)
    }
}

impl Lines for InTurn<'_> {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        self.turn.suspend(Access::Load(line));
        self.lines.load(line)
    }

    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        self.turn.suspend(Access::Store(line));
        match self.fault {
            Fault::IgnoresVersions => {
                self.lines.overwrite(line, bytes);
                Ok(())
            }
            Fault::LosesWrites if self.is_fifth() => Ok(()),
            Fault::WritesAndDenies if self.is_fifth() => {
                self.lines.overwrite(line, bytes);
                Err(NotStored::Lost)
            }
            Fault::None | Fault::LosesWrites | Fault::WritesAndDenies => self.lines.store(line, bytes, cas),
        }
    }
}

/// The lines at one moment. Stores change only this copy.
pub(crate) struct Snapshot<'l> {
    lines: &'l MemoryLines,
    stored: RefCell<BTreeMap<u32, Vec<u8>>>,
}

impl<'l> Snapshot<'l> {
    pub(crate) fn of(lines: &'l MemoryLines) -> Self {
        Self { lines, stored: RefCell::default() }
    }
}

impl Lines for Snapshot<'_> {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        match self.stored.borrow().get(&line) {
            Some(bytes) => Ok((bytes.clone(), Cas(1))),
            None => self.lines.load(line),
        }
    }

    fn store(&self, line: u32, bytes: &[u8], _: Cas) -> Result<(), NotStored> {
        self.stored.borrow_mut().insert(line, bytes.to_vec());
        Ok(())
    }
}
