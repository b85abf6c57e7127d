//! The host functions for holding, ticking and metrics, as a trait, so that native tests can script
//! them.
//!
//! In: numbers, names, bytes. Out: the host's answers. Not here: all other host calls (`calls`).

use crate::metrics::Kind;
use crate::units::Timestamp;

/// Host functions. Those on requests act on the current request.
pub(super) trait Functions {
    /// Returns the time.
    fn now(&self) -> Timestamp;
    /// Returns the bytes of the request received so far, headers and body; 0 if the host does not
    /// know.
    fn request_size(&self) -> u64;
    /// Makes another request the current one. Returns whether it still exists.
    fn switch_to(&self, context: u32) -> bool;
    /// Resumes the request, once the callback is over.
    fn resume_request(&self);
    /// Returns shared data under a key, with its compare-and-swap number; empty and 0 if there is
    /// none.
    fn shared(&self, key: &str) -> (Vec<u8>, u32);
    /// Writes shared data if its number is still `cas`, or unconditionally if `cas` is 0. Returns
    /// whether another worker wrote first.
    fn share(&self, key: &str, value: &[u8], cas: u32) -> bool;
    /// Sets the period of ticks in milliseconds; 0 stops them. Returns whether the host supports
    /// ticks.
    fn set_tick_period(&self, millis: u32) -> bool;
    /// Writes a warning to Envoy's log.
    fn warn(&self, text: &str);
    /// Defines a metric and returns its number, if the host has metrics.
    fn define_metric(&self, kind: Kind, name: &str) -> Option<u32>;
    /// Adds to a counter.
    fn increment_metric(&self, counter: u32, by: u64);
    /// Sets a gauge.
    fn record_metric(&self, gauge: u32, value: u64);
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
        // A failure is ignored: a request that is gone cannot be resumed.
        let _ = super::calls::resume_request();
    }

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        super::calls::shared_data(key.as_bytes()).unwrap_or_default()
    }

    fn share(&self, key: &str, value: &[u8], cas: u32) -> bool {
        super::calls::set_shared_data(key.as_bytes(), value, cas) == Err(super::calls::Status::CAS_MISMATCH)
    }

    fn set_tick_period(&self, millis: u32) -> bool {
        super::calls::set_tick_period(millis).is_ok()
    }

    fn warn(&self, text: &str) {
        super::calls::log(super::calls::Level::Warn, text);
    }

    fn define_metric(&self, kind: Kind, name: &str) -> Option<u32> {
        let kind = match kind {
            Kind::Counter => super::calls::MetricType::Counter,
            Kind::Gauge => super::calls::MetricType::Gauge,
        };
        super::calls::define_metric(kind, name).ok()
    }

    fn increment_metric(&self, counter: u32, by: u64) {
        // A failure is ignored: a count is not worth failing a call.
        let _ = super::calls::increment(counter, by);
    }

    fn record_metric(&self, gauge: u32, value: u64) {
        let _ = super::calls::record(gauge, value);
    }
}
