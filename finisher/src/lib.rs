//! Ends the responses that Tollgate has stopped: an HTTP filter for Envoy, as a dynamic module.
//!
//! A proxy-wasm filter can replace bytes of a response and can reset the response, but it cannot
//! end it. A dynamic module can. When Tollgate has replaced the rest of a stream by an ending, this
//! module ends the client's half behind it. Envoy then resets the upstream's half, because no
//! client is left, and the provider stops generating.
//!
//! In: Envoy's events of a response, and the filter state that Tollgate sets. Out: the end of the
//! response, once. Not here: deciding when to stop a stream, and the ending that the client reads
//! (`tollgate`).
//!
//! # How the two filters cooperate
//!
//! - The module sets the filter state `tollgate.finisher` for each request. If Tollgate finds it,
//!   it leaves ending the response to the module.
//! - Tollgate sets the filter state `tollgate.stopped_by` when it has stopped a stream. Envoy adds
//!   the prefix `wasm.` to the name.
//!
//! Without the module Tollgate drains the stream (`streams.drain_for`); without Tollgate the module
//! does nothing. The filters work in either order.
//!
//! # Safety
//!
//! A dynamic module is trusted code in Envoy's process, so this one is small: it stores one number
//! per stream, parses nothing, and calls six functions of Envoy (`abi`). The hooks that Envoy calls
//! are in `hooks`.

mod abi;
mod hooks;

use core::cell::Cell;

use abi::Filter;

/// The filter state that tells Tollgate that this module ends responses.
const FINISHER: &str = "tollgate.finisher";

/// The filter state that tells the module that Tollgate has stopped the stream.
const STOPPED: &str = "wasm.tollgate.stopped_by";

/// The state of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// The upstream is sending it.
    #[default]
    Passing,
    /// Tollgate has stopped it, and the module ends it once the ending has passed.
    Ending,
    /// It has ended.
    Ended,
}

/// A response.
#[derive(Debug, Default)]
struct Response(Cell<Progress>);

impl Response {
    /// Handles the request's head.
    fn announce(filter: Filter) {
        filter.set_state(FINISHER, "1");
    }

    /// Handles the head, a piece of the body, or the trailers; `last` marks the end.
    fn pass(&self, filter: Filter, last: bool) {
        if last {
            self.0.set(Progress::Ended);
        } else if self.0.get() == Progress::Passing && filter.has_state(STOPPED) {
            self.0.set(Progress::Ending);
            // Wait with the end: Envoy is about to pass on the current piece, which is the ending.
            filter.wake();
        }
    }

    /// Returns whether the ending has passed, so that the module must end the response.
    fn is_due(&self) -> bool {
        self.0.get() == Progress::Ending
    }
}
