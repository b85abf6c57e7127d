//! The host's functions that holding and ticking take, as an argument: native tests stand in for
//! them.
//!
//! In: numbers, names, bytes. Out: what the host answers. Not here: all other host calls (`calls`).

use crate::units::Timestamp;

/// Host functions. Those on requests act on the request at hand.
pub(super) trait Functions {
    /// The time.
    fn now(&self) -> Timestamp;
    /// How many bytes of the request have come, headers and body; 0 if the host does not tell.
    fn request_size(&self) -> u64;
    /// Makes another request the one at hand; whether it still exists.
    fn switch_to(&self, context: u32) -> bool;
    /// Lets the request go on, once the callback is over.
    fn resume_request(&self);
    /// Shared data under a key, with its compare-and-swap number; nothing and 0 if there is none.
    fn shared(&self, key: &str) -> (Vec<u8>, u32);
    /// Writes shared data if its number is still `cas`, or in any case if that is 0; whether
    /// another worker wrote first.
    fn share(&self, key: &str, value: &[u8], cas: u32) -> bool;
    /// Sets the period of ticks in milliseconds, or stops them if it is 0; whether the host has
    /// ticks.
    fn set_tick_period(&self, millis: u32) -> bool;
    /// Writes a warning to Envoy's log.
    fn warn(&self, text: &str);
}

/// Envoy's own functions.
#[cfg(target_arch = "wasm32")]
pub(super) struct Envoy;

#[cfg(target_arch = "wasm32")]
impl Functions for Envoy {
    fn now(&self) -> Timestamp {
        Timestamp(super::calls::now())
    }

    fn request_size(&self) -> u64 {
        let size = super::calls::property(&["request", "total_size"]).ok();
        size.and_then(|size| Some(u64::from_le_bytes(size.try_into().ok()?))).unwrap_or(0)
    }

    fn switch_to(&self, context: u32) -> bool {
        super::calls::set_effective_context(context).is_ok()
    }

    fn resume_request(&self) {
        // A request that is gone has nothing to resume.
        let _ = super::calls::resume_request();
    }

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        super::calls::shared_data(key).unwrap_or_default()
    }

    fn share(&self, key: &str, value: &[u8], cas: u32) -> bool {
        super::calls::set_shared_data(key, value, cas) == Err(super::calls::Status::CAS_MISMATCH)
    }

    fn set_tick_period(&self, millis: u32) -> bool {
        super::calls::set_tick_period(millis).is_ok()
    }

    fn warn(&self, text: &str) {
        super::calls::log(super::calls::Level::Warn, text);
    }
}
