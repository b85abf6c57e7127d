//! The functions of Envoy that the module calls, each as a safe one.
//!
//! They are declared as in `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.40. An Envoy
//! that lacks one of them, as those before 1.40 lack `has_filter_state`, refuses the module when it
//! loads its configuration, because all are bound at once.

#![expect(unsafe_code, reason = "they are C functions")]

use core::ffi::{CStr, c_char, c_void};

/// The version that the interface gives itself.
pub(crate) const VERSION: &CStr = c"v0.2.0";

/// Envoy's pointer to the filter of a stream.
pub(crate) type FilterPointer = *mut c_void;

/// Text that the caller owns.
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

/// The filter of a stream, while Envoy waits for the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter(FilterPointer);

impl Filter {
    /// # Safety
    /// It is the pointer that Envoy gave to the hook that runs.
    pub(crate) const unsafe fn new(pointer: FilterPointer) -> Self {
        Self(pointer)
    }

    /// Sets a filter state of the stream.
    pub(crate) fn set_state(self, key: &str, value: &str) {
        // SAFETY: the pointer is the running hook's, and Envoy copies the texts. It fails only
        // where a stream has no state.
        let _ = unsafe {
            envoy_dynamic_module_callback_http_set_filter_state_bytes(self.0, Text::of(key), Text::of(value))
        };
    }

    /// Whether the stream has a filter state.
    pub(crate) fn has_state(self, key: &str) -> bool {
        // SAFETY: the pointer is the running hook's, and the text is only read.
        unsafe { envoy_dynamic_module_callback_http_has_filter_state(self.0, Text::of(key)) }
    }

    /// Has Envoy call the hook `scheduled` on the same thread when it has done with the event at
    /// hand, unless the stream is gone by then.
    pub(crate) fn wake(self) {
        // SAFETY: the pointer is the running hook's; the scheduler is Envoy's own and is used only
        // here.
        unsafe {
            let scheduler = envoy_dynamic_module_callback_http_filter_scheduler_new(self.0);
            envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler, 0);
            envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler);
        }
    }

    /// Ends the response. Envoy calls further hooks of the stream meanwhile, and destroys the
    /// stream before it comes back.
    pub(crate) fn end_response(self) {
        // SAFETY: the pointer is the running hook's, and the response has begun and has not ended.
        unsafe { envoy_dynamic_module_callback_http_send_response_data(self.0, Text::of(""), true) }
    }
}
