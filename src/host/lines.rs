//! Lines of the store in Envoy's shared data.
//!
//! In: line numbers and bytes. Out: shared data under keys of our own. Not here: the contents of a
//! line.
//!
//! Other plugins may use the same shared data, because some platforms give all of them the same
//! `vm_id`. The prefix separates them.

use super::calls::{self, Status};
use crate::store::{Cas, Lines, NotStored, Unavailable};

/// The prefix of every key. The number changes with the meaning of the stored data.
pub(super) const PREFIX: &str = "tollgate/1/";

/// Envoy's shared data.
#[derive(Debug)]
pub(super) struct SharedData;

impl Lines for SharedData {
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        match calls::shared_data(&key(line)) {
            Ok((bytes, cas)) => Ok((bytes, Cas(cas))),
            Err(Status::NOT_FOUND) => Ok((Vec::new(), Cas::ABSENT)),
            Err(_) => Err(Unavailable),
        }
    }

    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        match calls::set_shared_data(&key(line), bytes, cas.0) {
            Ok(()) => Ok(()),
            Err(Status::CAS_MISMATCH) => Err(NotStored::Lost),
            Err(_) => Err(NotStored::Unavailable),
        }
    }
}

/// The number of hex digits in a line's key.
const DIGITS: usize = 8;

/// Returns the prefix and the line's number in hex digits. It uses neither memory nor the
/// formatter, because every budget of a call is read and written under such a key.
fn key(line: u32) -> [u8; PREFIX.len() + DIGITS] {
    let digits = line.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| b"0123456789abcdef".get(usize::from(digit)).copied());
    let mut key = [0; PREFIX.len() + DIGITS];
    key.iter_mut().zip(PREFIX.bytes().chain(digits)).for_each(|(place, byte)| *place = byte);
    key
}

/// Claims a name for good. Returns whether this worker is the first of the process to do so.
pub(super) fn claim(name: &str) -> bool {
    calls::set_shared_data(format!("{PREFIX}{name}").as_bytes(), b"claimed", Cas::ABSENT.0).is_ok()
}

/// Returns shared data under a fixed name. `make` makes them if they do not exist; the first worker
/// wins.
pub(super) fn shared_once<const N: usize>(
    name: &str,
    make: impl FnOnce() -> Option<[u8; N]>,
) -> Option<[u8; N]> {
    let key = format!("{PREFIX}{name}");
    let read = || calls::shared_data(key.as_bytes()).ok().and_then(|(bytes, _)| bytes.try_into().ok());
    read().or_else(|| {
        let made = make()?;
        // Whether this write won or lost, all workers use the value that is there now.
        let _ = calls::set_shared_data(key.as_bytes(), &made, Cas::ABSENT.0);
        read()
    })
}
