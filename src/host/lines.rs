//! Lines of the store in Envoy's shared data.
//!
//! In: line numbers and bytes. Out: shared data under keys of our own. Not here: what a line holds.
//!
//! Shared data may be shared with other plugins, where a platform gives all of them the same `vm_id`: hence the prefix.

use super::calls::{self, Status};
use crate::store::{Cas, Lines, NotStored, Unavailable};

/// Before every key; the number changes with the meaning of what is stored.
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

fn key(line: u32) -> String {
    format!("{PREFIX}{line:x}")
}

/// Shared data under a fixed name, made by `make` if nobody has; whoever comes first wins.
pub(super) fn shared_once<const N: usize>(
    name: &str,
    make: impl FnOnce() -> Option<[u8; N]>,
) -> Option<[u8; N]> {
    let key = format!("{PREFIX}{name}");
    let read = || calls::shared_data(&key).ok().and_then(|(bytes, _)| bytes.try_into().ok());
    read().or_else(|| {
        let made = make()?;
        // Lost to another worker or not: what is there now is what all use.
        let _ = calls::set_shared_data(&key, &made, Cas::ABSENT.0);
        read()
    })
}
