//! The store of budgets between calls: a bounded table in data that all workers of a process share.
//!
//! In: a [`Key`] and a pure closure from the stored payload to a new one, or from those of a line
//! to new ones. Out: the closure's answer and the outcome of the write. The compare-and-swap loop
//! is here, so the closure may run several times.
//!
//! ```text
//! KeyHasher -> Key -> Table -> Set (one line's entries)
//!                              -> Lines (the host's shared data, or MemoryLines)
//! ```
//!
//! Not here: the meaning of a payload (`limits`), the host's names for lines (`host`).

mod key;
mod lines;
mod memory;
mod occupancy;
mod set;
mod table;

pub use key::{Key, KeyHasher, NameHash, SubjectHash};
pub use lines::{Cas, Lines, NotStored, Unavailable};
pub use memory::MemoryLines;
pub use occupancy::Occupancy;
pub use set::{Entry, PAYLOAD_BYTES, Payload, Place, SHARED_WAYS, WAYS, numbers_in, payload_of};
pub use table::{Change, Entries, Failure, MAX_TRIES, MOST_PLACES, ReadLine, Table, Transacted, Updated};
