//! Ends the responses that Tollgate has stopped: an HTTP filter of Envoy, as a dynamic module.
//!
//! A proxy-wasm filter can put other bytes in place of a response's, and it can reset the response;
//! it cannot end it. A dynamic module can. When Tollgate has put an ending in place of the rest of
//! a stream, this module ends the client's half behind it, as any response ends. Then nobody is
//! left to answer, so Envoy resets the upstream's half, and the provider stops generating.
//!
//! In: Envoy's events of a response, and the filter state that Tollgate sets. Out: the end of the
//! response, once. Not here: when a stream is stopped, and what its client reads then (`tollgate`).
//!
//! # How the two filters know of each other
//!
//! - The module sets the filter state `tollgate.finisher` for each request. Where Tollgate finds
//!   it, it leaves the end to the module.
//! - Tollgate sets the filter state `tollgate.stopped_by`, to which Envoy adds the prefix `wasm.`,
//!   when it has stopped a stream.
//!
//! Without the module Tollgate goes by `streams.drain_for`; without Tollgate the module does
//! nothing. They may stand in either order.
//!
//! # Safety
//!
//! A dynamic module is trusted code in Envoy's process, so this one is small: it has one number per
//! stream, parses nothing, and calls six of Envoy's functions (`abi`). What Envoy calls is in
//! `hooks`.

mod abi;
mod hooks;

use core::cell::Cell;

use abi::Filter;

/// Tells Tollgate that responses are ended here.
const FINISHER: &str = "tollgate.finisher";

/// Tells that Tollgate has stopped the stream.
const STOPPED: &str = "wasm.tollgate.stopped_by";

/// How far a response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    /// It is the upstream's.
    #[default]
    Passing,
    /// Tollgate has stopped it, and it ends as soon as the ending has passed.
    Ending,
    /// It has ended, by itself or here.
    Ended,
}

/// A response.
#[derive(Debug, Default)]
struct Response(Cell<Progress>);

impl Response {
    /// Its request has come.
    fn announce(filter: Filter) {
        filter.set_state(FINISHER, "1");
    }

    /// Its head, a piece of its body or its trailers pass, and `last` if that is the end.
    fn pass(&self, filter: Filter, last: bool) {
        if last {
            self.0.set(Progress::Ended);
        } else if self.0.get() == Progress::Passing && filter.has_state(STOPPED) {
            self.0.set(Progress::Ending);
            // Not now: Envoy is about to pass on the piece at hand, which is the ending.
            filter.wake();
        }
    }

    /// Whether it is to be ended, now that the ending has passed.
    fn is_due(&self) -> bool {
        self.0.get() == Progress::Ending
    }
}
