//! Finds out whether the host can hold a request's headers and still hand over its body.
//!
//! In: held requests, body callbacks, ticks. Out: whether to hold. Not here: what happens to the bodies.
//!
//! Holding needs `allow_on_headers_stop_iteration: true` on the filter, which some platforms cannot set, and no host call tells
//! whether it is set. Without it, a held request would hang. So the first held requests are watched. A body that arrives while
//! its headers are held shows that holding works. A request that nothing has come of for a while is let go on; if
//! the host has received some of its body by then, and hands it over at once, it had kept it back: holding does not work.
//!
//! What does not work for one worker works for none, so it is told to all of them. What works is not: a worker finds that out by
//! its first request, at no cost, and to be told so wrongly, by a configuration that is on its way out, would make
//! requests hang.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use super::calls::{self, Level, Status};
use super::lines::PREFIX;
use super::ticker::Ticker;
use super::vm::Vm;
use crate::settings::Hold;
use crate::units::{Span, Timestamp};

/// How long a request is watched before it is let go on. Clients send small bodies right behind the headers.
const WATCHED_FOR: Span = Span::from_millis(50);

/// How soon a request goes on that stops at its trailers.
const LATE_BY: Span = Span::from_millis(5);

/// How soon after a tick the host hands over a body that it had kept back: it does so before it looks at anything else, but the
/// machine may be busy with other things. What takes longer shows nothing, as some other filter may have kept it back.
const AT_ONCE: Span = Span::from_millis(10);

/// What is known about one configuration of the filter.
pub(super) struct Watch {
    /// The shared data under which workers tell each other that holding does not work.
    key: String,
    known: Cell<Option<bool>>,
    ticker: Rc<Ticker>,
    watched: RefCell<Vec<Watched>>,
    /// Requests that wait behind their trailers for the next tick.
    late: RefCell<Vec<u32>>,
}

struct Watched {
    context: u32,
    since: Timestamp,
    /// The size of the request when it had no body yet.
    size: u64,
    headers: Rc<Cell<Headers>>,
}

/// Where a request's headers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headers {
    /// Held here: they can be read and changed.
    Held,
    /// Sent on by a tick, when so many bytes of the body had come and had not been handed over.
    Probed { at: Timestamp, waiting: u64 },
    /// Sent on by a tick.
    Resumed,
    /// Never held, or sent on because the body has been decided on.
    Released,
}

impl Watch {
    /// A watch for a configuration that is known by `name`.
    pub(super) fn new(hold: Hold, name: &str, ticker: Rc<Ticker>) -> Self {
        let known = match hold {
            Hold::Auto => None,
            Hold::Always => Some(true),
            Hold::Never => Some(false),
        };
        let key = format!("{PREFIX}hold/{name}");
        if known.is_none() {
            // A new configuration may come with the flag set or gone: what was found out before does not count.
            let _ = calls::set_shared_data(&key, b"", 0);
        }
        Self { key, known: Cell::new(known), ticker, watched: RefCell::default(), late: RefCell::default() }
    }

    /// Whether there is anything to find out.
    fn is_open(&self) -> bool {
        self.known.get().is_none()
    }

    /// A request, whose headers will not be changed any more, is to be held until its body is there. Whether it is.
    pub(super) fn hold(&self, context: u32) -> Rc<Cell<Headers>> {
        if self.is_open() && self.is_told() {
            self.known.set(Some(false));
        }
        let headers = match self.known.get() {
            Some(false) => Headers::Released,
            Some(true) | None => Headers::Held,
        };
        let headers = Rc::new(Cell::new(headers));
        if self.is_open() {
            let (since, size) = (Vm::now(), request_size());
            self.watched.borrow_mut().push(Watched { context, since, size, headers: headers.clone() });
            self.ticker.wake_within(WATCHED_FOR);
        }
        headers
    }

    /// So much of a request's body, or what comes behind it, has been handed over.
    pub(super) fn saw_body(&self, size: usize, headers: &Cell<Headers>) {
        match headers.get() {
            Headers::Held if self.is_open() => self.known.set(Some(true)),
            Headers::Probed { at, waiting } => {
                headers.set(Headers::Resumed);
                if self.is_open() && size as u64 == waiting && Vm::now().since(at) < AT_ONCE {
                    self.cannot_hold();
                }
            }
            Headers::Held | Headers::Resumed | Headers::Released => {}
        }
    }

    /// Has a request that stops at its trailers go on at the next tick.
    ///
    /// Envoy 1.40 loses a body that is kept back until trailers which it delivers while it resumes the request: they end this
    /// filter's part of the request, after which no body is taken from it. Resumed once more, it comes.
    pub(super) fn resume_later(&self, context: u32) {
        self.late.borrow_mut().push(context);
        self.ticker.wake_within(LATE_BY);
    }

    /// A request is over.
    pub(super) fn forget(&self, context: u32) {
        if let Ok(mut watched) = self.watched.try_borrow_mut() {
            watched.retain(|watched| watched.context != context);
        }
    }

    /// Lets requests go on that have been watched for long enough; all of them, once it is known that they cannot be held. When to do so
    /// again, if any are left.
    pub(super) fn tick(&self) -> Option<Span> {
        for context in self.late.take() {
            if calls::set_effective_context(context).is_ok() {
                let _ = calls::resume_request();
            }
        }
        let due: Vec<Watched> = {
            let (mut watched, now) = (self.watched.borrow_mut(), Vm::now());
            match self.known.get() {
                None => watched.extract_if(.., |watched| now.since(watched.since) >= WATCHED_FOR).collect(),
                Some(false) => core::mem::take(&mut *watched),
                Some(true) => {
                    watched.clear();
                    Vec::new()
                }
            }
        };
        for Watched { context, size, headers, .. } in due {
            // A request that is gone, or decided, has nothing to resume.
            if headers.get() != Headers::Held || calls::set_effective_context(context).is_err() {
                continue;
            }
            let waiting = request_size().saturating_sub(size);
            headers.set(if waiting > 0 {
                Headers::Probed { at: Vm::now(), waiting }
            } else {
                Headers::Resumed
            });
            // The host carries this out when the tick is over.
            let _ = calls::resume_request();
        }
        (!self.watched.borrow().is_empty()).then_some(WATCHED_FOR)
    }

    /// Whether another worker has found out that holding does not work.
    fn is_told(&self) -> bool {
        calls::shared_data(&self.key).is_ok_and(|(bytes, _)| bytes == CANNOT_HOLD)
    }

    /// Holding does not work: the first worker to know says so.
    fn cannot_hold(&self) {
        self.known.set(Some(false));
        let (told, cas) = calls::shared_data(&self.key).unwrap_or_default();
        let is_told = told == CANNOT_HOLD
            || calls::set_shared_data(&self.key, CANNOT_HOLD, cas) == Err(Status::CAS_MISMATCH);
        if is_told {
            return;
        }
        calls::log(
            Level::Warn,
            "tollgate: requests cannot be held here, because `allow_on_headers_stop_iteration: true` is not set on the filter. \
             They are counted and limited all the same; but usage of streamed calls cannot be asked for where the body has a \
             content-length, and refused calls may reach the upstream as headers without a body.",
        );
    }
}

/// What stands in shared data where holding does not work.
const CANNOT_HOLD: &[u8] = b"0";

/// How much of the request at hand has come, headers and body; 0 if the host does not tell.
fn request_size() -> u64 {
    let size = calls::property(&["request", "total_size"]).ok();
    size.and_then(|size| Some(u64::from_le_bytes(size.try_into().ok()?))).unwrap_or(0)
}
