//! The host's functions, each as a safe call that returns a [`Result`].
//!
//! In: slices and numbers. Out: owned bytes, or the host's [`Status`]. Not here: when to call them.
//!
//! The SDK's own wrappers panic on unexpected statuses and on bytes that are not UTF-8, and a panic
//! kills the VM. These never panic, whatever the host answers.

use core::ptr::null_mut;
use core::time::Duration;

use proxy_wasm::hostcalls;

use crate::rls::Failure;

/// A status of the host other than `Ok` (0): proxy-wasm ABI 0.2.1, `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

impl Status {
    /// No such key, property or metric exists.
    pub(super) const NOT_FOUND: Self = Self(1);
    /// Another worker wrote before a compare-and-swap write.
    pub(super) const CAS_MISMATCH: Self = Self(8);
}

/// The kind of headers: `proxy_map_type_t`.
#[derive(Clone, Copy)]
pub(super) enum Map {
    RequestHeaders = 0,
    ResponseHeaders = 2,
}

/// The kind of buffer: `proxy_buffer_type_t`.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    GrpcResponse = 5,
    PluginConfiguration = 7,
}

/// The level of a log line: `proxy_log_level_t`.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

mod import {
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_close_stream(stream: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            kind: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            kind: u32,
            start: usize,
            replaced: usize,
            data: *const u8,
            size: usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            data: *const u8,
            size: usize,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            data: *const u8,
            size: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(data: *mut u8, size: usize) -> u32;
    }
}

const fn answer(status: u32) -> Result<(), Status> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Runs a call that returns bytes. The host allocates them through the SDK's
/// `proxy_on_memory_allocate`, which leaks a vector of exactly that capacity.
fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let (mut data, mut size) = (null_mut(), 0);
    answer(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host has written `size` bytes to memory from this module's allocator, and has
    // given up the pointer by returning it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Writes a line to Envoy's log.
pub(super) fn log(level: Level, text: &str) {
    // A failure to log cannot be logged.
    // SAFETY: the slice outlives the call.
    let _ = unsafe { import::proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// Returns the nanoseconds since the epoch, or 0 if the host does not know.
pub(super) fn now() -> u64 {
    let mut time = 0;
    // SAFETY: the host writes one u64.
    let _ = unsafe { import::proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// Sets the period of `on_tick` in milliseconds; 0 stops it.
pub(super) fn set_tick_period(millis: u32) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_set_tick_period_milliseconds(millis) })
}

/// Makes later calls of this callback act on another stream of this VM. Fails if it is gone.
pub(super) fn set_effective_context(context: u32) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_set_effective_context(context) })
}

/// Resumes a held request. The host may deliver its body inside this call.
pub(super) fn resume_request() -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_continue_stream(0) })
}

/// Resets the current response, and with it the request. The client gets the bytes passed on so far
/// and no more.
pub(super) fn reset_response() -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_close_stream(1) })
}

/// Returns the first `size` bytes of a buffer.
pub(super) fn buffer(kind: Buffer, size: usize) -> Result<Vec<u8>, Status> {
    if size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host writes a pointer and a size.
    received(|data, got| unsafe { import::proxy_get_buffer_bytes(kind as u32, 0, size, data, got) })
}

/// Replaces the first `replaced` bytes of a buffer.
pub(super) fn replace_buffer(kind: Buffer, replaced: usize, with: &[u8]) -> Result<(), Status> {
    // SAFETY: the slice outlives the call.
    answer(unsafe { import::proxy_set_buffer_bytes(kind as u32, 0, replaced, with.as_ptr(), with.len()) })
}

/// Returns all headers at once, which costs as much as reading one.
pub(super) fn headers(map: Map) -> Result<Headers, Status> {
    // SAFETY: the host writes a pointer and a size.
    received(|data, size| unsafe { import::proxy_get_header_map_pairs(map as u32, data, size) }).map(Headers)
}

/// Headers in the host's serialization: a count, the sizes of each key and value, then keys and
/// values, each followed by a NUL. Numbers are 32 bits, little-endian. Values are bytes and need
/// not be text.
#[derive(Default)]
pub(super) struct Headers(Vec<u8>);

