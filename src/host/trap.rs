//! Traps on request, so that a test can see how a worker recovers. Only in modules built with the
//! feature `trap`.
//!
//! In: the request header `x-tollgate-trap: request | response`. Out: a trap when that comes.

use crate::identity::Head;

/// Whether to trap when the response comes.
#[derive(Debug, Default)]
pub(super) struct Trap {
    at_response: bool,
}

impl Trap {
    /// Traps, or remembers to, as the header says.
    pub(super) fn set(&mut self, head: &dyn Head) {
        match head.header("x-tollgate-trap").as_deref() {
            Some(b"request") => core::arch::wasm32::unreachable(),
            Some(b"response") => self.at_response = true,
            _ => {}
        }
    }

    /// Traps when the response has come, if asked to.
    pub(super) fn at_response(&self) {
        if self.at_response {
            core::arch::wasm32::unreachable();
        }
    }
}
