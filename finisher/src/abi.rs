//! Safe wrappers for the Envoy functions that the module calls.
//!
//! The declarations match `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.40. The loader
//! binds all functions at once, so an Envoy that lacks one refuses the module when it loads its
//! configuration. Envoys before 1.40 lack `has_filter_state`.

#![expect(unsafe_code, reason = "they are C functions")]

use core::ffi::{CStr, c_char, c_void};

/// The ABI version that `abi.h` declares.
pub(crate) const VERSION: &CStr = c"v0.2.0";

/// Envoy's pointer to the filter of a stream.
pub(crate) type FilterPointer = *mut c_void;

/// A string that the caller owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Text {
    start: *const c_char,
    length: usize,
}

impl Text {
    const fn of(text: &str) -> Self {
        Self { start: text.as_ptr().cast(), length: text.len() }
    }
}

unsafe extern "C" {
    fn envoy_dynamic_module_callback_http_set_filter_state_bytes(
        filter: FilterPointer,
        key: Text,
        value: Text,
    ) -> bool;
    fn envoy_dynamic_module_callback_http_has_filter_state(filter: FilterPointer, key: Text) -> bool;
    fn envoy_dynamic_module_callback_http_send_response_data(
        filter: FilterPointer,
        data: Text,
        end_stream: bool,
    );
    fn envoy_dynamic_module_callback_http_filter_scheduler_new(filter: FilterPointer) -> *mut c_void;
    fn envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler: *mut c_void, event: u64);
    fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: *mut c_void);
}

/// The filter of a stream, valid while a hook runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter(FilterPointer);

impl Filter {
    /// # Safety
    /// `pointer` must be the one that Envoy passed to the running hook.
    pub(crate) const unsafe fn new(pointer: FilterPointer) -> Self {
        Self(pointer)
    }

    /// Sets a filter state of the stream.
    pub(crate) fn set_state(self, key: &str, value: &str) {
        // SAFETY: the pointer belongs to the running hook, and Envoy copies both strings. The call
        // fails only if the stream has no state.
        let _ = unsafe {
            envoy_dynamic_module_callback_http_set_filter_state_bytes(self.0, Text::of(key), Text::of(value))
        };
    }

    /// Returns whether the stream has a filter state.
    pub(crate) fn has_state(self, key: &str) -> bool {
        // SAFETY: the pointer belongs to the running hook, and Envoy only reads the string.
        unsafe { envoy_dynamic_module_callback_http_has_filter_state(self.0, Text::of(key)) }
    }

    /// Makes Envoy call the hook `scheduled` on the same thread after the current event, unless the
    /// stream has ended by then.
    pub(crate) fn wake(self) {
        // SAFETY: the pointer belongs to the running hook. Envoy made the scheduler, and only this
        // block uses it.
        unsafe {
            let scheduler = envoy_dynamic_module_callback_http_filter_scheduler_new(self.0);
            envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler, 0);
            envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler);
        }
    }

    /// Ends the response. During this call Envoy runs further hooks of the stream and destroys the
    /// stream.
    pub(crate) fn end_response(self) {
        // SAFETY: the pointer belongs to the running hook, and the response has begun and not
        // ended.
        unsafe { envoy_dynamic_module_callback_http_send_response_data(self.0, Text::of(""), true) }
    }
}
