//! The hooks that Envoy calls. An HTTP filter must define all of them; few do anything here.
//!
//! Envoy calls the hooks of a stream on one thread, one at a time, except for hooks that a call of
//! the module itself triggers.

#![expect(
    unsafe_code,
    reason = "they are called by their C names, with pointers that only Envoy vouches for"
)]

use core::ffi::{c_char, c_void};
use core::ptr::from_ref;

use crate::Response;
use crate::abi::{Filter, FilterPointer, Text, VERSION};

/// The return value that makes a stream continue.
const CONTINUE: u32 = 0;

/// The configuration's address. Envoy requires a pointer that is not null, although nothing can be
/// configured.
static CONFIGURATION: u8 = 0;

/// The module's pointer to a [`Response`].
type ResponsePointer = *mut c_void;

/// Defines hooks as Envoy's `abi.h` declares them.
macro_rules! hooks {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)? $body:block)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) $(-> $answer)? $body
    )*};
}

/// # Safety
/// `pointer` must come from `filter_new`, must not have been passed to `filter_destroy`, and must
/// not be used after the running hook.
const unsafe fn response<'hook>(pointer: ResponsePointer) -> &'hook Response {
    // SAFETY: the caller guarantees it.
    unsafe { &*pointer.cast::<Response>() }
}

hooks! {
    envoy_dynamic_module_on_program_init() -> *const c_char {
        VERSION.as_ptr()
    }

    envoy_dynamic_module_on_http_filter_config_new(_envoy: *mut c_void, _name: Text, _config: Text) -> *const c_void {
        from_ref(&CONFIGURATION).cast()
    }

    envoy_dynamic_module_on_http_filter_config_destroy(_config: *const c_void) {}

    envoy_dynamic_module_on_http_filter_new(_config: *const c_void, _filter: FilterPointer) -> ResponsePointer {
        Box::into_raw(Box::<Response>::default()).cast()
    }

    envoy_dynamic_module_on_http_filter_destroy(pointer: ResponsePointer) {
        // SAFETY: Envoy returns the pointer from `filter_new` once.
        drop(unsafe { Box::from_raw(pointer.cast::<Response>()) });
    }

    envoy_dynamic_module_on_http_filter_request_headers(filter: FilterPointer, _response: ResponsePointer, _last: bool) -> u32 {
        // SAFETY: Envoy passed the pointer to this hook.
        Response::announce(unsafe { Filter::new(filter) });
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_response_headers(filter: FilterPointer, pointer: ResponsePointer, last: bool) -> u32 {
        // SAFETY: Envoy passed both pointers to this hook.
        unsafe { response(pointer).pass(Filter::new(filter), last) };
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_response_body(filter: FilterPointer, pointer: ResponsePointer, last: bool) -> u32 {
        // SAFETY: Envoy passed both pointers to this hook.
        unsafe { response(pointer).pass(Filter::new(filter), last) };
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_response_trailers(filter: FilterPointer, pointer: ResponsePointer) -> u32 {
        // SAFETY: Envoy passed both pointers to this hook.
        unsafe { response(pointer).pass(Filter::new(filter), true) };
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_scheduled(filter: FilterPointer, pointer: ResponsePointer, _event: u64) {
        // SAFETY: Envoy passed both pointers to this hook. The borrow of the response ends before
        // `end_response` destroys it.
        unsafe {
            if response(pointer).is_due() {
                Filter::new(filter).end_response();
            }
        }
    }

    envoy_dynamic_module_on_http_filter_request_body(_filter: FilterPointer, _response: ResponsePointer, _last: bool) -> u32 {
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_request_trailers(_filter: FilterPointer, _response: ResponsePointer) -> u32 {
        CONTINUE
    }

    envoy_dynamic_module_on_http_filter_stream_complete(_filter: FilterPointer, _response: ResponsePointer) {}

    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(_filter: FilterPointer, _response: ResponsePointer) {}

    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(_filter: FilterPointer, _response: ResponsePointer) {}
}

// Hooks for HTTP calls that a module makes. This one makes none.
hooks! {
    envoy_dynamic_module_on_http_filter_http_callout_done(
        _filter: FilterPointer, _response: ResponsePointer, _callout: u64, _result: u32,
        _headers: *mut c_void, _header_count: usize, _chunks: *mut c_void, _chunk_count: usize
    ) {}

    envoy_dynamic_module_on_http_filter_http_stream_headers(
        _filter: FilterPointer, _response: ResponsePointer, _stream: u64,
        _headers: *mut c_void, _header_count: usize, _last: bool
    ) {}

    envoy_dynamic_module_on_http_filter_http_stream_data(
        _filter: FilterPointer, _response: ResponsePointer, _stream: u64,
        _chunks: *const c_void, _chunk_count: usize, _last: bool
    ) {}

    envoy_dynamic_module_on_http_filter_http_stream_trailers(
        _filter: FilterPointer, _response: ResponsePointer, _stream: u64,
        _trailers: *mut c_void, _trailer_count: usize
    ) {}

    envoy_dynamic_module_on_http_filter_http_stream_complete(_filter: FilterPointer, _response: ResponsePointer, _stream: u64) {}

    envoy_dynamic_module_on_http_filter_http_stream_reset(_filter: FilterPointer, _response: ResponsePointer, _stream: u64, _reason: u32) {}
}