impl Headers {
    /// Returns names and values, as far as the list is complete.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, behind) = self
            .0
            .split_first_chunk()
            .map_or((0, [].as_slice()), |(count, behind)| (u32::from_le_bytes(*count) as usize, behind));
        let (sizes, texts) = behind.split_at_checked(count.saturating_mul(8)).unwrap_or_default();
        let mut sizes = sizes.as_chunks().0.iter().map(|size| u32::from_le_bytes(*size) as usize);
        let mut rest = texts;
        let mut take = move || {
            let (text, behind) = rest.split_at_checked(sizes.next()?)?;
            rest = behind.get(1..)?;
            Some(text)
        };
        core::iter::from_fn(move || Some((take()?, take()?)))
    }
}

/// Sets a header and replaces all others of its name.
pub(super) fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the slices outlive the call.
    answer(unsafe {
        import::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all headers of a name.
pub(super) fn remove_header(map: Map, name: &str) -> Result<(), Status> {
    // SAFETY: the slice outlives the call.
    answer(unsafe { import::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Returns a property by the parts of its path.
pub(super) fn property(path: &[&str]) -> Result<Vec<u8>, Status> {
    let path = path.join("\0");
    // SAFETY: the string outlives the call; the host writes a pointer and a size.
    received(|data, size| unsafe { import::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets filter state under this name with the prefix `wasm.`.
pub(super) fn set_property(name: &str, value: &[u8]) -> Result<(), Status> {
    // SAFETY: the slices outlive the call.
    answer(unsafe { import::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Returns shared data and its compare-and-swap number.
pub(super) fn shared_data(key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
    let mut cas = 0;
    // SAFETY: the slice outlives the call; the host writes a pointer, a size and a number.
    let bytes = received(|data, size| unsafe {
        import::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Ok((bytes, cas))
}

/// Writes shared data if its number is still `cas`; 0 overwrites unconditionally.
pub(super) fn set_shared_data(key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
    // SAFETY: the slices outlive the call.
    answer(unsafe {
        import::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

/// Makes a gRPC call to a cluster, given as a serialized `GrpcService`. The answer goes to the
/// current context, under the returned number.
///
/// This wraps the SDK's call, because only the SDK remembers the context. It panics on a status
/// that the host does not give (Envoy 1.40 gives these two: the message is invalid, or no call can
/// be made to the cluster).
pub(super) fn grpc_call(
    upstream: &str,
    service: &str,
    method: &str,
    message: &[u8],
    timeout: Duration,
) -> Result<u32, Status> {
    hostcalls::dispatch_grpc_call(upstream, service, method, Vec::new(), Some(message), timeout)
        .map_err(|status| Status(status as u32))
}

/// Returns the answer to a gRPC call, which may be empty.
pub(super) fn grpc_answer(status: u32, size: usize) -> Result<Vec<u8>, Failure> {
    if status != 0 {
        return Err(Failure::Unavailable);
    }
    buffer(Buffer::GrpcResponse, size).map_err(|_| Failure::Unavailable)
}

/// Replies to the request from the filter.
pub(super) fn send_reply<'h>(
    status: u16,
    details: &str,
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    body: &[u8],
) -> Result<(), Status> {
    let headers = serialized(&headers.into_iter().collect::<Vec<_>>());
    // SAFETY: the slices outlive the call. A gRPC status of -1 means none.
    answer(unsafe {
        import::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

fn serialized(headers: &[(&str, &[u8])]) -> Vec<u8> {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = size(headers.len()).to_vec();
    for (name, value) in headers {
        out.extend(size(name.len()));
        out.extend(size(value.len()));
    }
    for (name, value) in headers {
        for bytes in [name.as_bytes(), value] {
            out.extend_from_slice(bytes);
            out.push(0);
        }
    }
    out
}

/// How a metric combines numbers: `proxy_metric_type_t`.
#[derive(Clone, Copy)]
pub(super) enum MetricType {
    Counter = 0,
    Gauge = 1,
}

/// Defines a metric and returns its number.
pub(super) fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    // SAFETY: the string outlives the call; the host writes a number.
    answer(unsafe { import::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Sets a gauge.
pub(super) fn record(gauge: u32, value: u64) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_record_metric(gauge, value) })
}

/// Adds to a counter; the host refuses 0.
pub(super) fn increment(counter: u32, by: u64) -> Result<(), Status> {
    // SAFETY: no memory is passed.
    answer(unsafe { import::proxy_increment_metric(counter, i64::try_from(by).unwrap_or(i64::MAX)) })
}

/// Returns bytes that cannot be guessed.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Status> {
    let mut bytes = [0; N];
    // SAFETY: the host fills the array.
    answer(unsafe { import::random_get(bytes.as_mut_ptr(), N) })?;
    Ok(bytes)
}
